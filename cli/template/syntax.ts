/** The tree of a parsed template: the part of Go's text/template that `--format` needs. */

export type Node =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "action"; readonly pipe: Pipe }
  | { readonly kind: "if" | "with"; readonly pipe: Pipe; readonly then: Node[]; readonly otherwise: Node[] }
  | { readonly kind: "range"; readonly pipe: Pipe; readonly then: Node[]; readonly otherwise: Node[] }
  | { readonly kind: "break" | "continue" };

/** `$a, $b := cmd | cmd`. */
export interface Pipe {
  readonly variables: readonly string[];
  /** `=` instead of `:=`: the variable exists already. */
  readonly assigns: boolean;
  readonly commands: readonly Operand[][];
}

export type Operand =
  | { readonly kind: "dot" }
  | { readonly kind: "nil" }
  | { readonly kind: "literal"; readonly value: string | number | boolean }
  | { readonly kind: "field"; readonly names: readonly string[]; readonly at: Place }
  | {
    readonly kind: "variable";
    readonly name: string;
    readonly names: readonly string[];
    readonly at: Place;
  }
  | { readonly kind: "function"; readonly name: string; readonly at: Place }
  | { readonly kind: "pipe"; readonly pipe: Pipe; readonly names: readonly string[]; readonly at: Place };

/** Where something stands, for messages. */
export interface Place {
  readonly line: number;
  readonly column: number;
  readonly text: string;
}

/** A template that cannot be parsed or executed. */
export class TemplateError extends Error {
  override readonly name = "TemplateError";
}
