#!/usr/bin/env bash
# Runs the unit and integration tests on Node 24 with the addon built for the Node at hand: one Node-API build serves all.
set -euo pipefail
cd "$(dirname "$0")/.."

node24=$(scripts/install-node.sh 24)
echo "Node $("$node24" --version)"
PATH="$(dirname "$node24"):$PATH" "$node24" node_modules/vitest/vitest.mjs run
