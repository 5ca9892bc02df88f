import { describe, expect, test } from "vitest";
import { apiTimestamp, humanDuration, rfc3339Nano } from "../../cli/output/durations.ts";
import { goDuration } from "../../base/go_duration.ts";
import { formatList } from "../../cli/output/list_format.ts";
import { ellipsis, familiarName, shortId, splitReference } from "../../cli/output/names.ts";
import { displayPorts } from "../../cli/output/ports.ts";
import { showProgress } from "../../cli/output/progress.ts";
import { alignTabs, table } from "../../cli/output/table.ts";
import { bytesSize, humanSize, humanSizeShort } from "../../cli/output/units.ts";

describe("table()", () => {
  test("leaves three blanks, and no column narrower than ten", () => {
    expect(table([["ID", "PORTS", "NAMES"], ["abcdefghijkl", "", "web"]])).toBe(
      "ID             PORTS     NAMES\nabcdefghijkl             web\n",
    );
  });

  test("counts characters, not bytes", () => {
    expect(table([["NAME", "X"], ["éééééééééé", "y"]])).toBe("NAME         X\néééééééééé   y\n");
  });

  test("sizes columns by neighbouring lines only, as tabwriter does", () => {
    expect(alignTabs("a\tb\nplain\nlonglonglonglong\tb", 1, 1)).toBe("a b\nplain\nlonglonglonglong b");
  });
});

describe("formatList()", () => {
  const items = [{ name: "web", size: 5 }, { name: "db<1>", size: 70 }];
  const list = (format: string, quiet?: string) =>
    formatList({
      items,
      row: ({ name, size }) => ({ Name: () => name, Size: () => `${size}B` }),
      methods: ({ name }) => ({ Label: (key: string) => `${key}-${name}` }),
      type: "*formatter.thing",
      headers: { Name: "NAME", Size: "SIZE" },
      columns: ["Name", "Size"],
      format,
      quiet,
    });

  test.each([
    ["", "NAME      SIZE\nweb       5B\ndb<1>     70B\n"],
    ["table", "NAME      SIZE\nweb       5B\ndb<1>     70B\n"],
    ["json", '{"Name":"web","Size":"5B"}\n{"Name":"db\\u003c1\\u003e","Size":"70B"}\n'],
    ["{{.Name}}", "web\ndb<1>\n"],
    ["{{.Name}}\\t{{.Size}}", "web\t5B\ndb<1>\t70B\n"],
    ["table {{.Size}}\\t{{.Name}}", "SIZE      NAME\n5B        web\n70B       db<1>\n"],
    [
      'table {{.Name}}\t{{.Label "com.example"}}',
      "NAME      example\nweb       com.example-web\ndb<1>     com.example-db<1>\n",
    ],
    ["{{json .}}", '{"Name":"web","Size":"5B"}\n{"Name":"db\\u003c1\\u003e","Size":"70B"}\n'],
    ["{{upper .Name}}", "WEB\nDB<1>\n"],
  ])("formats as %j", async (format, expected) => {
    expect(await list(format)).toBe(expected);
  });

  test("prints one field only when quiet", async () => {
    expect(await list("", "Name")).toBe("web\ndb<1>\n");
  });

  test("names a field that does not exist", async () => {
    await expect(list("{{.Nope}}")).rejects.toThrow(
      `template parsing error: template: :1:2: executing "" at <.Nope>: can't evaluate field Nope in type *formatter.thing`,
    );
  });
});

test.each([
  [0, "0B", "0B", "0B"],
  [999, "999B", "999B", "999B"],
  [4261535, "4.262MB", "4.26MB", "4.064MiB"],
  [1000, "1kB", "1kB", "1000B"],
  [1024, "1.024kB", "1.02kB", "1KiB"],
  [999950, "1000kB", "1e+03kB", "976.5KiB"],
  [2147483648, "2.147GB", "2.15GB", "2GiB"],
])("sizes of %d", (size, human, short, binary) => {
  expect(humanSize(size)).toBe(human);
  if (!short.includes("e")) expect(humanSizeShort(size)).toBe(short);
  expect(bytesSize(size)).toBe(binary);
});

test.each([
  [0.5, "Less than a second"],
  [1, "1 second"],
  [59, "59 seconds"],
  [60, "About a minute"],
  [119, "About a minute"],
  [120, "2 minutes"],
  [3599, "59 minutes"],
  [3600, "About an hour"],
  [7200, "2 hours"],
  [47 * 3600, "47 hours"],
  [48 * 3600, "2 days"],
  [14 * 86400, "2 weeks"],
  [60 * 86400, "2 months"],
  [730 * 86400, "2 years"],
])("humanDuration(%d) is %j", (seconds, expected) => {
  expect(humanDuration(seconds)).toBe(expected);
});

