import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const source = (path: string) => fileURLToPath(new URL(path, import.meta.url));

export default defineConfig({
  resolve: {
    alias: [
      { find: /^stemline$/, replacement: source("./src/index.ts") },
      { find: /^stemline\/distiller$/, replacement: source("./src/distiller/index.ts") },
    ],
  },
  test: {
    globalSetup: ["test/global-setup.ts"],
    projects: [
      // One process serves many files: they keep nothing outside of their tests, and half of their time went into starting.
      { extends: true, test: { name: "unit", include: ["test/unit/**/*.test.ts"], isolate: false } },
      { extends: true, test: { name: "integration", include: ["test/integration/**/*.test.ts"] } },
    ],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    pool: "forks",
    // Two at least, also on two processors: tests of processes wait most of the time.
    maxWorkers: Math.max(2, availableParallelism() - 1),
  },
});
