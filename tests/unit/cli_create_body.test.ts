import { describe, expect, test } from "vitest";
import { createBody } from "../../cli/create/body.ts";
import { CONTAINER_FLAGS } from "../../cli/create/container_flags.ts";
import { parseFlags } from "../../cli/flags/parse.ts";
import { runBerth } from "../support/berth_cli.ts";
import { scriptedEngine } from "../support/scripted_engine.ts";
import { describeWith, need } from "../support/needs.ts";

type Tree = Record<string, unknown>;

function body(...argv: string[]): Tree & { HostConfig: Tree; NetworkingConfig: { EndpointsConfig: Tree } } {
  const { values, changed, args } = parseFlags(CONTAINER_FLAGS, argv, { interspersed: false });
  return createBody(values, changed, args) as unknown as ReturnType<typeof body>;
}

describe("createBody()", () => {
  test.each<[string[], Tree, Tree]>([
    [["-it", "x", "sh", "-c", "a b"], {
      Tty: true,
      OpenStdin: true,
      StdinOnce: true,
      AttachStdin: true,
      Cmd: ["sh", "-c", "a b"],
    }, {}],
    [["x"], {
      Tty: false,
      AttachStdin: false,
      AttachStdout: true,
      AttachStderr: true,
      Cmd: null,
      Entrypoint: null,
    }, { AutoRemove: false, NetworkMode: "default" }],
    [["-a", "STDIN", "x"], { AttachStdin: true, AttachStdout: false, StdinOnce: false }, {}],
    [["--entrypoint", "", "x"], { Entrypoint: [""] }, {}],
    [["-p", "8080:80", "-p", "127.0.0.1::53/udp", "x"], { ExposedPorts: { "80/tcp": {}, "53/udp": {} } }, {
      PortBindings: {
        "80/tcp": [{ HostIp: "", HostPort: "8080" }],
        "53/udp": [{ HostIp: "127.0.0.1", HostPort: "" }],
      },
    }],
    [["-p", "9000-9001:90-91", "-p", "[::1]:5000-5005:7", "x"], {}, {
      PortBindings: {
        "90/tcp": [{ HostIp: "", HostPort: "9000" }],
        "91/tcp": [{ HostIp: "", HostPort: "9001" }],
        "7/tcp": [{ HostIp: "::1", HostPort: "5000-5005" }],
      },
    }],
    [["-v", "/a:/b:ro", "-v", "/anon", "-v", "./r:/c", "x"], { Volumes: { "/anon": {} } }, {
      Binds: ["/a:/b:ro", `${Deno.cwd()}/r:/c`],
    }],
    [["--mount", "type=bind,src=/a,dst=/b,readonly,bind-propagation=rslave", "x"], {}, {
      Mounts: [{
        Type: "bind",
        Source: "/a",
        Target: "/b",
        ReadOnly: true,
        BindOptions: { Propagation: "rslave" },
      }],
    }],
    [["--mount", 'type=volume,"volume-opt=o=a,b",dst=/x', "x"], {}, {
      Mounts: [{ Type: "volume", Target: "/x", VolumeOptions: { DriverConfig: { Options: { o: "a,b" } } } }],
    }],
    [["-m", "64m", "--memory-swap", "-1", "--cpus", "1.5", "--pids-limit", "9", "x"], {}, {
      Memory: 67108864,
      MemorySwap: -1,
      NanoCpus: 1500000000,
      PidsLimit: 9,
    }],
    [["--ulimit", "nofile=10:20", "--ulimit", "core=-1", "--ulimit", "nofile=5", "x"], {}, {
      Ulimits: [{ Name: "core", Soft: -1, Hard: -1 }, { Name: "nofile", Soft: 5, Hard: 5 }],
    }],
    [["--health-cmd", "curl x", "--health-interval", "10s", "x"], {
      Healthcheck: { Test: ["CMD-SHELL", "curl x"], Interval: 10e9 },
    }, {}],
    [["--no-healthcheck", "x"], { Healthcheck: { Test: ["NONE"] } }, {}],
    [["--restart", "on-failure:3", "x"], {}, { RestartPolicy: { Name: "on-failure", MaximumRetryCount: 3 } }],
    [["--device", "/dev/null:/dev/x:r", "--device", "/dev/full:rw", "x"], {}, {
      Devices: [
        { PathOnHost: "/dev/null", PathInContainer: "/dev/x", CgroupPermissions: "r" },
        { PathOnHost: "/dev/full", PathInContainer: "/dev/full", CgroupPermissions: "rw" },
      ],
    }],
    [["--security-opt", "no-new-privileges:true", "--security-opt", "systempaths=unconfined", "x"], {}, {
      SecurityOpt: ["no-new-privileges:true"],
      MaskedPaths: [],
      ReadonlyPaths: [],
    }],
    [["--tmpfs", "/run:size=1m", "--sysctl", "net.a=1", "--init=false", "--stop-timeout", "0", "x"], {
      StopTimeout: 0,
    }, {
      Tmpfs: { "/run": "size=1m" },
      Sysctls: { "net.a": "1" },
      Init: false,
    }],
  ])("%j", (argv, config, host) => {
    const built = body(...argv);
    expect(built).toMatchObject(config);
    expect(built.HostConfig).toMatchObject(host);
  });

  test("puts network options into the first network's endpoint", () => {
    const built = body(
      "--network",
      "front",
      "--network",
      "back",
      "--network-alias",
      "web",
      "--ip",
      "10.0.0.2",
      "x",
    );
    expect(built.HostConfig.NetworkMode).toBe("front");
    expect(built.NetworkingConfig.EndpointsConfig).toMatchObject({
      front: { Aliases: ["web"], IPAMConfig: { IPv4Address: "10.0.0.2" } },
      back: { Aliases: null },
    });
  });

  test("reads env files before -e, and takes bare names from the environment", () => {
    const file = Deno.makeTempFileSync();
    Deno.writeTextFileSync(file, "# comment\nA=1\n  B=two words \nBERTH_TEST_UNSET\n\n");
    try {
      expect(body("--env-file", file, "-e", "A=3", "-e", "PATH", "-e", "BERTH_TEST_UNSET", "x").Env).toEqual([
        "A=1",
        "B=two words ",
        "A=3",
        `PATH=${Deno.env.get("PATH")}`,
        "BERTH_TEST_UNSET",
      ]);
    } finally {
      Deno.removeSync(file);
    }
  });

  test("sends a seccomp profile's content", () => {
    const file = Deno.makeTempFileSync();
    Deno.writeTextFileSync(file, '{ "defaultAction":\n "SCMP_ACT_ALLOW" }');
    try {
      expect(body("--security-opt", `seccomp=${file}`, "x").HostConfig.SecurityOpt).toEqual([
        'seccomp={"defaultAction":"SCMP_ACT_ALLOW"}',
      ]);
    } finally {
      Deno.removeSync(file);
    }
  });

  test.each([
    [["--rm", "--restart", "always", "x"], "conflicting options: cannot specify both --restart and --rm"],
    [["--pid", "x", "x"], "--pid: invalid PID mode"],
    [["--memory-swappiness", "101", "x"], "invalid value: 101. Valid memory swappiness range is 0-100"],
    [["--network-alias", "a", "x"], "network-scoped aliases are only supported for user-defined networks"],
    [
      ["--network", "a", "--network", "host", "x"],
      "cannot attach both user-defined and non-user-defined network-modes",
    ],
    [["-p", "1-2:3-5", "x"], "invalid ranges specified for container and host Ports: 3-5 and 1-2"],
    [["--device", "foo", "x"], "foo is not an absolute path"],
    [["--no-healthcheck", "--health-cmd", "x", "x"], "--no-healthcheck conflicts with --health-* options"],
    [["--log-driver", "none", "--log-opt", "a=b", "x"], "invalid logging opts for driver none"],
    [["--env-file", "/nonexistent", "x"], "open /nonexistent: no such file or directory"],
    [["--security-opt", "seccomp=/nonexistent", "x"], "opening seccomp profile (/nonexistent) failed"],
    [["--mac-address", "zz", "x"], "zz is not a valid mac address"],
    [["--network", "name=a,mac-address=zz", "x"], "zz is not a valid mac address"],
    [
      ["--network", "name=a,alias=b", "--network-alias", "c", "x"],
      "cannot specify both --network-alias and per-network alias",
    ],
    [["--network", "a", "--network", "a", "x"], 'network "a" is specified multiple times'],
    [["-p", "[fe80::1%eth0]:1:1", "x"], "invalid IP address: fe80::1%eth0"],
    [["-p", "80:", "x"], "no port specified: 80:<empty>"],
    [["--expose", "5:6", "x"], "invalid port format for --expose: 5:6"],
  ])("refuses %j", (argv, message) => {
    expect(() => body(...argv)).toThrow(message);
  });
});

