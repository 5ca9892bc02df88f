import { describe, expect, test } from "vitest";
import { FlagError, parseFlags } from "../../cli/flags/parse.ts";
import { bool, list, map, text } from "../../cli/flags/spec.ts";
import { bytes, decimal, duration, int, parseBytes, uint } from "../../cli/flags/values.ts";
import { flagUsages } from "../../cli/flags/help.ts";
import { filter } from "../../cli/flags/filter.ts";
import { parseServeArgs } from "../../cli/commands/serve_flags.ts";

const TABLE = {
  "interactive": bool("Keep STDIN open", { short: "i" }),
  "tty": bool("A terminal", { short: "t" }),
  "rm": bool("Remove"),
  "sig-proxy": bool("Proxy", { default: true }),
  "name": text("Name"),
  "publish": list("Port", { short: "p" }),
  "env": list("Variable", { short: "e" }),
  "memory": bytes("Memory", { short: "m" }),
  "swap": bytes("Swap", { allowMinusOne: true }),
  "time": int("Seconds", { short: "n" }),
  "weight": uint(16, "Weight"),
  "cpus": decimal("CPUs"),
  "wait": duration("Wait"),
  "sysctl": map("Sysctl"),
  "filter": filter("Filter", { short: "f" }),
};

const parse = (...argv: string[]) => parseFlags(TABLE, argv, { interspersed: true });

describe("parseFlags()", () => {
  test.each<[string[], Partial<ReturnType<typeof parse>["values"]>, string[]]>([
    [["-it"], { interactive: true, tty: true }, []],
    [["-ti", "x"], { interactive: true, tty: true }, ["x"]],
    [["-itp80:80"], { interactive: true, tty: true, publish: ["80:80"] }, []],
    [["-p443:443", "-p", "80"], { publish: ["443:443", "80"] }, []],
    [["-p=1:2"], { publish: ["1:2"] }, []],
    [["-eA=b"], { env: ["A=b"] }, []],
    [["-e", "A=b=c", "--env=C=", "--env", "D"], { env: ["A=b=c", "C=", "D"] }, []],
    [["--rm"], { rm: true }, []],
    [["--rm=false"], { rm: false }, []],
    [["--rm=1", "--sig-proxy=F"], { "rm": true, "sig-proxy": false }, []],
    [["-i=false"], { interactive: false }, []],
    [["--rm", "false"], { rm: true }, ["false"]],
    [["--name", "x"], { name: "x" }, []],
    [["--name=x=y"], { name: "x=y" }, []],
    [["--name="], { name: "" }, []],
    [["--name", "--rm"], { name: "--rm" }, []],
    [["a", "--rm", "b"], { rm: true }, ["a", "b"]],
    [["--rm", "--", "--name", "x"], { rm: true, name: "" }, ["--name", "x"]],
    [["-"], {}, ["-"]],
    [["-m", "1.5g", "--swap=-1"], { memory: 1610612736, swap: -1 }, []],
    [["-n-5"], { time: -5 }, []],
    [["-n", "0x10"], { time: 16 }, []],
    [["--cpus", "1.5", "--wait", "1m30s"], { cpus: 1_500_000_000, wait: 90e9 }, []],
    [["--sysctl", "a=b", "--sysctl=c=d=e"], { sysctl: { a: "b", c: "d=e" } }, []],
    [["-f", "Status=x", "-fstatus=y"], { filter: { status: { x: true, y: true } } }, []],
  ])("reads %j", (argv, values, args) => {
    const parsed = parse(...argv);
    expect(parsed.values).toMatchObject(values);
    expect(parsed.args).toEqual(args);
  });

  test("leaves defaults and says what was given", () => {
    const parsed = parse("--rm", "-i=false");
    expect(parsed.values["sig-proxy"]).toBe(true);
    expect([...parsed.changed]).toEqual(["rm", "interactive"]);
  });

  test("stops at the first positional argument when flags after it are the command's", () => {
    const parsed = parseFlags(TABLE, ["--rm", "image", "-it", "--", "x"], { interspersed: false });
    expect(parsed.args).toEqual(["image", "-it", "--", "x"]);
    expect(parsed.values.interactive).toBe(false);
  });

  test.each([["--help"], ["-h"], ["--rm", "--help", "--nosuch"]])("sees %s as a wish for help", (...argv) => {
    expect(parse(...argv.flat()).help).toBe(true);
  });

  test.each([
    [["--nosuch"], "unknown flag: --nosuch"],
    [["--nosuch=1"], "unknown flag: --nosuch"],
    [["-x"], "unknown shorthand flag: 'x' in -x"],
    [["-itx"], "unknown shorthand flag: 'x' in -x"],
    [["--name"], "flag needs an argument: --name"],
    [["-itp"], "flag needs an argument: 'p' in -p"],
    [["--=x"], "bad flag syntax: --=x"],
    [["---x"], "bad flag syntax: ---x"],
    [
      ["--rm=maybe"],
      'invalid argument "maybe" for "--rm" flag: strconv.ParseBool: parsing "maybe": invalid syntax',
    ],
    [
      ["-n", "x"],
      'invalid argument "x" for "-n, --time" flag: strconv.ParseInt: parsing "x": invalid syntax',
    ],
    [
      ["--weight", "70000"],
      'invalid argument "70000" for "--weight" flag: strconv.ParseUint: parsing "70000": value out of range',
    ],
    [["-m", "xx"], `invalid argument "xx" for "-m, --memory" flag: invalid size: 'xx'`],
    [["-m", "1xb"], `invalid argument "1xb" for "-m, --memory" flag: invalid suffix: 'xb'`],
    [["--wait", "5"], 'invalid argument "5" for "--wait" flag: time: missing unit in duration "5"'],
    [["--cpus", "x"], 'invalid argument "x" for "--cpus" flag: failed to parse x as a rational number'],
    [["--cpus", "1/3"], 'invalid argument "1/3" for "--cpus" flag: value is too precise'],
    [["-f", "x"], 'invalid argument "x" for "-f, --filter" flag: bad format of filter (expected name=value)'],
    [["--constructor"], "unknown flag: --constructor"],
  ])("refuses %j", (argv, message) => {
    expect(() => parse(...argv)).toThrow(new FlagError(message));
  });
});

