import { describe, expect, it } from "vitest";
import { backFilledBindings, portRequests } from "../../net/network_ports.ts";
import {
  HostPortBook,
  portsView,
  type PublishedPort,
  publishingFailed,
} from "../../net/network_host_ports.ts";

describe("portRequests()", () => {
  const request = (bindings: Parameters<typeof portRequests>[0], context = {}) =>
    portRequests(bindings, { hostIpv6: true, ...context }).requests
      .map(({ port, protocol, hostAddresses, first, last }) =>
        `${port}/${protocol} ${hostAddresses.join("+")} ${first}-${last}`
      );

  it("binds both families where no address is named, and the one that is", () => {
    expect(request({ "80/tcp": [{ HostIp: "", HostPort: "8080" }] })).toEqual([
      "80/tcp 0.0.0.0+:: 8080-8080",
    ]);
    expect(request({ "80/tcp": [{ HostPort: "8080" }] }, { hostIpv6: false })).toEqual([
      "80/tcp 0.0.0.0 8080-8080",
    ]);
    expect(request({ "80/tcp": [{ HostIp: "0.0.0.0", HostPort: "8080" }] })).toEqual([
      "80/tcp 0.0.0.0 8080-8080",
    ]);
    expect(request({ "80/tcp": [{ HostIp: "[::]", HostPort: "8080" }] })).toEqual(["80/tcp :: 8080-8080"]);
    expect(request({ "80/tcp": [{ HostPort: "8080" }] }, { defaultAddress: "127.0.0.1" })).toEqual([
      "80/tcp 127.0.0.1 8080-8080",
    ]);
  });

  it("gives one port to bindings that differ in address alone", () => {
    expect(request({ "80/tcp": [{ HostIp: "127.0.0.1" }, { HostIp: "::1" }, { HostIp: "127.0.0.1" }] }))
      .toEqual([
        "80/tcp 127.0.0.1+::1 0-0",
        "80/tcp 127.0.0.1 0-0",
      ]);
  });

  it("fills in ephemeral ports, and puts them last", () => {
    expect(backFilledBindings({ "80": null, "81/tcp": [] })).toEqual({
      "80": [{ HostIp: "", HostPort: "" }],
      "81/tcp": [{ HostIp: "", HostPort: "" }],
    });
    expect(request({ "80": null, "80/tcp": [{ HostPort: "7" }] }, { hostIpv6: false })).toEqual([
      "80/tcp 0.0.0.0 7-7",
      "80/tcp 0.0.0.0 0-0",
    ]);
    expect(request({
      "80/tcp": [],
      "81/tcp": [{ HostPort: "0" }],
      "82/tcp": [{ HostPort: "9000-9010" }],
      "83/tcp": [{ HostPort: "9000" }],
    }, { hostIpv6: false })).toEqual([
      "83/tcp 0.0.0.0 9000-9000",
      "82/tcp 0.0.0.0 9000-9010",
      "80/tcp 0.0.0.0 0-0",
      "81/tcp 0.0.0.0 0-0",
    ]);
  });

  it("publishes what is exposed with -P, once", () => {
    const context = { publishAll: true, exposed: ["80/tcp", "53/udp", "7/sctp"], hostIpv6: false };
    const { requests, warnings } = portRequests({ "80/tcp": [{ HostPort: "8080" }] }, context);
    expect(requests.map(({ port, first }) => [port, first])).toEqual([[80, 8080], [53, 0]]);
    expect(warnings).toEqual(["Port 7/sctp is exposed and not published: berth publishes TCP and UDP"]);
    expect(portRequests({}, { ...context, publishAll: false }).requests).toEqual([]);
  });

  it("refuses SCTP and what is no port", () => {
    expect(() => request({ "7/sctp": [{ HostPort: "7" }] })).toThrow("SCTP cannot be published");
    expect(() => request({ "80/tcp": [{ HostPort: "x" }] })).toThrow(
      'Error parsing HostPort value(x):strconv.ParseUint: parsing "x": invalid syntax',
    );
    expect(() => request({ "80/tcp": [{ HostIp: "x" }] })).toThrow("invalid IP address: x");
    expect(() => request({ "x/tcp": [] })).toThrow('invalid port specification: "x/tcp"');
  });
});

describe("HostPortBook", () => {
  const taken = (hostAddress: string, hostPort: number, protocol: "tcp" | "udp" = "tcp") => ({
    protocol,
    hostAddress,
    hostPort,
  });
  const request = (first: number, last: number, ...hostAddresses: string[]) => ({
    port: 80,
    protocol: "tcp" as const,
    hostAddresses,
    first,
    last,
  });

  it("knows that all addresses take in each one of their family", () => {
    const book = new HostPortBook([taken("127.0.0.1", 80), taken("::", 81), taken("0.0.0.0", 82, "udp")]);
    expect(book.takenOn("tcp", ["127.0.0.2"], 80)).toBeUndefined();
    expect(book.takenOn("tcp", ["0.0.0.0"], 80)).toBe("0.0.0.0");
    expect(book.takenOn("tcp", ["::"], 80)).toBeUndefined();
    expect(book.takenOn("tcp", ["0.0.0.0", "::1"], 81)).toBe("::1");
    expect(book.takenOn("tcp", ["0.0.0.0"], 82)).toBeUndefined();
    book.remove(taken("127.0.0.1", 80));
    expect(book.takenOn("tcp", ["0.0.0.0"], 80)).toBeUndefined();
  });

  it("says which port is taken, in Docker's words", () => {
    const book = new HostPortBook([taken("0.0.0.0", 8080)]);
    const failed = () => [...book.candidates(request(8080, 8080, "0.0.0.0", "::"))];
    expect(failed).toThrow(expect.objectContaining({
      kind: "system",
      message: "Bind for 0.0.0.0:8080 failed: port is already allocated",
    }));
    expect(publishingFailed({ name: "web", id: "abc" }, new Error("x")).message).toBe(
      "driver failed programming external connectivity on endpoint web (abc): x",
    );
  });

  it("goes on in a range behind the last port, and comes around", () => {
    const book = new HostPortBook([taken("0.0.0.0", 9001)]);
    const next = () => book.candidates(request(9000, 9003, "0.0.0.0")).next().value;
    expect([next(), next(), next(), next()]).toEqual([9000, 9002, 9003, 9000]);
    expect(() => [...book.candidates(request(9001, 9002, "0.0.0.0"))]).toThrow("all ports are allocated");
    const first = new HostPortBook().candidates(request(0, 0, "0.0.0.0"), { first: 40000, last: 40009 })
      .next();
    expect(first.value).toBe(40000);
  });

  it("is shown as inspect's Ports", () => {
    const published: PublishedPort[] = ["0.0.0.0", "::"].map((hostAddress) => ({
      port: 80,
      protocol: "tcp",
      hostAddress,
      hostPort: 8080,
    }));
    expect(portsView([{ port: 80, protocol: "tcp" }, { port: 443, protocol: "tcp" }], published)).toEqual({
      "80/tcp": [{ HostIp: "0.0.0.0", HostPort: "8080" }, { HostIp: "::", HostPort: "8080" }],
      "443/tcp": null,
    });
  });
});
