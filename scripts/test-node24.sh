#!/usr/bin/env bash
# Runs on Node 24, with the addon built for the Node at hand, the tests of what differs between versions of Node: the addon,
# how run.ts is loaded, HDF5, processes with their signals. What is said on the wire, sockets, faults of the network, the
# benchmarks and the soak are tested on one version.
set -euo pipefail
cd "$(dirname "$0")/.."

node24=$(scripts/install-node.sh 24)
echo "Node $("$node24" --version)"
PATH="$(dirname "$node24"):$PATH" "$node24" node_modules/vitest/vitest.mjs run \
  test/integration test/unit/native test/unit/operator test/unit/host test/unit/local test/unit/distiller/counted-file \
  --exclude 'test/integration/{bench,fast-lane,host-conversation,host-faults-data,host-faults-nats,host-faults-start,host-soak,python-peer,zmq-messenger}.test.ts'
