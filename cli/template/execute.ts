/** Runs a parsed template. */

import { FUNCTIONS } from "./functions.ts";
import { parseTemplate } from "./parser.ts";
import { type Node, type Operand, type Pipe, type Place, TemplateError } from "./syntax.ts";
import { GoNil, goString, isMap, isObject, isTrue, structType, type Value } from "./values.ts";

/** A template, parsed once. */
export class Template {
  readonly #nodes: Node[];
  readonly #name: string;

  /** @param name stands in errors. Throws `TemplateError` when `source` cannot be parsed. */
  constructor(source: string, name = "") {
    this.#nodes = parseTemplate(source, name);
    this.#name = name;
  }

  /** Text for `data`. Throws `TemplateError` for a field that does not exist, and for functions that fail. */
  render(data: Value): string {
    const run = new Execution(data, this.#name);
    run.walk(this.#nodes, data);
    return run.output;
  }
}

/** Leaves the innermost range. */
class LoopExit extends Error {
  readonly how: "break" | "continue";

  constructor(how: "break" | "continue") {
    super(how);
    this.how = how;
  }
}

class Execution {
  output = "";
  readonly #name: string;
  readonly #variables: { name: string; value: Value }[];

  constructor(data: Value, name: string) {
    this.#name = name;
    this.#variables = [{ name: "$", value: data }];
  }

  walk(nodes: readonly Node[], dot: Value): void {
    for (const node of nodes) this.#node(node, dot);
  }

  #node(node: Node, dot: Value): void {
    switch (node.kind) {
      case "text":
        this.output += node.text;
        return;
      case "action": {
        const value = this.#pipe(node.pipe, dot);
        if (node.pipe.variables.length === 0) {
          this.output += goString(value, value === null ? "<nil>" : "<no value>");
        }
        return;
      }
      case "if":
      case "with":
        return this.#scoped(() => {
          const value = this.#pipe(node.pipe, dot);
          if (isTrue(value)) this.walk(node.then, node.kind === "with" ? value : dot);
          else this.walk(node.otherwise, dot);
        });
      case "range":
        return this.#scoped(() => this.#range(node, dot));
      case "break":
      case "continue":
        throw new LoopExit(node.kind);
    }
  }

  #range(node: Node & { kind: "range" }, dot: Value): void {
    const items = entries(this.#pipe({ ...node.pipe, variables: [] }, dot));
    if (items.length === 0) return this.walk(node.otherwise, dot);
    const { variables } = node.pipe;
    for (const [key, item] of items) {
      const leave = this.#scoped(() => {
        if (variables.length === 1) this.#variables.push({ name: variables[0] ?? "", value: item });
        if (variables.length === 2) {
          this.#variables.push({ name: variables[0] ?? "", value: key }, {
            name: variables[1] ?? "",
            value: item,
          });
        }
        try {
          this.walk(node.then, item);
        } catch (error) {
          if (!(error instanceof LoopExit)) throw error;
          return error.how === "break";
        }
        return false;
      });
      if (leave) return;
    }
  }

  /** Variables declared within are gone afterwards. */
  #scoped<T>(body: () => T): T {
    const depth = this.#variables.length;
    try {
      return body();
    } finally {
      this.#variables.length = depth;
    }
  }

  #pipe(pipe: Pipe, dot: Value): Value {
    let value: Value;
    pipe.commands.forEach((command, i) => {
      value = this.#command(command, dot, i === 0 ? [] : [value]);
    });
    const name = pipe.variables[0];
    if (name !== undefined) {
      if (pipe.assigns) this.#variable(name, 1).value = value;
      else this.#variables.push({ name, value });
    }
    return value;
  }

  #command(operands: readonly Operand[], dot: Value, piped: readonly Value[]): Value {
    const [first, ...rest] = operands;
    if (first === undefined) return undefined;
    if (first.kind === "function") return this.#call(first, rest, dot, piped);
    const value = this.#operand(first, dot);
    if (typeof value === "function") {
      const args = [...rest.map((operand) => this.#value(operand, dot)), ...piped];
      if (args.length !== value.length && "at" in first) {
        const method = "names" in first ? first.names.at(-1) : undefined;
        throw this.#failure(
          first.at,
          `wrong number of args for ${method}: want ${value.length} got ${args.length}`,
        );
      }
      return value(...args);
    }
    if (rest.length > 0 || piped.length > 0) {
      throw new TemplateError(
        `can't give argument to non-function ${"at" in first ? first.at.text : "value"}`,
      );
    }
    return value;
  }

  #call(
    fn: Operand & { kind: "function" },
    rest: readonly Operand[],
    dot: Value,
    piped: readonly Value[],
  ): Value {
    if (fn.name === "and" || fn.name === "or") {
      let value: Value;
      for (
        const next of [
          ...rest.map((operand) => () => this.#value(operand, dot)),
          ...piped.map((v) => () => v),
        ]
      ) {
        value = next();
        if (isTrue(value) === (fn.name === "or")) break;
      }
      return value;
    }
    const body = Object.hasOwn(FUNCTIONS, fn.name) ? FUNCTIONS[fn.name] : undefined;
    if (body === undefined) {
      throw this.#failure(fn.at, `${JSON.stringify(fn.name)} is not a defined function`);
    }
    const args = [...rest.map((operand) => this.#value(operand, dot)), ...piped];
    try {
      return body(...args);
    } catch (error) {
      throw error instanceof TemplateError ? this.#failure(fn.at, error.message) : error;
    }
  }

  /** An operand as an argument: a method without arguments is called. */
  #value(operand: Operand, dot: Value): Value {
    if (operand.kind === "function") return this.#call(operand, [], dot, []);
    const value = this.#operand(operand, dot);
    return typeof value === "function" ? value() : value;
  }

  #operand(operand: Operand, dot: Value): Value {
    switch (operand.kind) {
      case "dot":
        return dot;
      case "nil":
        return null;
      case "literal":
        return operand.value;
      case "field":
        return this.#fields(dot, operand.names, operand.at);
      case "variable":
        return this.#fields(this.#variable(operand.name, operand.at.line).value, operand.names, operand.at);
      case "pipe":
        return this.#fields(this.#scoped(() => this.#pipe(operand.pipe, dot)), operand.names, operand.at);
      case "function":
        return this.#call(operand, [], dot, []);
    }
  }

  #fields(from: Value, names: readonly string[], at: Place): Value {
    let value = from;
    for (const name of names) {
      if (typeof value === "function") value = value();
      value = this.#field(value, name, at);
    }
    return value;
  }

  #variable(name: string, line: number): { name: string; value: Value } {
    const found = this.#variables.findLast((variable) => variable.name === name);
    if (found === undefined) {
      throw new TemplateError(`template: ${this.#name}:${line}: undefined variable ${JSON.stringify(name)}`);
    }
    return found;
  }

  #field(value: Value, name: string, at: Place): Value {
    if (isObject(value)) {
      if (Object.hasOwn(value, name)) return value[name];
      if (isMap(value)) return undefined;
      const type = structType(value);
      throw this.#failure(
        at,
        type === undefined
          ? `map has no entry for key ${JSON.stringify(name)}`
          : `can't evaluate field ${name} in type ${type}`,
      );
    }
    if (value === null || value === undefined) {
      throw this.#failure(at, `nil data; no entry for key ${JSON.stringify(name)}`);
    }
    if (value instanceof GoNil) return undefined;
    const type = Array.isArray(value) ? "[]interface {}" : typeof value;
    throw this.#failure(at, `can't evaluate field ${name} in type ${type}`);
  }

  #failure(at: Place, message: string): TemplateError {
    return new TemplateError(
      `template: ${this.#name}:${at.line}:${at.column}: executing ${
        JSON.stringify(this.#name)
      } at <${at.text}>: ${message}`,
    );
  }
}

/** What a range walks over, with its keys; maps in the order of their keys. */
function entries(value: Value): [Value, Value][] {
  if (Array.isArray(value)) return value.map((item, i) => [i, item]);
  if (typeof value === "number") return Array.from({ length: value }, (_, i) => [i, i]);
  if (isObject(value)) return Object.keys(value).sort().map((key) => [key, value[key]]);
  if (value === null || value === undefined || value instanceof GoNil) return [];
  throw new TemplateError(`range can't iterate over ${goString(value)}`);
}
