import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["tests/**/*.test.ts"],
    tags: [{ name: "root", description: "needs root, of the machine or of a user namespace" }],
    globalSetup: ["./tests/support/global_setup.ts"],
    // Only forks run under Deno: the other pools need Node's worker threads.
    pool: "forks",
    // Tests start namespaces, engines and containers: more at once only makes them wait for each other.
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 120_000,
    teardownTimeout: 30_000,
    // On a machine that is somebody else's as well a test may lose a race of processes; whoever passes at the second try is named at
    // the end (tests/support/summary_reporter.ts), and is to be mended. Nobody's own machine is so kind.
    retry: Deno.env.get("CI") === "true" ? 1 : 0,
    reporters: ["default", "./tests/support/summary_reporter.ts"],
  },
});
