import { describe, expect, test } from "vitest";
import { expand, expandWord, expandWords } from "../../image/build/expand.ts";

const VARIABLES = new Map([
  ["PWD", "/home"],
  ["EMPTY", ""],
  ["WORDS", " a  b "],
  ["FILE", "dir/sub/name.tar.gz"],
  ["STARS", "a*b*c"],
  ["한국", "어"],
]);
const options = { escape: "\\" } as const;
const word = (text: string) => expandWord(text, VARIABLES, options);

describe("expandWord()", () => {
  test.each<[string, string]>([
    ["a", "a"],
    ["$PWD", "/home"],
    ["x${PWD}y$PWD.", "x/homey/home."],
    ["$NONE-${NONE}", "-"],
    ["$한국", "어"],
    // what is no variable
    ["$", "$"],
    ["a$.b$", "a$.b$"],
    ["$1x${12}$@$$$0", "x"],
    // quotes and escapes
    ["'$PWD'", "$PWD"],
    ['"$PWD\'s"', "/home's"],
    ["\\$PWD", "$PWD"],
    ["\\\\$PWD", "\\/home"],
    ['"\\$PWD \\n \\" \\\\"', '$PWD \\n " \\'],
    ["'a\\'", "a\\"],
    ["a\\ b\\", "a b"],
    ['""', ""],
    // modifiers
    ["${NONE:-w} ${NONE-w} ${EMPTY:-w} ${EMPTY-w} ${PWD:-w}", "w w w  /home"],
    ["${NONE:+w} ${NONE+w} ${EMPTY:+w} ${EMPTY+w} ${PWD:+w}", "   w w"],
    ["${PWD:?m}${PWD?m}${EMPTY?m}", "/home/home"],
    ["${NONE:-$PWD/${NONE:-'a b'}}", "/home/a b"],
    ["${NONE:-\\$PWD:}", "$PWD:"],
    ["${NONE:-a}}", "a}"],
    ["${FILE#*/}", "sub/name.tar.gz"],
    ["${FILE##*/}", "name.tar.gz"],
    ["${FILE%.*}", "dir/sub/name.tar"],
    ["${FILE%%.*}", "dir/sub/name"],
    ["${FILE#x}${FILE%x}", "dir/sub/name.tar.gzdir/sub/name.tar.gz"],
    ["${FILE#???}", "/sub/name.tar.gz"],
    ["${FILE%.$NONE*}", "dir/sub/name.tar"],
    ["${STARS#a\\*}", "b*c"],
    ["${NONE#a}", ""],
    ["${FILE/\\//:}", "dir:sub/name.tar.gz"],
    ["${FILE//\\//:}", "dir:sub:name.tar.gz"],
    ["${FILE/sub/$PWD}", "dir//home/name.tar.gz"],
    ["${FILE//[a-z]/x}", "dir/sub/name.tar.gz"],
    ["${FILE//a?/_}", "dir/sub/n_e.t_.gz"],
    ["${FILE/r*r/-}", "di-.gz"],
    ["${FILE//./}", "dir/sub/nametargz"],
  ])("of %j is %j", (text, expected) => expect(word(text)).toBe(expected));

  test.each<[string, string]>([
    ["'a", "unexpected end of statement while looking for matching single-quote"],
    ['"a', "unexpected end of statement while looking for matching double-quote"],
    ["${PWD", "unsupported modifier () in substitution"],
    ["${", "syntax error: missing '}'"],
    ["${}", "syntax error: bad substitution"],
    ["${:-a}", "syntax error: bad substitution"],
    ["${PWD:-a", "syntax error: missing '}'"],
    ["${PWD/a", "syntax error: missing '/' in ${}"],
    ["${PWD/a/b", "syntax error: missing '}'"],
    ["${PWD=a}", "unsupported modifier (=) in substitution"],
    ["${PWD:=a}", "unsupported modifier (:=) in substitution"],
    ["${PWD:#a}", "unsupported modifier (:#) in substitution"],
    ["${PWD!}", "unsupported modifier (!) in substitution"],
    ["${NONE?}", "NONE: is not allowed to be unset"],
    ["${EMPTY:?}", "EMPTY: is not allowed to be empty"],
    ["${NONE:?say $PWD}", "NONE: say /home"],
  ])("of %j is an error", (text, reason) => {
    expect(() => word(text)).toThrow(`failed to process ${JSON.stringify(text)}: ${reason}`);
  });

  test("a pattern with an odd escape is an error", () => {
    expect(() => word("${PWD#\\x}")).toThrow("invalid pattern (\\x) in substitution: invalid escape '\\x'");
  });

  test("the escape character is the Dockerfile's", () => {
    expect(expandWord("a`$PWD\\b", VARIABLES, { escape: "`" })).toBe("a$PWD\\b");
  });

  test("in heredocs quotes mean nothing", () => {
    expect(expandWord("\"$PWD\" 'it's' \\$x", VARIABLES, { ...options, ignoreQuotes: true }))
      .toBe("\"/home\" 'it's' $x");
  });

  test("for titles, quotes and what is not set stay", () => {
    const shown = { ...options, rawQuotes: true, skipUnset: true };
    expect(expandWord('"$PWD" $NONE ${NONE:-a} ${NONE/a/b}', VARIABLES, shown))
      .toBe('"/home" $NONE ${NONE:-a} ${NONE/a/b}');
  });
});

test.each<[string, readonly string[]]>([
  ["a b", ["a", "b"]],
  ["$WORDS", ["a", "b"]],
  ['"$WORDS"', [" a  b "]],
  ["x$WORDS", ["x", "a", "b"]],
  ["x$WORDS'y z'", ["x", "a", "b", "y z"]],
  ["$EMPTY", []],
  ["a\\ b", ["a b"]],
])("expandWords() of %j", (text, words) => expect(expandWords(text, VARIABLES, options)).toEqual(words));

test("expand() tells which variables were looked up", () => {
  const { matched, unmatched } = expand("$PWD ${NONE:-$EMPTY} '$X' $PWD", VARIABLES, options);
  expect([[...matched], [...unmatched]]).toEqual([["PWD", "EMPTY"], ["NONE"]]);
});

describe("bombs", () => {
  test("a result that grows beyond all use is an error", () => {
    const variables = new Map([["A", "x".repeat(100_000)]]);
    for (const text of ["$A".repeat(20), `"${"$A".repeat(20)}"`, "${A//x/" + "y".repeat(200) + "}"]) {
      expect(() => expandWord(text, variables, options)).toThrow("result is longer than 1048576 characters");
    }
  });

  test("nesting has an end", () => {
    const text = "${a:-".repeat(10_000) + "}".repeat(10_000);
    expect(() => expandWord(text, VARIABLES, options)).toThrow("substitutions are nested too deeply");
  });

  test("patterns take no longer than their length times the text's", () => {
    const variables = new Map([["A", "a".repeat(2_000)]]);
    expect(expandWord("${A#" + "*a".repeat(30) + "b}", variables, options)).toHaveLength(2_000);
    expect(() => expandWord("${A//" + "*a".repeat(30) + "b/x}", variables, options))
      .toThrow("pattern in substitution takes too long to match");
  });
});
