#!/usr/bin/env bash
# Runs the addon's tests with address and undefined-behaviour sanitizers: the whole addon is instrumented, Node is not.
set -euo pipefail
cd "$(dirname "$0")/.."

# In the folder of the C++ tests with sanitizers, which may be building at the same time: the core is the same.
mkdir -p build-sanitize
flock build-sanitize cmake -S . -B build-sanitize -DCMAKE_CXX_COMPILER=g++ -DSTEMLINE_SANITIZE=ON -DSTEMLINE_BENCH=OFF \
  -DSTEMLINE_ADDON=ON >/dev/null
flock build-sanitize cmake --build build-sanitize --target stemline_addon --parallel 2

# The runtime must be the first library of the process. libstdc++ comes with it: the runtime looks up the function that
# throws exceptions when it starts, before the addon brings that library in.
LD_PRELOAD="$(g++ -print-file-name=libasan.so) $(g++ -print-file-name=libstdc++.so.6)"
export LD_PRELOAD
# No leak check: Node ends without freeing what V8 and its own tables hold, which would be reported by the thousand. Our
# leaks show in the memory tests, which run without sanitizers.
export ASAN_OPTIONS=detect_leaks=0:quarantine_size_mb=32:${ASAN_OPTIONS:-}
export UBSAN_OPTIONS=print_stacktrace=1:${UBSAN_OPTIONS:-}
export STEMLINE_ADDON="$PWD/build-sanitize/stemline.node"
export STEMLINE_SANITIZED=1

# A test run that quietly used another addon, or one without instrumentation, would prove nothing.
# shellcheck disable=SC2016 # JavaScript, not the shell's variables
node -e '
  require(process.env.STEMLINE_ADDON).backends();
  const loaded = process.report.getReport().sharedObjects;
  for (const name of ["libasan", "libubsan", process.env.STEMLINE_ADDON]) {
    if (!loaded.some((path) => path.includes(name))) throw new Error(`${name} is not loaded`);
  }'

node node_modules/vitest/vitest.mjs run \
  test/unit/native/analysis-reduce.test.ts \
  test/unit/native/center-of-mass-partial.test.ts \
  test/unit/native/center-of-mass-reduce.test.ts \
  test/unit/native/cuda.test.ts \
  test/unit/native/kernels.test.ts \
  test/unit/native/native-bytes.test.ts \
  test/unit/native/scan-analyzer.test.ts \
  test/integration/addon-lifetime.test.ts \
  test/integration/zmq-messenger.test.ts "$@"
