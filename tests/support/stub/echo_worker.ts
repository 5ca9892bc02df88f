/// <reference lib="deno.worker" />
self.onmessage = (event: MessageEvent<string>) => self.postMessage(`${event.data}!`);