test("goDuration() adds its parts up", () => {
  expect(goDuration("1h2m3.5s")).toBe(3723.5e9);
  expect(goDuration("-1.5h")).toBe(-5400e9);
  expect(goDuration("100ms")).toBe(1e8);
  expect(() => goDuration("1x")).toThrow('time: unknown unit "x" in duration "1x"');
});

describe("apiTimestamp()", () => {
  const now = new Date("2024-05-01T12:00:00Z");
  test.each([
    ["10m", "1714564200"],
    ["1.5s", "1714564798.5"],
    ["0", "0"],
    ["1714564800", "1714564800"],
    ["1714564800.5", "1714564800.5"],
    ["2024-05-01T12:00:00Z", "1714564800.000000000"],
    ["2024-05-01T12:00:00.123456789Z", "1714564800.123456789"],
    ["2024-05-01T14:00:00+02:00", "1714564800.000000000"],
  ])("sends %s as %s", (text, expected) => {
    expect(apiTimestamp(text, now)).toBe(expected);
  });

  test("takes a date without zone as local time", () => {
    expect(apiTimestamp("2024-05-01", now)).toBe(`${new Date(2024, 4, 1).getTime() / 1000}.000000000`);
  });

  test.each(["2024-13-01", "not-a-time"])("refuses %s", (text) => {
    expect(() => apiTimestamp(text, now)).toThrow();
  });
});

test("rfc3339Nano() keeps nine digits", () => {
  expect(rfc3339Nano(1714564800000000001n)).toMatch(
    /^2024-0[45]-\d\dT\d\d:\d\d:00\.000000001(Z|[+-]\d\d:\d\d)$/,
  );
});

test.each([
  [[], ""],
  [[{ PrivatePort: 80, Type: "tcp" }], "80/tcp"],
  [[{ IP: "0.0.0.0", PrivatePort: 80, PublicPort: 8080, Type: "tcp" }], "0.0.0.0:8080->80/tcp"],
  [[{ IP: "::", PrivatePort: 80, PublicPort: 8080, Type: "tcp" }], "[::]:8080->80/tcp"],
  [
    [8000, 8001, 8002].map((PrivatePort) => ({ PrivatePort, Type: "tcp" })),
    "8000-8002/tcp",
  ],
  [
    [90, 91].map((port) => ({ IP: "0.0.0.0", PrivatePort: port, PublicPort: port, Type: "udp" })),
    "0.0.0.0:90-91->90-91/udp",
  ],
])("displayPorts(%j) is %j", (ports, expected) => {
  expect(displayPorts(ports)).toBe(expected);
});

test("names in short forms", () => {
  expect(shortId("sha256:0123456789abcdef0123")).toBe("0123456789ab");
  expect(ellipsis("a".repeat(30), 20)).toBe("a".repeat(19) + "…");
  expect(familiarName("docker.io/library/busybox")).toBe("busybox");
  expect(familiarName("docker.io/me/app")).toBe("me/app");
  expect(familiarName("quay.io/library/x")).toBe("quay.io/library/x");
  expect(splitReference("host:5000/a/b:t@sha256:x")).toEqual({
    repository: "host:5000/a/b",
    tag: "t",
    digest: "sha256:x",
  });
  expect(splitReference("host:5000/a")).toEqual({ repository: "host:5000/a", tag: "", digest: "" });
});

describe("showProgress()", () => {
  async function show(terminal: boolean, ...messages: object[]): Promise<string> {
    async function* bytes() {
      for (const message of messages) {
        yield await Promise.resolve(new TextEncoder().encode(JSON.stringify(message)));
      }
    }
    let text = "";
    await showProgress(bytes(), (part) => text += part, terminal);
    return text;
  }
  const download = { id: "abc", status: "Downloading", progressDetail: { current: 500, total: 1000 } };

  test("prints plain lines where there is no terminal, and no bars", async () => {
    expect(
      await show(false, { status: "Pulling" }, { stream: "Loaded image: x\n" }, download, {
        id: "abc",
        status: "Done",
      }),
    )
      .toBe("Pulling\nLoaded image: x\nabc: Done\n");
  });

  test("goes back to a layer's line on a terminal", async () => {
    const text = await show(true, download, { id: "def", status: "Waiting" }, { id: "abc", status: "Done" });
    expect(text).toBe(
      `abc: Downloading [${"=".repeat(25)}>${" ".repeat(24)}]     500B/1kB\ndef: Waiting\n` +
        "\x1b[2A\x1b[2K\rabc: Done\r\x1b[2B",
    );
  });

  test("throws the engine's error", async () => {
    await expect(show(false, { errorDetail: { message: "no space" }, error: "no space" })).rejects.toThrow(
      "no space",
    );
  });
});
