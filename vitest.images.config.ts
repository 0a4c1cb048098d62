import { defineConfig } from "vitest/config";
import base from "./vitest.config.ts";

/** Tests that need container engines: `make test-images`. */
export default defineConfig({
  ...base,
  test: { ...base.test, include: ["test/images/**/*.test.ts"], testTimeout: 300_000, hookTimeout: 600_000 },
});
