/** What `--change` makes of a configuration: as the same lines in a Dockerfile do, in moby's BuildFromConfig. */
import { describe, expect, it } from "vitest";
import { changedConfig } from "../../image/build/changed_config.ts";

const BASE = {
  Env: ["PATH=/bin", "HOME=/root"],
  Cmd: ["sh"],
  Entrypoint: ["/init"],
  WorkingDir: "/srv",
  Labels: { a: "b" },
  OnBuild: ["RUN first"],
  Shell: ["/bin/bash", "-c"],
  ArgsEscaped: true,
};

describe("changedConfig()", () => {
  it("replaces variables by those of the configuration and of the changes before", () => {
    expect(changedConfig(BASE, ["ENV PATH=$PATH:/opt/bin DIR=/data", "WORKDIR $DIR", "USER ${WHO:-app}"]))
      .toEqual({
        ...BASE,
        Env: ["PATH=/bin:/opt/bin", "HOME=/root", "DIR=/data"],
        WorkingDir: "/data",
        User: "app",
      });
    // nothing that the configuration does not have
    expect(changedConfig({}, ["ENV PATH=$PATH:/opt"]).Env).toEqual(["PATH=:/opt"]);
  });

  it("takes the base's command away with its program, and never that of the changes", () => {
    expect(changedConfig(BASE, ['ENTRYPOINT ["/top"]'])).toMatchObject({ Entrypoint: ["/top"], Cmd: null });
    for (const changes of [['CMD ["x"]', 'ENTRYPOINT ["/top"]'], ['ENTRYPOINT ["/top"]', 'CMD ["x"]']]) {
      expect(changedConfig(BASE, changes)).toMatchObject({ Entrypoint: ["/top"], Cmd: ["x"] });
    }
  });

  it("uses the configuration's shell, and leaves BuildKit's mark out", () => {
    const changed = changedConfig(BASE, ["CMD echo $HOME"]);
    expect(changed).toMatchObject({ Cmd: ["/bin/bash", "-c", "echo $HOME"], Shell: BASE.Shell });
    expect(changed).not.toHaveProperty("ArgsEscaped");
    expect(changedConfig(BASE, ["USER x"])).toHaveProperty("ArgsEscaped", true);
  });

  it("adds to triggers, labels, ports and volumes", () => {
    const changes = ["ONBUILD RUN second", "LABEL c=d", "EXPOSE 80-81 53/udp", 'VOLUME ["/v w"]'];
    expect(changedConfig(BASE, changes)).toEqual({
      ...BASE,
      OnBuild: ["RUN first", "RUN second"],
      Labels: { a: "b", c: "d" },
      ExposedPorts: { "53/udp": {}, "80/tcp": {}, "81/tcp": {} },
      Volumes: { "/v w": {} },
    });
  });

  it("takes lines that are continued, comments, and several in one text", () => {
    expect(changedConfig({}, ["# for later\nENV A=1 \\\n  B=2\nUSER x"])).toEqual({
      Env: ["A=1", "B=2"],
      User: "x",
    });
  });

  it.each([
    ["RUN x", "RUN is not a valid change command"],
    ["from busybox", "from is not a valid change command"],
    ['SHELL ["x"]', "SHELL is not a valid change command"],
    ["CMD", "CMD requires at least one argument"],
    ["STOPSIGNAL NOPE", "invalid signal: NOPE"],
    ["HEALTHCHECK --interval=1us CMD x", 'Interval "interval" cannot be less than 1ms'],
    ["ENV A=${B?missing}", 'failed to process "${B?missing}": B: missing'],
  ])("refuses %j", (change, message) => {
    expect(() => changedConfig(BASE, [change])).toThrow(
      expect.objectContaining({ kind: "invalid", message }),
    );
  });
});
