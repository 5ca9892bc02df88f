/** Projects as people have them, each a directory with a Dockerfile: what real clients build in tests. */
import { TAR_END, tarHeader, tarPadding } from "../../base/tar/mod.ts";

export interface BuildProject {
  readonly name: string;
  readonly directory: string;
  /** What its image prints. */
  readonly prints: string;
  /** A file to change: what is built before it is used again. */
  readonly source: string;
}

/** Writes `files` below a new directory of `parent`, readable for everybody. */
function project(parent: string, name: string, files: Readonly<Record<string, string | Uint8Array>>): string {
  const directory = `${parent}/${name}`;
  for (const [path, content] of Object.entries(files)) {
    const file = `${directory}/${path}`;
    Deno.mkdirSync(file.replace(/\/[^/]*$/, ""), { recursive: true });
    if (typeof content === "string") Deno.writeTextFileSync(file, content);
    else Deno.writeFileSync(file, content, { mode: 0o755 });
  }
  new Deno.Command("chmod", { args: ["-R", "a+rX", directory] }).outputSync();
  return directory;
}

/** A C program, compiled by what apt gets over the network. @param base a Debian image */
export function cProject(parent: string, base: string): BuildProject {
  // the machine's proxies, if it has any
  const acquire = new Deno.Command("apt-config", {
    args: ["dump", "--no-empty", "--format", '%F "%v";%n', "Acquire"],
  }).outputSync().stdout;
  const directory = project(parent, "c", {
    "Dockerfile": `ARG BASE=${base}
FROM $BASE AS build
COPY 99machine /etc/apt/apt.conf.d/
ENV DEBIAN_FRONTEND=noninteractive
RUN apt-get update -q && apt-get install -y -q --no-install-recommends tcc libc6-dev
WORKDIR /src
COPY hello.c ./
RUN tcc -o /usr/local/bin/hello hello.c

FROM $BASE
COPY --from=build /usr/local/bin/hello /usr/local/bin/
USER nobody
CMD ["hello"]
`,
    "hello.c": '#include <stdio.h>\nint main(void) { puts("hello from C"); return 0; }\n',
    "99machine": new TextDecoder().decode(acquire),
  });
  return { name: "c", directory, prints: "hello from C\n", source: `${directory}/hello.c` };
}

/** A Node project with a lock file. Its one dependency is a tarball beside it; Node is the machine's own, by berth/host. */
export async function nodeProject(parent: string): Promise<BuildProject> {
  const dependency = await packed({
    "package/package.json": '{"name":"words","version":"1.0.0","main":"index.js"}',
    "package/index.js": "module.exports = (word) => `${word} from Node`;\n",
  });
  const lock = {
    name: "app",
    version: "1.0.0",
    lockfileVersion: 3,
    requires: true,
    packages: {
      "": { name: "app", version: "1.0.0", dependencies: { words: "file:words.tgz" } },
      "node_modules/words": { version: "1.0.0", resolved: "file:words.tgz" },
    },
  };
  const directory = project(parent, "node", {
    "Dockerfile": `FROM berth/host
WORKDIR /app
COPY package.json package-lock.json words.tgz ./
RUN --mount=type=cache,target=/root/.npm npm ci --no-audit --no-fund --no-update-notifier
COPY . .
CMD ["node", "index.js"]
`,
    ".dockerignore": "node_modules\n*.log\n",
    "package.json": '{"name":"app","version":"1.0.0","dependencies":{"words":"file:words.tgz"}}',
    "package-lock.json": JSON.stringify(lock),
    "words.tgz": dependency,
    "index.js": 'console.log(require("words")("hello"));\n',
    "debug.log": "nobody needs this\n",
  });
  return { name: "node", directory, prints: "hello from Node\n", source: `${directory}/index.js` };
}

/** One static binary and nothing else. */
export function staticProject(parent: string): BuildProject {
  const directory = project(parent, "static", {
    "Dockerfile": `FROM scratch
COPY busybox /bin/
COPY words /
ENTRYPOINT ["/bin/busybox"]
CMD ["cat", "/words"]
`,
    "busybox": Deno.readFileSync("/bin/busybox"),
    "words": "hello from nothing\n",
  });
  return { name: "static", directory, prints: "hello from nothing\n", source: `${directory}/words` };
}

async function packed(files: Readonly<Record<string, string>>): Promise<Uint8Array> {
  const parts = Object.entries(files).flatMap(([name, text]) => {
    const bytes = new TextEncoder().encode(text);
    return [tarHeader({ name, size: bytes.length }), bytes, tarPadding(bytes.length)];
  });
  const stream = new Blob([...parts, TAR_END]).stream().pipeThrough(new CompressionStream("gzip"));
  return await new Response(stream).bytes();
}
