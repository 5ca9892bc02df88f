import { invalid } from "../../base/errors.ts";
import { DockerfileError } from "./errors.ts";
import { type LintRule, type RuleName, RULES } from "./lint_rules.ts";
import type { LintWarning, SourceRange } from "./types.ts";

const PAGES = "https://docs.docker.com/go/dockerfile/rule/";

/** Nobody reads more, and a stranger's file may have any number. */
const MAX_WARNINGS = 1000;

/** `# check=skip=A,B;error=true;experimental=all` */
interface LintOptions {
  readonly skip: readonly string[] | "all";
  readonly experimental: readonly string[] | "all";
  /** Warnings fail the build. */
  readonly error: boolean;
}

/** @throws {EngineError} invalid, in BuildKit's words. */
function parseOptions(text: string): LintOptions {
  const options: { -readonly [K in keyof LintOptions]: LintOptions[K] } = {
    skip: [],
    experimental: [],
    error: false,
  };
  if (text.trim() === "") return options;
  const names = (value: string) => value === "all" ? value : value.split(",").map((name) => name.trim());
  for (const part of text.trim().split(";")) {
    const equals = part.indexOf("=");
    if (equals < 0) {
      throw invalid(`failed to parse check options: invalid check option ${JSON.stringify(part)}`);
    }
    const key = part.slice(0, equals).trim();
    const value = part.slice(equals + 1).trim();
    if (key === "skip" || key === "experimental") options[key] = names(value);
    else if (key !== "error") {
      throw invalid(`failed to parse check options: invalid check option ${JSON.stringify(key)}`);
    } else if (/^(1|t|T|true|TRUE|True)$/.test(value)) options.error = true;
    else if (!/^(0|f|F|false|FALSE|False)$/.test(value)) {
      throw invalid(
        `failed to parse check options: failed to parse check option ${JSON.stringify(part)}: ` +
          `strconv.ParseBool: parsing ${JSON.stringify(value)}: invalid syntax`,
      );
    }
  }
  return options;
}

/** Collects what Docker's build checks find in one build. */
export class Lint {
  readonly #options: LintOptions;
  readonly #emit: (warning: LintWarning) => void;
  readonly #found = new Set<string>();
  readonly #seen = new Set<string>();

  /**
   * @param check value of the directive `# check=`, or of the build argument BUILDKIT_DOCKERFILE_CHECK, which counts instead.
   * @param emit is called for each warning, once.
   * @throws {EngineError} invalid
   */
  constructor(check: string | undefined, emit: (warning: LintWarning) => void) {
    this.#options = parseOptions(check ?? "");
    this.#emit = emit;
  }

  /** Further warnings are not told: the work for them can be saved. */
  get isFull(): boolean {
    return this.#seen.size >= MAX_WARNINGS;
  }

  warn(rule: RuleName, message: string, range: SourceRange): void {
    const { description, page, experimental }: Omit<LintRule, "name"> = RULES[rule];
    const { skip, experimental: wanted } = this.#options;
    const isOff = experimental
      ? wanted !== "all" && !wanted.includes(rule)
      : skip === "all" || skip.includes(rule);
    if (isOff) return;
    this.#found.add(rule);
    const key = `${rule} ${range.startLine} ${message}`;
    if (this.#seen.has(key) || this.isFull) return;
    this.#seen.add(key);
    this.#emit({ rule, description, url: page === "" ? "" : `${PAGES}${page}/`, message, range });
  }

  /** @throws {DockerfileError} when the Dockerfile wants warnings to be errors, and there were some. */
  finish(): void {
    if (!this.#options.error || this.#found.size === 0) return;
    throw new DockerfileError(`lint violation found for rules: ${[...this.#found].join(", ")}`);
  }
}
