/** Three projects to build: C on Debian with apt, Node with `npm ci`, one static binary. None of them needs the network. */
import { tarArchive } from "../base/tar/mod.ts";
import { type DebianRootfs, debianRootfs } from "../tests/support/debian_rootfs.ts";
import type { User } from "../tests/support/users.ts";

export interface Project {
  readonly name: string;
  /** The context, with its Dockerfile. */
  readonly dir: string;
  /** Archives of root file systems that the Dockerfile begins with, by image name. */
  readonly bases: ReadonlyMap<string, string>;
  /** What the build's commands are, as one script on `image`, with the context at /context; undefined: it has none. */
  readonly commands: { readonly image: string; readonly script: string } | undefined;
  /** A file of the context, and what makes another of it. */
  readonly source: string;
}

const DEBIAN = "localhost/bench-debian";
const NODE = "localhost/bench-node";

/** The projects that can be had on this machine, and why not the others. */
export async function buildProjects(
  user: User,
  dir: string,
): Promise<{ projects: Project[]; missing: string[] }> {
  const projects: Project[] = [];
  const missing: string[] = [];
  const debian = await debianImage(dir);
  if ("missing" in debian) missing.push(`C and Node: ${debian.missing}`);
  else {
    for (const make of [cProject, nodeProject]) {
      const made = await make(user, dir, debian.tar);
      if (typeof made === "string") missing.push(made);
      else projects.push(made);
    }
  }
  projects.push(await staticProject(user, dir));
  return { projects, missing };
}

/** The root file system with the setting that Debian's own images have: dpkg does not wait for the disk after each file. */
async function debianImage(dir: string): Promise<DebianRootfs> {
  const found = await debianRootfs();
  if ("missing" in found) return found;
  const tar = `${dir}/debian.tar`;
  await shell(
    `stage=$(mktemp -d -p '${dir}'); mkdir -p $stage/etc/dpkg/dpkg.cfg.d
    echo force-unsafe-io >$stage/etc/dpkg/dpkg.cfg.d/docker-apt-speedup
    cp '${found.tar}' '${tar}'
    tar -C $stage --owner=0 --group=0 -rf '${tar}' ./etc/dpkg/dpkg.cfg.d/docker-apt-speedup
    chmod 644 '${tar}'; rm -rf $stage`,
  );
  return { tar };
}

async function write(
  user: User,
  dir: string,
  files: Readonly<Record<string, string | Uint8Array>>,
): Promise<void> {
  for (const [name, content] of Object.entries(files)) {
    const path = `${dir}/${name}`;
    await Deno.mkdir(path.replace(/\/[^/]*$/, ""), { recursive: true });
    await Deno.writeFile(path, typeof content === "string" ? new TextEncoder().encode(content) : content);
  }
  if (user.uid !== Deno.uid()) await shell(`chown -R ${user.uid}:${user.gid} '${dir}'`);
}

async function shell(script: string, cwd = "/"): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command("sh", {
    args: ["-ec", script],
    cwd,
    stdin: "null",
  }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr).trim().split("\n").at(-1));
  return new TextDecoder().decode(stdout);
}

const INSTALL = "apt-get install -y --no-install-recommends";

async function cProject(user: User, parent: string, rootfs: string): Promise<Project | string> {
  const dir = `${parent}/c`;
  await Deno.mkdir(`${dir}/debs`, { recursive: true });
  try {
    // a small compiler with what it depends on, less what the root file system has
    await shell(
      `tar -xOf '${rootfs}' ./var/lib/dpkg/status | sed -n 's/^Package: //p' | sort >../have
      apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances tcc libc6-dev |
        grep '^[a-z]' | sort -u | comm -23 - ../have >../wanted
      apt-get download -q $(cat ../wanted) 2>&1`,
      `${dir}/debs`,
    );
  } catch (error) {
    return `C: cannot download Debian packages: ${error instanceof Error ? error.message : error}`;
  }
  const sources: Record<string, string> = {
    Dockerfile: `FROM ${DEBIAN} AS build
RUN --mount=type=bind,source=debs,target=/debs ${INSTALL} /debs/*.deb
WORKDIR /src
COPY *.c *.h ./
RUN tcc -c main.c && tcc -c part.c
RUN tcc -o /usr/local/bin/program main.o part.o

FROM ${DEBIAN}
COPY --from=build /usr/local/bin/program /usr/local/bin/
RUN program >/etc/program.txt
CMD ["program"]
`,
    "part.h": "const char *word(int n);\n",
    "part.c": '#include "part.h"\nconst char *word(int n) { return n % 2 ? "odd" : "even"; }\n',
    "main.c": '#include <stdio.h>\n#include "part.h"\nint main(void) { return puts(word(41)) < 0; }\n',
  };
  await write(user, dir, sources);
  const script = `${INSTALL} /context/debs/*.deb
mkdir /src && cd /src && cp /context/*.c /context/*.h .
tcc -c main.c && tcc -c part.c
tcc -o /usr/local/bin/program main.o part.o
program >/etc/program.txt`;
  return {
    name: "Debian: apt, C, two stages",
    dir,
    bases: new Map([[DEBIAN, rootfs]]),
    commands: { image: DEBIAN, script },
    source: "main.c",
  };
}

