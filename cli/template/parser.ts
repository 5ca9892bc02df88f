/** Builds the tree of a template from its tokens. */

import { FUNCTIONS } from "./functions.ts";
import { type Token, tokenize } from "./lexer.ts";
import { type Node, type Operand, type Pipe, type Place, TemplateError } from "./syntax.ts";

/** Functions that do not evaluate all of their arguments: execute.ts has them. */
const LAZY = ["and", "or"];

/** Parses a template; `name` stands in errors. Throws `TemplateError` in the wording of text/template. */
export function parseTemplate(source: string, name: string): Node[] {
  const parser = new Parser(source, name);
  const { nodes, end } = parser.nodes(0);
  if (end !== undefined) throw parser.error(`unexpected {{${end}}}`);
  return nodes;
}

type End = "end" | "else" | undefined;

class Parser {
  readonly #source: string;
  readonly #name: string;
  readonly #tokens: Token[];
  #next = 0;

  constructor(source: string, name: string) {
    this.#source = source;
    this.#name = name;
    try {
      this.#tokens = tokenize(source);
    } catch (error) {
      throw this.error(error instanceof Error ? error.message : String(error));
    }
  }

  error(message: string): TemplateError {
    const place = this.#place(this.#tokens?.[Math.max(0, this.#next - 1)]?.at ?? 0, "");
    return new TemplateError(`template: ${this.#name}:${place.line}: ${message}`);
  }

  /** Nodes up to `{{end}}`, `{{else}}` or the template's end. */
  nodes(depth: number): { nodes: Node[]; end: End } {
    const nodes: Node[] = [];
    for (let token = this.#take(); token !== undefined; token = this.#take()) {
      if (token.kind === "text") {
        nodes.push({ kind: "text", text: token.text });
        continue;
      }
      this.#blanks();
      const word = this.#peek()?.kind === "word" ? this.#peek()?.text : undefined;
      if (word === "end" || word === "else") {
        if (depth === 0) throw this.error(`unexpected {{${word}}}`);
        this.#take();
        return { nodes, end: word };
      }
      nodes.push(this.#statement(word, depth));
    }
    if (depth > 0) throw this.error("unexpected EOF");
    return { nodes, end: undefined };
  }

  #statement(word: string | undefined, depth: number): Node {
    switch (word) {
      case "if":
      case "with":
      case "range":
        this.#take();
        return this.#block(word, depth);
      case "break":
      case "continue":
        this.#take();
        this.#close();
        return { kind: word };
      case "define":
      case "template":
      case "block":
        throw this.error(`{{${word}}} is not supported`);
      default: {
        const pipe = this.#pipe();
        this.#close();
        return { kind: "action", pipe };
      }
    }
  }

  #block(kind: "if" | "with" | "range", depth: number): Node {
    const pipe = this.#pipe();
    this.#close();
    const then = this.nodes(depth + 1);
    let otherwise: Node[] = [];
    if (then.end === "else") {
      this.#blanks();
      const again = this.#peek();
      if (again?.kind === "word" && (again.text === "if" || again.text === "with")) {
        // {{else if}} shares the {{end}} of the block that it belongs to.
        this.#take();
        otherwise = [this.#block(again.text, depth)];
        return { kind, pipe, then: then.nodes, otherwise };
      }
      this.#close();
      const rest = this.nodes(depth + 1);
      if (rest.end !== "end") throw this.error("expected end; found {{else}}");
      otherwise = rest.nodes;
    }
    this.#close();
    return { kind, pipe, then: then.nodes, otherwise };
  }

  #pipe(): Pipe {
    const { variables, assigns } = this.#declaration();
    const commands: Operand[][] = [];
    for (;;) {
      const command = this.#command();
      if (command.length === 0) {
        throw this.error(commands.length === 0 ? "missing value for command" : "missing value after |");
      }
      commands.push(command);
      if (this.#peek()?.text !== "|") break;
      this.#take();
    }
    return { variables, assigns, commands };
  }

