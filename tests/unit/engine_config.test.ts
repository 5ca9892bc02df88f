import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { mergeSettings } from "../../engine/daemon_config.ts";
import { lockDataRoot } from "../../engine/data_root_lock.ts";
import type { EngineOptions } from "../../engine/serve_options.ts";
import { kernel } from "../../ffi/kernel.ts";

let dir: string;
beforeEach(() => {
  dir = Deno.makeTempDirSync({ prefix: "berth-config-" });
});
afterEach(() => Deno.removeSync(dir, { recursive: true }));

function options(changes: Partial<EngineOptions> = {}): EngineOptions {
  return {
    hosts: [],
    dataRoot: "/data",
    execRoot: "/run/berth",
    socket: "/run/berth.sock",
    configFile: `${dir}/daemon.json`,
    configFileGiven: false,
    flagsGiven: [],
    debug: false,
    logLevel: "info",
    uid: 0,
    gid: 0,
    idMap: "root",
    warnings: [],
    nofile: { soft: "1024", hard: "4096" },
    ...changes,
  };
}

const withFile = (content: unknown, changes: Partial<EngineOptions> = {}) => {
  Deno.writeTextFileSync(
    `${dir}/daemon.json`,
    typeof content === "string" ? content : JSON.stringify(content),
  );
  return () => mergeSettings(options(changes));
};

describe("mergeSettings", () => {
  it("reads dockerd's settings of TLS: what is said, what follows, and what was not said", () => {
    const mode = (file: unknown, tls = {}) => withFile(file, { tls })().tls.mode;
    expect(mode({})).toBe("unset");
    expect(mode({ tls: false })).toBe("plain");
    expect(mode({ tlsverify: false })).toBe("plain");
    expect(mode({ tls: true })).toBe("encrypt");
    expect(mode({}, { tlsverify: true })).toBe("verify");
    expect(withFile({ tlsverify: true, tlscacert: "/ca" })().tls).toMatchObject({
      mode: "verify",
      ca: "/ca",
      cert: expect.stringMatching(/\/cert\.pem$/),
    });
    expect(withFile({ tls: true }, { tls: { tls: true }, flagsGiven: ["tls"] })).toThrow(
      "tls: (from flag: true",
    );
    expect(withFile({ "log-format": "json" })().logFormat).toBe("json");
    expect(withFile({ "log-format": "xml" })).toThrow("invalid log format: xml");
  });

  it("takes registries from the file or from flags, and refuses what is no mirror", () => {
    const file = { "registry-mirrors": ["https://m.example/"], "insecure-registries": ["10.0.0.0/8"] };
    const proxies = { "http-proxy": "http://p:1", "no-proxy": "x" };
    Deno.writeTextFileSync(
      `${dir}/daemon.json`,
      JSON.stringify({ ...file, "max-concurrent-downloads": 7, proxies }),
    );
    expect(mergeSettings(options())).toMatchObject({
      registry: {
        mirrors: ["https://m.example/"],
        insecure: ["10.0.0.0/8"],
        maxDownloads: 7,
        maxUploads: 5,
        certDirs: [`${dir}/certs.d`, "/etc/docker/certs.d"],
      },
      proxies: { http: "http://p:1", no: "x" },
      warnings: [],
    });
    for (
      const [bad, message] of [
        [{ "registry-mirrors": ["m.example"] }, "invalid mirror"],
        [{ "registry-mirrors": ["https://u:p@m.example"] }, "credentials"],
        [{ "insecure-registries": ["http://x"] }, "should not contain '://'"],
        [{ "max-concurrent-downloads": 0 }, "must be a positive whole number"],
      ] as const
    ) {
      Deno.writeTextFileSync(`${dir}/daemon.json`, JSON.stringify(bad));
      expect(() => mergeSettings(options())).toThrow(message);
    }
    Deno.removeSync(`${dir}/daemon.json`);
    const flags = { registryMirrors: ["http://f/"], insecureRegistries: ["plain:5000"] };
    expect(mergeSettings(options(flags)).registry).toMatchObject({
      mirrors: ["http://f/"],
      insecure: ["plain:5000"],
    });
  });

  it("has defaults without a file, and needs the file when it was named", () => {
    expect(mergeSettings(options())).toMatchObject({
      shimPool: 1,
      logLevel: "info",
      dataRoot: "/data",
      hosts: [],
    });
    expect(() => mergeSettings(options({ configFileGiven: true }))).toThrow(
      `unable to configure the berth engine with file ${dir}/daemon.json: open ${dir}/daemon.json: no such file`,
    );
  });

  it("takes what the file says", () => {
    const settings = withFile({
      hosts: ["unix:///x.sock", "tcp://127.0.0.1:2375"],
      "data-root": "/srv/berth/",
      debug: true,
      "shim-pool": 0,
      "default-shm-size": "128M",
      "default-ulimits": { nofile: { Name: "nofile", Soft: 10, Hard: 20 } },
      "log-opts": { "max-size": "10m", "max-file": "3" },
      init: true,
      "bip": "10.1.0.1/16",
      "selinux-enabled": true,
    })();
    expect(settings).toMatchObject({
      hosts: ["unix:///x.sock", "tcp://127.0.0.1:2375"],
      dataRoot: "/srv/berth",
      logLevel: "debug",
      shimPool: 0,
      defaults: {
        shmSize: 128 * 1024 * 1024,
        ulimits: [{ Name: "nofile", Soft: 10, Hard: 20 }],
        init: true,
        logOpts: { "max-size": "10m", "max-file": "3" },
      },
    });
    expect(settings.warnings).toEqual([
      `no effect in this version of berth (${dir}/daemon.json): selinux-enabled`,
    ]);
    expect(
      withFile({ "selinux-enabled": false, "live-restore": true, features: { buildkit: true } })().warnings,
    ).toEqual([]);
    expect(settings.network.bridge.v4).toEqual([{ subnet: "10.1.0.0/16", gateway: "10.1.0.1" }]);
  });

  it("takes defaults of containers, and a seccomp profile out of a file", () => {
    const profile = `${dir}/seccomp.json`;
    Deno.writeTextFileSync(profile, '{"defaultAction":"SCMP_ACT_ALLOW"}');
    const given = { "default-ipc-mode": "shareable", "no-new-privileges": true, "default-runtime": "runc" };
    expect(withFile({ ...given, "seccomp-profile": profile })().defaults).toMatchObject({
      ipcMode: "shareable",
      runtime: "runc",
      security: {
        noNewPrivileges: true,
        seccomp: '{"defaultAction":"SCMP_ACT_ALLOW"}',
        seccompName: profile,
      },
    });
    expect(withFile({ "seccomp-profile": "unconfined" })().defaults.security?.seccomp).toBe("unconfined");
    expect(withFile({ "seccomp-profile": "/none" })).toThrow(
      "opening seccomp profile (/none) failed: open /none: no such file or directory",
    );
    expect(withFile({ "default-ipc-mode": "host" })).toThrow(
      'default IPC mode setting (host) is invalid; use "shareable" or "private"',
    );
    expect(withFile({ "default-runtime": "kata" })).toThrow(
      "specified default runtime 'kata' does not exist",
    );
    expect(withFile({ labels: ["x"] })).toThrow("bad attribute format: x");
  });

  it("says of every directive of dockerd that it has no effect, unless it asks for what is so anyway", () => {
    expect(withFile({ "metrics-addr": "127.0.0.1:9323", "live-restore": false, iptables: true })().warnings)
      .toEqual([
        `no effect in this version of berth (${dir}/daemon.json): metrics-addr, live-restore`,
      ]);
  });

  it("refuses unknown directives, and those that were given as a flag too, in dockerd's words", () => {
    expect(withFile({ "data-rot": "/x", wrong: 1 })).toThrow(
      "the following directives don't match any configuration option: data-rot, wrong",
    );
    const both = { flagsGiven: ["host", "data-root"], hosts: ["unix:///a"] };
    expect(withFile({ hosts: ["unix:///b"], debug: true }, both)).toThrow(
      "the following directives are specified both as a flag and in the configuration file: " +
        "hosts: (from flag: [unix:///a], from file: [unix:///b])",
    );
  });

  it("refuses wrong types, sizes, levels and broken JSON", () => {
    expect(withFile('{"debug": tru}')).toThrow("unable to configure the berth engine with file");
    expect(withFile("[]")).toThrow("must be a JSON object");
    expect(withFile({ debug: "yes" })).toThrow('debug: must be true or false, not "yes"');
    expect(withFile({ hosts: "unix:///x" })).toThrow("hosts: must be a list of strings");
    expect(withFile({ "data-root": "relative" })).toThrow("data-root must be an absolute path: relative");
    expect(withFile({ "shim-pool": 1.5 })).toThrow("shim-pool: must be a whole number from 0 to 64, not 1.5");
    expect(withFile({ "default-shm-size": "lots" })).toThrow("default-shm-size: invalid size: 'lots'");
    expect(withFile({ "log-level": "loud" })).toThrow("invalid logging level: loud");
    expect(withFile({ "log-opts": { "max-size": "x" } })).toThrow("invalid size: 'x'");
  });
});

