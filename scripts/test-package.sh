#!/usr/bin/env bash
# Packs the npm package, looks at what is in it, and installs it as a user without a compiler would: in an empty folder, with
# a PATH that has nothing but node and a shell, on Node 20, 22 and 24. Then runs what a user runs first.
# Needs dist/ and the prebuild of this machine (scripts/prebuild.sh).
# Usage: scripts/test-package.sh
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD

[ $# -eq 0 ] || { echo "expected no argument, got: $*" >&2; exit 2; }
platform="linux-$(node -p process.arch)"

mkdir -p build-package
rm -f build-package/*.tgz
npm pack --json --pack-destination build-package >build-package/contents.json
tarball=$(echo "$root"/build-package/*.tgz)
# shellcheck disable=SC2016  # the template literals are JavaScript's
node -e '
  const [platform] = process.argv.slice(1);
  const [{ filename, size, unpackedSize, files }] = JSON.parse(require("fs").readFileSync("build-package/contents.json"));
  const paths = files.map(({ path }) => path);
  const needed = ["dist/index.js", "dist/distiller/index.js", "dist/cli/main.js", `prebuilds/${platform}/stemline.node`];
  const missing = needed.filter((path) => !paths.includes(path));
  const expected = [
    /^(LICENSE|README\.md|package\.json|binding\.gyp|scripts\/build-addon\.mjs)$/,
    /^dist\/.*\.(js|d\.ts|map)$/,
    /^native\/.*\.(cpp|h|cu|gypi)$/,
    /^(operators|pipelines)\//,
    /^prebuilds\/linux-(x64|arm64)\/stemline(\.node|_cuda\.so)$/,
  ];
  const odd = paths.filter((path) => !expected.some((pattern) => pattern.test(path)));
  if (missing.length > 0 || odd.length > 0) {
    console.error(`${filename}: missing: ${missing.join(", ") || "nothing"}; not expected: ${odd.join(", ") || "nothing"}`);
    process.exit(1);
  }
  const natives = files.filter(({ path }) => path.startsWith("prebuilds/"));
  console.log(`${filename}: ${size} bytes, unpacked ${unpackedSize} bytes in ${paths.length} files`);
  for (const { path, size } of natives) console.log(`  ${path}: ${size} bytes`);
' "$platform"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
npm_cli="$(npm root -g)/npm/bin/npm-cli.js"
shell=$(command -v sh)
unset STEMLINE_ADDON STEMLINE_BACKEND STEMLINE_CUDA_LIBRARY CC CXX

# try MAJOR [NPM_INSTALL_OPTION...]: installs the package in an empty folder and uses it. Outside of the clone, whose modules
# would be found from any folder in it.
try() {
  local major=$1 node folder bin started=$SECONDS
  shift
  node=$(scripts/install-node.sh "$major")
  folder="$scratch/node$major${1:-}"
  bin="$folder-bin"
  mkdir -p "$folder" "$bin"
  ln -s "$node" "$bin/node"
  ln -s "$shell" "$bin/sh"
  (
    cd "$folder"
    PATH=$bin
    for tool in cc gcc g++ c++ clang make cmake ninja python python3 node-gyp; do
      if command -v "$tool"; then echo "$tool is on the PATH of this test" >&2; exit 1; fi
    done
    node "$npm_cli" install --prefer-offline --no-audit --no-fund --foreground-scripts "$@" "$tarball" >install.log 2>&1 ||
      { echo "npm install failed on Node $major:" >&2; echo "$(<install.log)" >&2; exit 1; }
    stemline() { node node_modules/stemline/dist/cli/main.js "$@"; }
    stemline doctor
    node --input-type=module -e '
      import { strictEqual } from "node:assert";
      import { defineOperator, isOperator } from "stemline";
      import { ComReducer } from "stemline/distiller";
      strictEqual(isOperator(defineOperator({ inputs: ["in"], outputs: [], run: () => null })), true);
      strictEqual((await new ComReducer().flush()).length, 0);'
    node "$root/scripts/check-package.mjs" node_modules/stemline
    stemline simulate scan.h5 --scan 24x32 --seed 1
    stemline run node_modules/stemline/pipelines/center-of-mass.json --out out \
      --set distiller-counted-data-reader.raw_data_dir=. --set distiller-counted-data-reader.filename=scan.h5
    for picture in xy rtheta; do
      [ -s "out/center-of-mass-$picture-1.png" ] || { echo "no picture center-of-mass-$picture-1.png" >&2; exit 1; }
    done
  ) >"$folder.log" 2>&1 || { cat "$folder.log" >&2; exit 1; }
  # The install step of the package found the prebuild: it compiled nothing.
  [ ! -e "$folder/node_modules/stemline/build" ] || { echo "the addon was compiled on Node $major" >&2; exit 1; }
  grep -E '^CUDA: |results as recorded' "$folder.log"
  echo "Node $major, npm install ${*:-with install scripts}: $((SECONDS - started)) s"
}

try 20 --ignore-scripts
try 22 --ignore-scripts
try 24 --ignore-scripts
try 24
grep -q '^> stemline@.* install$' "$scratch/node24/install.log" || { echo "npm ran no install step of the package" >&2; exit 1; }
