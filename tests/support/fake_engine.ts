import { type Engine } from "../../engine/types.ts";

export interface Call {
  readonly method: string;
  readonly args: readonly unknown[];
}

/**
 * An engine without containers, for what happens between HTTP and the domain: it writes down each call and gives
 * the answers of `answers`. A method without an answer throws, as something a route should not have called.
 */
export function fakeEngine(answers: Partial<Engine>): { engine: Engine; calls: Call[] } {
  const calls: Call[] = [];
  const engine = new Proxy({} as Engine, {
    get(_, method) {
      if (typeof method !== "string" || method === "then") return undefined;
      return (...args: unknown[]) => {
        calls.push({ method, args });
        const answer = answers[method as keyof Engine] as ((...args: unknown[]) => unknown) | undefined;
        if (answer === undefined) throw new Error(`the fake engine has no ${method}`);
        return answer(...args);
      };
    },
  });
  return { engine, calls };
}