  #declaration(): { variables: string[]; assigns: boolean } {
    const start = this.#next;
    const variables: string[] = [];
    for (;;) {
      this.#blanks();
      const token = this.#take();
      if (token?.kind !== "variable") break;
      variables.push(token.text);
      this.#blanks();
      const symbol = this.#take()?.text;
      if (symbol === ",") continue;
      if (symbol === ":=" || symbol === "=") return { variables, assigns: symbol === "=" };
      break;
    }
    this.#next = start;
    return { variables: [], assigns: false };
  }

  #command(): Operand[] {
    const operands: Operand[] = [];
    for (;;) {
      this.#blanks();
      const token = this.#peek();
      if (token === undefined || token.kind === "close" || token.text === "|" || token.text === ")") {
        return operands;
      }
      operands.push(this.#operand());
    }
  }

  #operand(): Operand {
    const token = this.#take();
    if (token === undefined) throw this.error("unexpected EOF");
    switch (token.kind) {
      case "string":
        return { kind: "literal", value: unquote(token.text) };
      case "number":
        return { kind: "literal", value: token.text.startsWith("'") ? rune(token.text) : Number(token.text) };
      case "field": {
        const names = [token.text.slice(1), ...this.#fields()];
        // Go says of a chain where its second field stands.
        const at = token.at + (names.length > 1 ? token.text.length : 0);
        return { kind: "field", names, at: this.#place(at, `.${names.join(".")}`) };
      }
      case "variable": {
        const names = this.#fields();
        const at = token.at + (names.length > 0 ? token.text.length : 0);
        return {
          kind: "variable",
          name: token.text,
          names,
          at: this.#place(at, [token.text, ...names].join(".")),
        };
      }
      case "word":
        if (token.text === "true" || token.text === "false") {
          return { kind: "literal", value: token.text === "true" };
        }
        if (token.text === "nil") return { kind: "nil" };
        if (!Object.hasOwn(FUNCTIONS, token.text) && !LAZY.includes(token.text)) {
          throw this.error(`function ${JSON.stringify(token.text)} not defined`);
        }
        return { kind: "function", name: token.text, at: this.#place(token.at, token.text) };
      case "symbol":
        if (token.text === ".") return { kind: "dot" };
        if (token.text === "(") {
          const pipe = this.#pipe();
          if (this.#take()?.text !== ")") throw this.error("unclosed left paren");
          return { kind: "pipe", pipe, names: this.#fields(), at: this.#place(token.at, "(...)") };
        }
        break;
      default:
    }
    throw this.error(`unexpected ${JSON.stringify(token.text)} in operand`);
  }

  /** Fields that follow directly, without a blank: `$x.A.B`. */
  #fields(): string[] {
    const names: string[] = [];
    while (this.#peek()?.kind === "field") names.push(this.#take()?.text.slice(1) ?? "");
    return names;
  }

  #close(): void {
    this.#blanks();
    const token = this.#take();
    if (token?.kind !== "close") {
      throw this.error(`unexpected ${JSON.stringify(token?.text ?? "EOF")} in command`);
    }
  }

  #blanks(): void {
    while (this.#peek()?.kind === "blank") this.#next++;
  }

  #peek(): Token | undefined {
    return this.#tokens[this.#next];
  }

  #take(): Token | undefined {
    return this.#tokens[this.#next++];
  }

  #place(offset: number, text: string): Place {
    const before = this.#source.slice(0, offset);
    const line = before.split("\n").length;
    return { line, column: offset - (before.lastIndexOf("\n") + 1), text };
  }
}

const ESCAPES: Readonly<Record<string, string>> = {
  n: "\n",
  t: "\t",
  r: "\r",
  a: "\x07",
  b: "\b",
  f: "\f",
  v: "\v",
  "0": "\0",
};

function unquote(text: string): string {
  const inner = text.slice(1, -1);
  if (text.startsWith("`")) return inner;
  return inner.replace(
    /\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))/g,
    (_all, x?: string, u?: string, U?: string, other?: string) => {
      const hex = x ?? u ?? U;
      if (hex !== undefined) return String.fromCodePoint(parseInt(hex, 16));
      return ESCAPES[other ?? ""] ?? other ?? "";
    },
  );
}

const rune = (text: string): number => unquote(text).codePointAt(0) ?? 0;
