#!/usr/bin/env bash
# Runs the unit and integration tests on Node 24 with the addon built for the Node at hand: one Node-API build serves all.
set -euo pipefail
cd "$(dirname "$0")/.."

package="node-linux-$(node -p process.arch)"
npm install --prefix build-node24 --no-save --ignore-scripts --no-audit --no-fund --silent "$package@24"
node24="$PWD/build-node24/node_modules/$package/bin/node"
echo "Node $("$node24" --version)"
PATH="$(dirname "$node24"):$PATH" "$node24" node_modules/vitest/vitest.mjs run
