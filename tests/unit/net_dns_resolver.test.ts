import { beforeEach, describe, expect, it } from "vitest";
import { CLASS_IN, type OwnRecord, TYPE } from "../../net/dns/message.ts";
import { readName } from "../../net/dns/name.ts";
import { linkTable, resolveLocally, reverseAddress, type View } from "../../net/dns/resolver.ts";
import { Zone } from "../../net/dns/zone.ts";

const v4 = (last: number, third = 0) => new Uint8Array([172, 18, third, last]);
const v6 = (last: number) => new Uint8Array([0xfd, ...new Array<number>(14).fill(0), last]);

let x1: Zone;
let x2: Zone;
let view: View;
beforeEach(() => {
  x1 = new Zone("x1");
  x1.set({ id: "e1", names: ["c1", "0123456789ab", "Web"], addresses: [v4(2), v6(2)] });
  x1.set({ id: "e2", names: ["c2", "web"], addresses: [v4(3)] });
  x1.set({
    id: "e3",
    names: ["db.prod"],
    addresses: [v4(4)],
    services: [{ name: "psql", protocol: "tcp", port: 5432 }],
  });
  x2 = new Zone("my.net");
  x2.set({ id: "e4", names: ["c4", "c1"], addresses: [v4(2, 9)] });
  view = { networks: [{ zone: x1 }, { zone: x2, links: linkTable([["Cache", "c4"]]) }], upstreams: [] };
});

const ask = (name: string, type: number = TYPE.A, cls: number = CLASS_IN) =>
  resolveLocally(view, { name, type, class: cls });
const show = ({ data, type }: OwnRecord): string =>
  type === TYPE.PTR
    ? readName(data, 0).name
    : type === TYPE.SRV
    ? `${data[4]! * 256 + data[5]!} ${readName(data, 6).name}` // seven bytes at least
    : data.join(".");
const answers = (name: string, type: number = TYPE.A): string[] | undefined =>
  ask(name, type)?.answers.map(show).sort();

describe("resolveLocally()", () => {
  it("knows names, ids and aliases of all networks, the first of them first", () => {
    expect(answers("c1")).toEqual(["172.18.0.2"]);
    expect(answers("0123456789ab")).toEqual(["172.18.0.2"]);
    expect(answers("c4")).toEqual(["172.18.9.2"]);
    expect(ask("c1")?.answers[0]).toMatchObject({ ttl: 600, type: TYPE.A });
  });

  it("takes a network's name behind a container's, dots in both", () => {
    expect(answers("c1.x1")).toEqual(["172.18.0.2"]);
    expect(answers("c1.my.net")).toEqual(["172.18.9.2"]);
    expect(answers("db.prod")).toEqual(["172.18.0.4"]);
    expect(answers("db.prod.x1")).toEqual(["172.18.0.4"]);
    expect(answers("db.prod.my.net")).toBeUndefined();
    expect(answers("c2.my.net")).toBeUndefined();
  });

  it("answers a known name without records of the asked type by an empty answer", () => {
    expect(answers("c2", TYPE.AAAA)).toEqual([]);
    expect(answers("c1", TYPE.AAAA)).toEqual([v6(2).join(".")]);
    expect(answers("c1", TYPE.TXT)).toEqual([]);
    expect(answers("c1", 65)).toEqual([]);
    expect(answers("c3")).toBeUndefined();
    expect(ask("c1", TYPE.A, 3)).toBeUndefined();
  });

  it("looks for the other family in the next network", () => {
    x2.set({ id: "e5", names: ["c2"], addresses: [v6(7)] });
    expect(answers("c2", TYPE.AAAA)).toEqual([v6(7).join(".")]);
  });

  it("gives a shared alias to all, each of them first in turn", () => {
    const first = new Set<string>();
    for (let round = 0; round < 200; round++) {
      const found = ask("web")?.answers.map(show) ?? [];
      expect([...found].sort()).toEqual(["172.18.0.2", "172.18.0.3"]);
      first.add(found[0] ?? "");
    }
    expect(first.size).toBe(2);
    x1.delete("e1");
    expect(answers("web")).toEqual(["172.18.0.3"]);
  });

  it("knows links of this container only", () => {
    expect(answers("cache")).toEqual(["172.18.9.2"]);
    expect(resolveLocally({ networks: [{ zone: x2 }], upstreams: [] }, { name: "cache", type: 1, class: 1 }))
      .toBeUndefined();
  });

  it("replaces an endpoint whose names have changed", () => {
    x1.set({ id: "e2", names: ["renamed"], addresses: [v4(8)] });
    expect(answers("c2")).toBeUndefined();
    expect(answers("renamed")).toEqual(["172.18.0.8"]);
    expect(answers("3.0.18.172.in-addr.arpa", TYPE.PTR)).toBeUndefined();
  });

  it("leads from addresses back to name and network", () => {
    expect(answers("2.0.18.172.in-addr.arpa", TYPE.PTR)).toEqual(["c1.x1"]);
    expect(answers("2.9.18.172.in-addr.arpa", TYPE.PTR)).toEqual(["c4.my.net"]);
    const nibbles = `2.${"0.".repeat(29)}d.f.ip6.arpa`;
    expect(answers(nibbles, TYPE.PTR)).toEqual(["c1.x1"]);
    expect(answers("9.0.18.172.in-addr.arpa", TYPE.PTR)).toBeUndefined();
    expect(reverseAddress("256.0.0.1.in-addr.arpa")).toBeUndefined();
    expect(reverseAddress("1.in-addr.arpa")).toBeUndefined();
  });

  it("finds services, with the addresses beside them", () => {
    const found = ask("_psql._tcp.db.prod", TYPE.SRV);
    expect(found?.answers.map(show)).toEqual(["5432 db.prod"]);
    expect(found?.additional).toMatchObject([{ name: "db.prod", type: TYPE.A }]);
    expect(answers("_http._tcp.db.prod", TYPE.SRV)).toEqual([]);
    expect(answers("_http._tcp.elsewhere", TYPE.SRV)).toBeUndefined();
  });

  it("keeps unknown names without a dot to itself only when ndots is set", () => {
    expect(ask("nowhere")).toBeUndefined();
    view = { ...view, ndotsSet: true };
    expect(answers("nowhere")).toEqual([]);
    expect(ask("nowhere.example")).toBeUndefined();
    expect(ask("nowhere", TYPE.TXT)).toBeUndefined();
    expect(ask("")).toBeUndefined();
  });
});
