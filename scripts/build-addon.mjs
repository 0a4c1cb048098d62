// Builds the addon with node-gyp, against the headers beside the running Node so that nothing is downloaded.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

const nodeRoot = dirname(dirname(process.execPath));
const header = join(nodeRoot, "include", "node", "node_api.h");
if (!existsSync(header)) {
  console.error(
    `The addon needs Node's headers: expected ${header}. Install Node with its headers (the tarballs of nodejs.org have them).`,
  );
  process.exit(1);
}
const nodeGyp = createRequire(import.meta.url).resolve("node-gyp/bin/node-gyp.js");
const { status } = spawnSync(
  process.execPath,
  [nodeGyp, "rebuild", "--nodedir", nodeRoot, "--jobs", "2", "--loglevel", "warn", ...process.argv.slice(2)],
  { stdio: "inherit" },
);
process.exit(status ?? 1);
