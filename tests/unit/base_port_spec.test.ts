import { describe, expect, it } from "vitest";
import { parseContainerPort, parsePortSpec, parsePortSpecs } from "../../base/port_spec.ts";

describe("parsePortSpec()", () => {
  const lines = (spec: string) =>
    parsePortSpec(spec).map(({ port, binding }) =>
      `${port} ${binding.HostIp || "-"} ${binding.HostPort || "-"}`
    );

  it.each([
    ["80", ["80/tcp - -"]],
    ["8080:80", ["80/tcp - 8080"]],
    ["8080:80/udp", ["80/udp - 8080"]],
    ["8080:80/TCP", ["80/tcp - 8080"]],
    ["127.0.0.1:8080:80", ["80/tcp 127.0.0.1 8080"]],
    ["127.0.0.1::80", ["80/tcp 127.0.0.1 -"]],
    ["[::1]:8080:80", ["80/tcp ::1 8080"]],
    ["::1:8080:80", ["80/tcp ::1 8080"]],
    [":80", ["80/tcp - -"]],
    ["0:80", ["80/tcp - 0"]],
    ["3000-3002", ["3000/tcp - -", "3001/tcp - -", "3002/tcp - -"]],
    ["8000-8001:80-81/udp", ["80/udp - 8000", "81/udp - 8001"]],
    ["8000-8010:80", ["80/tcp - 8000-8010"]],
    ["0.0.0.0:8000-8010:80/udp", ["80/udp 0.0.0.0 8000-8010"]],
  ])("reads -p %s", (spec, expected) => expect(lines(spec)).toEqual(expected));

  it.each([
    ["localhost:80:80", "invalid IP address: localhost"],
    ["8080:", "no port specified: 8080:<empty>"],
    ["", "no port specified: <empty>"],
    ["8080:80x", "invalid containerPort: 80x"],
    ["x:80", "invalid hostPort: x"],
    ["65536:80", "invalid hostPort: 65536"],
    ["80:81-80", "invalid containerPort: 81-80"],
    ["9000-9001:80-90", "invalid ranges specified for container and host Ports: 80-90 and 9000-9001"],
    ["80:80/icmp", "invalid proto: icmp"],
    ["1.2.3.256:80:80", "invalid IP address: 1.2.3.256"],
  ])("refuses -p %s", (spec, message) => {
    expect(() => parsePortSpec(spec)).toThrow(expect.objectContaining({ kind: "invalid", message }));
  });

  it("collects several for one port", () => {
    expect(parsePortSpecs(["80:80", "81:80", "53:53/udp"])).toEqual({
      exposed: ["80/tcp", "53/udp"],
      bindings: {
        "80/tcp": [{ HostIp: "", HostPort: "80" }, { HostIp: "", HostPort: "81" }],
        "53/udp": [{ HostIp: "", HostPort: "53" }],
      },
    });
  });
});

describe("parseContainerPort()", () => {
  it("knows the protocols, and tcp without one", () => {
    expect(parseContainerPort("80")).toEqual({ port: 80, protocol: "tcp" });
    expect(parseContainerPort("53/UDP")).toEqual({ port: 53, protocol: "udp" });
    expect(() => parseContainerPort("80/xyz")).toThrow("invalid proto: xyz");
  });
});
