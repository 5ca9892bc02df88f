/** A network namespace entered by a stub, as netd enters a container's. */
import { CLONE_NEWNET, O_RDONLY } from "../../ffi/constants.ts";
import { kernel } from "../../ffi/kernel.ts";
import { networkCalls } from "../../ffi/kernel_network.ts";
import { STUB_SOCKET, StubProcess } from "../../ffi/stub_process.ts";
import type { Inside } from "../../net/netd/parts.ts";

/** The namespace of the process `pid`, which the caller may enter. */
export function enterNetwork(pid: number): Inside & Disposable {
  const stub = new StubProcess({ stderr: 2, onSlow: () => {} });
  const calls = networkCalls(stub.machine, stub.calls);
  const fd = stub.calls.open(`/proc/${pid}/ns/net`, O_RDONLY);
  stub.calls.setns(fd, CLONE_NEWNET);
  stub.calls.close(fd);
  return {
    make(make) {
      const fds = make(calls, stub.calls);
      stub.calls.sendmsg(STUB_SOCKET, Uint8Array.of(0), fds);
      for (const own of fds) stub.calls.close(own);
      return kernel.recvmsg(stub.socket, new Uint8Array(1)).fds;
    },
    sysctl(name, value) {
      const file = stub.calls.open(`/proc/sys/net/${name.replaceAll(".", "/")}`, 1);
      stub.calls.write(file, new TextEncoder().encode(value));
      stub.calls.close(file);
    },
    [Symbol.dispose]() {
      stub[Symbol.dispose]();
      kernel.kill(stub.pid, 9);
      kernel.wait(stub.pid, false);
    },
  };
}
