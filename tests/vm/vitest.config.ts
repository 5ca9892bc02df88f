import { defineConfig } from "vitest/config";
import shared from "../../vitest.config.ts";

/** The integration suite in the virtual machine: see tests/vm/inside. Everything takes ten times as long there. */
export default defineConfig({
  root: new URL("../..", import.meta.url).pathname,
  test: {
    ...shared.test,
    testTimeout: 600_000,
    hookTimeout: 600_000,
    teardownTimeout: 120_000,
    retry: 1,
    reporters: ["./tests/vm/integration_reporter.ts"],
  },
});
