#!/usr/bin/env bash
# Prints the path of a Node of the given major version: the one at hand if it is that, else one from the npm registry.
# Usage: scripts/install-node.sh MAJOR [x64|arm64]    (default: this machine's architecture)
set -euo pipefail
cd "$(dirname "$0")/.."

major=${1:?expected a major version of Node}
arch=${2:-$(node -p process.arch)}
if [ "$(node -p 'process.versions.node.split(".")[0] + " " + process.arch')" = "$major $arch" ]; then
  node -p process.execPath
  exit
fi
package="node-linux-$arch"
folder="$PWD/build-node$major-$arch"
# --force: npm refuses a package for another architecture.
npm install --prefix "$folder" --no-save --force --ignore-scripts --prefer-offline --no-audit --no-fund --silent \
  "$package@$major" >&2
echo "$folder/node_modules/$package/bin/node"
