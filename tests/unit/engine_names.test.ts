import { describe, expect, it } from "vitest";
import { checkName, generateName, NAME_WORDS, newContainerId } from "../../engine/names.ts";

describe("newContainerId()", () => {
  it("makes 64 hexadecimal digits, different each time", () => {
    const ids = Array.from({ length: 100 }, () => newContainerId());
    for (const id of ids) expect(id).toMatch(/^[0-9a-f]{64}$/);
    expect(new Set(ids).size).toBe(100);
  });

  it("draws again when the first twelve digits are all decimal", () => {
    let draws = 0;
    const id = newContainerId((into) => into.fill(draws++ === 0 ? 0x12 : 0xab));
    expect(id).toBe("ab".repeat(32));
    expect(draws).toBe(2);
  });
});

describe("generateName()", () => {
  it("joins an adjective and a surname of its lists", () => {
    for (let i = 0; i < 200; i++) {
      const [adjective = "", surname = ""] = generateName(() => false).split("_");
      expect(NAME_WORDS.adjectives).toContain(adjective);
      expect(NAME_WORDS.surnames).toContain(surname);
    }
  });

  it("appends digits when plain names are taken", () => {
    expect(generateName((name) => !/\d$/.test(name))).toMatch(/^[a-z]+_[a-z]+\d+$/);
  });

  it("never answers a name that is taken", () => {
    const taken = new Set<string>();
    for (let i = 0; i < 3000; i++) {
      const name = generateName((n) => taken.has(n));
      expect(taken.has(name)).toBe(false);
      taken.add(name);
    }
  });

  it("has enough plain words, none twice, and never calls Wozniak boring", () => {
    const { adjectives, surnames } = NAME_WORDS;
    expect(adjectives.length).toBeGreaterThanOrEqual(90);
    expect(surnames.length).toBeGreaterThanOrEqual(120);
    expect(new Set(adjectives).size).toBe(adjectives.length);
    expect(new Set(surnames).size).toBe(surnames.length);
    for (const word of [...adjectives, ...surnames]) expect(word).toMatch(/^[a-z]+$/);
    expect(adjectives).not.toContain("boring");
  });
});

describe("checkName()", () => {
  it.each([["web", "web"], ["/web", "web"], ["a-b_c.9", "a-b_c.9"]])("accepts %s as %s", (given, name) => {
    expect(checkName(given)).toBe(name);
  });

  it.each(["a", "-a", "a b", "ü1", "a/b", "//ab", "ab\n", ""])("refuses %j in Docker's words", (name) => {
    expect(() => checkName(name)).toThrow(
      `Invalid container name (${name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed`,
    );
  });
});
