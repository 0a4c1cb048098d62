// Builds the addon with node-gyp, against the headers beside the running Node so that nothing is downloaded.
// --if-missing, as npm's install step: only if no addon loads.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const require = createRequire(import.meta.url);
const root = fileURLToPath(new URL("../", import.meta.url));

function fail(message) {
  console.error(message);
  process.exit(1);
}

function loads(path) {
  try {
    require(path);
    return true;
  } catch {
    return false;
  }
}

if (process.argv.includes("--if-missing")) {
  const prebuild = join(root, "prebuilds", `${process.platform}-${process.arch}`, "stemline.node");
  if ([join(root, "build/Release/stemline.node"), prebuild].some(loads)) process.exit(0);
}

const nodeRoot = dirname(dirname(process.execPath));
const header = join(nodeRoot, "include", "node", "node_api.h");
if (!existsSync(header)) {
  fail(
    `The addon needs Node's headers: expected ${header}. Install Node with its headers, as the archives of nodejs.org have them.`,
  );
}

// npm brings a node-gyp of its own to install steps; a clone has the one it was tested with.
function findNodeGyp() {
  try {
    return require.resolve("node-gyp/bin/node-gyp.js");
  } catch {
    return (
      process.env.npm_config_node_gyp ??
      fail("The addon needs node-gyp: npm install node-gyp, then build again.")
    );
  }
}

const { status } = spawnSync(
  process.execPath,
  [findNodeGyp(), "rebuild", "--nodedir", nodeRoot, "--jobs", "2", "--loglevel", "warn"],
  { cwd: root, stdio: "inherit" },
);
process.exit(status ?? 1);