/** Version of the docker command line here, [0] when there is none. */
function dockerVersion(): number[] {
  try {
    const { stdout } = new Deno.Command("docker", { args: ["--version"], stdout: "piped", stderr: "null" })
      .outputSync();
    return (/version (\d+)\.(\d+)/.exec(new TextDecoder().decode(stdout))?.slice(1) ?? ["0"]).map(Number);
  } catch {
    return [0];
  }
}

const CASES = [
  "x",
  "-it x sh",
  "-e A=b -l c=d -w /w -u 1:2 --hostname h --read-only --privileged x",
  "-p 80 -p 8080:80 -p 127.0.0.1:90:91/udp --expose 5-6 -P x",
  "-v /a:/b:ro -v vol:/c -v /d --tmpfs /e:size=1m --mount type=tmpfs,dst=/f,tmpfs-size=1m --volumes-from c x",
  "-m 64m --memory-swap -1 --cpus 1.5 --cpu-shares 5 --pids-limit 7 --shm-size 1m --ulimit nofile=1:2 x",
  "--blkio-weight-device /dev/sda:300 --device-read-bps /dev/sda:1mb --device /dev/null --gpus all x",
  "--dns 1.1.1.1 --dns-search a.b --dns-option c --add-host d:1.2.3.4 --network e --ip 1.2.3.4 --link f:g x",
  "--network none --pid host --ipc host --uts host --cgroupns private --userns host x",
  "--health-cmd c --health-interval 1s --health-retries 2 --restart on-failure:3 --log-driver l --log-opt a=b x",
  "--security-opt seccomp=unconfined --security-opt label:disable --stop-signal INT --stop-timeout 3 --init x",
  "-p [::1]:1:2 -p 8000-8010:80 -p 9000-9001:9000-9001/udp -p 127.0.0.1::7 -p published=5,target=6,protocol=udp x",
  "--network name=a,alias=b,alias=c,ip=10.0.0.5,ip6=::5,mac-address=02:42:ac:11:00:02,gw-priority=7 --network d x",
  "--network name=a,link-local-ip=169.254.1.1,driver-opt=k=v --ip6 ::1 --network-alias e --mac-address 02-42-ac-11-00-02 x",
  "--net a --net-alias b --ip zz --ip6 zz --link-local-ip zz --dns-opt a --dns-option b --dns-opt c x",
  "--add-host a=2001:db8::1 --add-host b:host-gateway --add-host c:[::1] --hostname h --domainname d --link e x",
  "--entrypoint= -a stdout --sysctl net.a=1 --annotation b=c --runtime r --group-add g --rm x y z",
];