async function nodeProject(user: User, parent: string, rootfs: string): Promise<Project | string> {
  const dir = `${parent}/node`;
  const base = `${parent}/node.tar`;
  try {
    await shell(
      `node=$(readlink -f "$(command -v node)"); npm=$(dirname "$(dirname "$(readlink -f "$(command -v npm)")")")
      stage=$(mktemp -d -p '${parent}'); mkdir -p $stage/usr/local/bin $stage/usr/local/lib/node_modules
      cp "$node" $stage/usr/local/bin/node; cp -r "$npm" $stage/usr/local/lib/node_modules/npm
      ln -s ../lib/node_modules/npm/bin/npm-cli.js $stage/usr/local/bin/npm
      cp '${rootfs}' '${base}'; tar -C $stage --owner=0 --group=0 -rf '${base}' ./usr/local/bin/node ./usr/local/bin/npm ./usr/local/lib/node_modules; chmod 644 '${base}'; rm -rf $stage`,
    );
  } catch (error) {
    return `Node: no node and npm on this machine: ${error instanceof Error ? error.message : error}`;
  }
  const names = Array.from({ length: 30 }, (_, n) => `bench-part-${n}`);
  const files: Record<string, string | Uint8Array> = {
    Dockerfile: `FROM ${NODE}
WORKDIR /app
COPY package.json package-lock.json ./
COPY vendor vendor
RUN --mount=type=cache,target=/root/.npm npm ci --no-audit --no-fund --offline
COPY . .
RUN node build.js
CMD ["node", "/app/out.js"]
`,
    "build.js": `const parts = ${JSON.stringify(names)}.map((name) => require(name));
require("fs").writeFileSync("out.js", "console.log(" + parts.length + ")");\n`,
  };
  for (const name of names) {
    const manifest = JSON.stringify({ name, version: "1.0.0", main: "index.js" });
    const entries = {
      "package/package.json": manifest,
      "package/index.js": `module.exports = ${JSON.stringify(name)};\n`,
    };
    files[`vendor/${name}.tgz`] = await gzip(tarArchive(
      Object.entries(entries).map(([path, text]) => {
        const data = new TextEncoder().encode(text);
        return { name: path, size: data.length, data };
      }),
    ));
  }
  const dependencies = Object.fromEntries(names.map((name) => [name, `file:vendor/${name}.tgz`]));
  const root = { name: "bench", version: "1.0.0", dependencies };
  const packages = Object.fromEntries(
    names.map((name) => [`node_modules/${name}`, { version: "1.0.0", resolved: `file:vendor/${name}.tgz` }]),
  );
  files["package.json"] = JSON.stringify(root);
  files["package-lock.json"] = JSON.stringify({
    ...root,
    lockfileVersion: 3,
    requires: true,
    packages: { "": root, ...packages },
  });
  await write(user, dir, files);
  return {
    name: "Node: npm ci, cache mount",
    dir,
    bases: new Map([[NODE, base]]),
    commands: {
      image: NODE,
      script:
        `mkdir /app && cd /app && cp -r /context/* . && npm ci --no-audit --no-fund --offline && node build.js`,
    },
    source: "build.js",
  };
}

async function gzip(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
  const stream = new Blob([bytes]).stream().pipeThrough(new CompressionStream("gzip"));
  return await new Response(stream).bytes();
}

async function staticProject(user: User, parent: string): Promise<Project> {
  const dir = `${parent}/static`;
  await write(user, dir, {
    Dockerfile: 'FROM scratch\nCOPY program /program\nCOPY note.txt /\nENTRYPOINT ["/program", "true"]\n',
    program: Deno.readFileSync("/bin/busybox"),
    "note.txt": "a note\n",
  });
  await Deno.chmod(`${dir}/program`, 0o755);
  return {
    name: "scratch: one static binary",
    dir,
    bases: new Map(),
    commands: undefined,
    source: "note.txt",
  };
}
