import { defineConfig } from "vitest/config";
import base from "./vitest.config.ts";

const { projects: _, ...shared } = base.test!;

/** Tests that need container engines: `make test-images`. */
export default defineConfig({
  ...base,
  test: {
    ...shared,
    include: ["test/images/**/*.test.ts"],
    // All of them have bake.sh write into build-images.
    fileParallelism: false,
    testTimeout: 300_000,
    hookTimeout: 600_000,
  },
});