describe("lockDataRoot", () => {
  it("lets one process in, names it to the next, and opens again when that one is killed", async () => {
    const script = `
      import { kernel } from ${JSON.stringify(new URL("../../ffi/kernel.ts", import.meta.url).href)};
      import { lockDataRoot } from ${
      JSON.stringify(new URL("../../engine/data_root_lock.ts", import.meta.url).href)
    };
      globalThis.lock = lockDataRoot(kernel, ${JSON.stringify(dir)});
      console.log("locked");
      setInterval(() => {}, 1000);
    `;
    Deno.writeTextFileSync(`${dir}/holder.ts`, script);
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-config", "--no-lock", "--no-check", `${dir}/holder.ts`],
      stdin: "null",
      stdout: "piped",
      stderr: "null",
    }).spawn();
    const reader = child.stdout.getReader();
    try {
      expect(new TextDecoder().decode((await reader.read()).value)).toBe("locked\n");
      expect(() => lockDataRoot(kernel, dir)).toThrow(
        `another berth engine (pid ${child.pid}) already uses ${dir}`,
      );
    } finally {
      child.kill("SIGKILL");
      await child.status;
      await reader.cancel();
    }
    using lock = lockDataRoot(kernel, dir);
    expect(lock).toBeDefined();
    expect(Deno.readTextFileSync(`${dir}/berth.lock`)).toBe(`${Deno.pid}\n`);
  });
});
