#!/usr/bin/env bash
# Runs on Node 24, with the addon built for the Node at hand, the tests of what differs between versions of Node: the addon,
# how run.ts is loaded, HDF5, processes with their signals and sockets. Faults of the network and the soak are tested once.
set -euo pipefail
cd "$(dirname "$0")/.."

node24=$(scripts/install-node.sh 24)
echo "Node $("$node24" --version)"
PATH="$(dirname "$node24"):$PATH" "$node24" node_modules/vitest/vitest.mjs run \
  test/integration test/unit/native test/unit/operator test/unit/host test/unit/local test/unit/cli test/unit/distiller/counted-file \
  --exclude 'test/integration/host-soak.test.ts' --exclude 'test/integration/host-faults-{data,nats,start}.test.ts'
