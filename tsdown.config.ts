import { defineConfig } from "tsdown";

export default defineConfig({
  entry: ["src/index.ts", "src/distiller/index.ts", "src/cli/main.ts"],
  format: "esm",
  platform: "node",
  target: "node20.19",
  // One output file per source file, so that a module finds the package root at the same depth in src and in dist.
  unbundle: true,
  dts: true,
  sourcemap: true,
  outExtensions: () => ({ js: ".js", dts: ".d.ts" }),
});
