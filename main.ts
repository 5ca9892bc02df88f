/**
 * Picks the role: see docs/architecture.md. Nothing is imported before it is known what is needed.
 */
async function main(args: string[]): Promise<void> {
  const [role, ...rest] = args;
  switch (role) {
    case "@shim":
      await import("./runtime/shim_main.ts");
      return;
    case "@netd":
      await import("./net/netd/main.ts");
      return;
    case "@engine": {
      const { engineMain } = await import("./api/engine_main.ts");
      await engineMain(rest);
      return;
    }
    case "serve": {
      const { parseServeArgs } = await import("./cli/commands/serve_flags.ts");
      const parsed = parseServeArgs(rest);
      if (!parsed.ok) {
        (parsed.code === 0 ? console.log : console.error)(parsed.message);
        Deno.exit(parsed.code);
      }
      const { serve } = await import("./bootstrap/serve.ts");
      Deno.exit(serve(parsed.options));
      return;
    }
    default: {
      const { runCli } = await import("./cli/mod.ts");
      Deno.exit(await runCli(args));
    }
  }
}

await main(Deno.args);
