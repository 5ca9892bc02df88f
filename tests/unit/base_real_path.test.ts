import { afterEach, beforeEach, expect, it } from "vitest";
import { realPath } from "../../base/real_path.ts";

let dir: string;
beforeEach(() => {
  dir = Deno.realPathSync(Deno.makeTempDirSync({ prefix: "berth-real-path-" }));
});
afterEach(() => Deno.removeSync(dir, { recursive: true }));

it("realPath() follows links as far as there is something", () => {
  Deno.mkdirSync(`${dir}/a/b`, { recursive: true });
  Deno.symlinkSync("a/b", `${dir}/link`);
  Deno.symlinkSync("nowhere", `${dir}/lost`);
  expect(realPath(`${dir}/link`)).toBe(`${dir}/a/b`);
  expect(realPath(`${dir}/link/c/d`)).toBe(`${dir}/a/b/c/d`);
  expect(realPath(`${dir}/lost/c`)).toBe(`${dir}/lost/c`);
  expect(realPath("/no-such-directory/c")).toBe("/no-such-directory/c");
  expect(realPath("/")).toBe("/");
  Deno.writeTextFileSync(`${dir}/file`, "");
  expect(realPath(`${dir}/file/c`)).toBe(`${dir}/file/c`);
});
