#!/usr/bin/env bash
# Runs the addon's tests of batches, the recorded ones among them, with batches computed by the CUDA library.
# Usage: scripts/test-addon-cuda.sh [LIBRARY]    (default: the stand-in for machines without a GPU, which is built)
# Without CUDA's headers it is skipped by name; with CI=true that is an error.
set -euo pipefail
cd "$(dirname "$0")/.."

library=${1:-}
if [ -z "$library" ]; then
  # As test-native.sh builds it, where nvcc is and where it is not.
  folder=build-cuda option=STEMLINE_CUDA
  command -v nvcc >/dev/null || folder=build-cuda-host option=STEMLINE_CUDA_HOST
  mkdir -p "$folder"
  if ! flock "$folder" cmake -S . -B "$folder" -DCMAKE_CXX_COMPILER=g++ "-D$option=ON" >/dev/null; then
    echo "SKIPPED: the tests of the addon with a GPU's stand-in need CUDA's headers (cuda-cudart-dev-13-0, of NVIDIA)" >&2
    [ "${CI:-}" = true ] && exit 1
    exit 0
  fi
  flock "$folder" cmake --build "$folder" --target stemline_cuda_host --parallel 2
  library=$folder/stemline_cuda_host.so
fi

export STEMLINE_BACKEND=cuda STEMLINE_CUDA_LIBRARY=$PWD/$library
[ -e "$STEMLINE_CUDA_LIBRARY" ] || STEMLINE_CUDA_LIBRARY=$library
# Tests that quietly ran on the CPU would prove nothing.
# shellcheck disable=SC2016 # JavaScript, not the shell's variables
node --import tsx --input-type=module -e '
  import { startAcceleration } from "./src/native/backends.ts";
  const { cuda, device, figures } = await startAcceleration();
  if (figures === null) throw new Error(cuda.message);
  console.log(`batches are computed by: ${device.name}`);
'
node node_modules/vitest/vitest.mjs run \
  test/unit/native/analysis-reduce.test.ts \
  test/unit/native/center-of-mass-partial.test.ts \
  test/unit/native/com-positions.test.ts \
  test/unit/native/kernels.test.ts \
  test/unit/native/scan-analyzer.test.ts \
  test/integration/center-of-mass.test.ts \
  test/integration/scan-analysis.test.ts