test.each([
  ["0", 0],
  ["512", 512],
  ["64k", 65536],
  ["64kb", 65536],
  ["64KiB", 65536],
  ["1.5g", 1610612736],
  ["5 kb", 5120],
  [".5m", 524288],
])("parseBytes(%j) is %d", (text, expected) => {
  expect(parseBytes(text)).toBe(expected);
});

test("flagUsages() aligns, wraps and hides as pflag does", () => {
  const table = {
    attach: list("Attach to STDIN, STDOUT or STDERR", { short: "a" }),
    hidden: bool("Never seen", { hidden: true }),
    pull: text('Pull image before running ("always", "missing", "never")', { default: "missing" }),
    proxy: bool("Proxy received signals", { default: true }),
  };
  expect(flagUsages(table, 60)).toBe(
    "  -a, --attach list   Attach to STDIN, STDOUT or STDERR\n" +
      "      --proxy         Proxy received signals (default true)\n" +
      "      --pull string   Pull image before running\n" +
      '                      ("always", "missing", "never")\n' +
      '                      (default "missing")\n',
  );
});

describe("parseServeArgs()", () => {
  test("says what was given about networks by the keys of daemon.json, and nothing else", () => {
    const flags =
      "--bip 10.1.0.1/16 --default-address-pool base=10.2.0.0/16,size=24 --icc=false --mtu 1400 --dns-opt ndots:1 " +
      "--default-network-opt bridge=a=b=c --default-network-opt bridge=d=e --host-gateway-ip 192.0.2.1 --host-loopback";
    expect(parseServeArgs(flags.split(" "))).toMatchObject({
      ok: true,
      options: {
        network: {
          "bip": "10.1.0.1/16",
          "default-address-pools": [{ base: "10.2.0.0/16", size: 24 }],
          "default-network-opts": { bridge: { a: "b=c", d: "e" } },
          "dns-opts": ["ndots:1"],
          "host-gateway-ips": ["192.0.2.1"],
          "host-loopback": true,
          "icc": false,
          "mtu": 1400,
        },
      },
    });
    expect(parseServeArgs(["--debug"])).not.toHaveProperty("options.network");
  });

  test.each([
    [["--default-address-pool", "base=x,size=y"], "invalid size value: y (must be integer)"],
    [["--default-address-pool", "foo"], "invalid field 'foo' must be a key=value pair"],
    [["--default-network-opt", "bridge=a"], "invalid option 'bridge=a': must be driver=option=value"],
    [["--dns", "x"], "IP address is not correctly formatted: x"],
  ])("refuses %j", (args, message) => {
    expect(parseServeArgs(args)).toMatchObject({
      ok: false,
      code: 125,
      message: expect.stringContaining(message),
    });
  });

  test("reads dockerd's flags", () => {
    const args = ["-H", "unix:///a", "-Htcp://b", "--data-root=/d", "-D", "-p", "/pid", "--shim-pool", "0"];
    expect(parseServeArgs(args)).toEqual({
      ok: true,
      options: {
        hosts: ["unix:///a", "tcp://b"],
        dataRoot: "/d",
        pidfile: "/pid",
        debug: true,
        logLevel: "info",
        flagsGiven: ["host", "data-root", "debug", "pidfile", "shim-pool"],
        shimPool: 0,
      },
    });
  });

  test("leaves out what was not given", () => {
    expect(parseServeArgs([])).toEqual({
      ok: true,
      options: { hosts: [], debug: false, logLevel: "info", flagsGiven: [] },
    });
  });

  test("gives the help as message with exit code 0", () => {
    const parsed = parseServeArgs(["--help"]);
    expect(parsed).toMatchObject({ ok: false, code: 0 });
    expect(parsed.ok ? "" : parsed.message).toContain("--shim-pool int");
  });

  test.each([
    [["--nosuch"], 125, "unknown flag: --nosuch"],
    [["x"], 1, "berth: 'berth serve' accepts no arguments"],
    [["-l", "loud"], 125, "invalid logging level: loud"],
    [["--shim-pool", "-1"], 125, "--shim-pool cannot be negative"],
  ])("refuses %j", (args, code, start) => {
    const parsed = parseServeArgs(args);
    expect(parsed.ok ? undefined : [parsed.code, parsed.message.split("\n")[0]]).toEqual([code, start]);
  });
});