// The shape of the body follows the API version of the client.
const comparable = (dockerVersion()[0] ?? 0) === 28;

describeWith(need(comparable, "no docker command line of version 28 on PATH"))(
  "berth create, compared with docker create 28",
  () => {
    test.each(CASES)("%s", async (line) => {
      await using engine = scriptedEngine(async (request, connection) => {
        if (request.target === "/_ping") {
          return await connection.answer(200, "OK", { "Api-Version": "1.51", "Ostype": "linux" });
        }
        await connection.answer(201, { Id: "0".repeat(64), Warnings: [] }, {
          "Content-Type": "application/json",
        });
      });
      const argv = ["create", ...line.split(" ")];
      await new Deno.Command("docker", {
        args: ["-H", engine.host, ...argv],
        stdin: "null",
        stdout: "null",
        stderr: "null",
      })
        .output();
      await runBerth(["-H", engine.host, ...argv]);
      const [theirs, ours, ...rest] = engine.requests.filter(({ target }) =>
        target.includes("/containers/create")
      );
      const parse = (bytes: Uint8Array | undefined) => {
        const parsed = JSON.parse(new TextDecoder().decode(bytes)) as {
          HostConfig: { Binds: string[] | null };
        };
        // docker's own order is that of a Go map: another one each time.
        parsed.HostConfig.Binds?.sort();
        return parsed;
      };
      expect(rest).toEqual([]);
      expect(parse(ours?.body)).toEqual(parse(theirs?.body));
    });
  },
);
