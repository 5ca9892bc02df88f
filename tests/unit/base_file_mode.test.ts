import { expect, test } from "vitest";
import { parseModeChange } from "../../base/file_mode.ts";

test.each([
  ["755", 0o600, false, 0o755],
  ["0644", 0o777, true, 0o644],
  ["4755", 0o600, false, 0o4755],
  ["u=rwX,go=rX", 0o600, false, 0o644],
  ["u=rwX,go=rX", 0o700, false, 0o755],
  ["u=rwX,go=rX", 0o600, true, 0o755],
  ["+x", 0o644, false, 0o755],
  ["a-w", 0o666, false, 0o444],
  ["go=", 0o777, false, 0o700],
  ["g=u", 0o640, false, 0o660],
  ["o=g-w", 0o660, false, 0o664],
  ["u+s", 0o755, false, 0o4755],
  ["g+s,+t", 0o755, true, 0o3755],
  ["g=rx", 0o2775, true, 0o2755],
  ["ug+rw,o-rwx", 0o407, false, 0o660],
])("parseModeChange(%j) makes of %o (directory: %j) %o", (text, mode, isDirectory, expected) => {
  expect(parseModeChange(text)(mode, isDirectory).toString(8)).toBe(expected.toString(8));
});

test.each(["", "888", "77777", "u", "u=q", "x+r", "u=rw;", "-1"])(
  "parseModeChange(%j) refuses it",
  (text) => {
    expect(() => parseModeChange(text)).toThrow(`invalid chmod parameter: '${text}'`);
  },
);
