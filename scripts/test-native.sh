#!/usr/bin/env bash
# Builds and tests the native core in every way it is meant to run:
#   release   g++, optimised
#   sanitize  address and undefined-behaviour sanitizers
#   fuzz      libFuzzer, FUZZ_SECONDS for each target (default 30)
#   neon      cross-compiled for 64-bit Arm, run under qemu
#   cuda      the CUDA library, with a GPU or without; and its stand-in for machines without one, also with sanitizers (address,
#             undefined behaviour, threads), which needs CUDA's headers but not nvcc
# Usage: scripts/test-native.sh [release|sanitize|fuzz|neon|cuda]...    (default: all)
# A part whose tools are missing is skipped by name; with CI=true that is an error.
# Environment: JOBS (default: number of CPUs), FUZZ_SECONDS, STEMLINE_TEST_SEED (default: a new one each time),
# STEMLINE_TEST_SCALE (how many random cases; default 1, and less in the slow parts).
set -euo pipefail
cd "$(dirname "$0")/.."

jobs=${JOBS:-$(nproc)}
fuzz_seconds=${FUZZ_SECONDS:-30}
# One seed for all programs of this run.
export STEMLINE_TEST_SEED=${STEMLINE_TEST_SEED:-$RANDOM$RANDOM}
done_parts=()
skipped_parts=()

# need PART COMMAND PACKAGE: true if the command is there.
need() {
  if command -v "$2" >/dev/null; then return 0; fi
  echo "SKIPPED $1: $2 is missing (apt-get install $3)" >&2
  skipped_parts+=("$1")
  return 1
}

need_fuzzer_runtime() {
  local program='extern "C" int LLVMFuzzerTestOneInput(const unsigned char*, unsigned long) { return 0; }'
  if clang++ -x c++ -fsanitize=fuzzer,address,undefined -o /dev/null - <<<"$program" 2>/dev/null; then return 0; fi
  echo "SKIPPED $1: clang++ has no libFuzzer runtime (apt-get install libclang-rt-14-dev)" >&2
  skipped_parts+=("$1")
  return 1
}

need_doctest() {
  if [ -e /usr/include/doctest/doctest.h ] || [ -e /usr/local/include/doctest/doctest.h ]; then return 0; fi
  echo "SKIPPED $1: doctest is missing (apt-get install doctest-dev)" >&2
  skipped_parts+=("$1")
  return 1
}

# build FOLDER TARGET CMAKE_OPTION...
build() {
  local folder=$1 target=$2 generator=()
  shift 2
  if command -v ninja >/dev/null; then generator=(-G Ninja); fi
  # A folder keeps the generator it was made with.
  if [ -e "$folder/CMakeCache.txt" ]; then generator=(); fi
  # A prebuild may be made at the same time, of which the CUDA library is in the same folder.
  mkdir -p "$folder"
  flock "$folder" cmake -S . -B "$folder" "${generator[@]}" "$@" >/dev/null
  flock "$folder" cmake --build "$folder" --target "$target" -j "$jobs"
}

run_tests() {
  ctest --test-dir "$1" --output-on-failure -j "$jobs"
  grep -h "^backends:" "$1/Testing/Temporary/LastTest.log" | sort -u
}

release() {
  need release cmake cmake && need release g++ g++ && need_doctest release || return 0
  build build-native stemline_tests -DCMAKE_CXX_COMPILER=g++ -DSTEMLINE_BENCH=OFF
  run_tests build-native
  done_parts+=(release)
}

sanitize() {
  need sanitize cmake cmake && need sanitize g++ g++ && need_doctest sanitize || return 0
  build build-sanitize stemline_tests -DCMAKE_CXX_COMPILER=g++ -DSTEMLINE_SANITIZE=ON -DSTEMLINE_BENCH=OFF
  STEMLINE_TEST_SCALE=${STEMLINE_TEST_SCALE:-0.25} run_tests build-sanitize
  done_parts+=(sanitize)
}

fuzz() {
  need fuzz cmake cmake && need fuzz clang++ "clang libclang-rt-14-dev" && need_fuzzer_runtime fuzz || return 0
  build build-fuzz all -DCMAKE_CXX_COMPILER=clang++ -DSTEMLINE_FUZZ=ON -DSTEMLINE_SANITIZE=ON \
    -DSTEMLINE_FUZZ_SECONDS="$fuzz_seconds"
  ctest --test-dir build-fuzz --output-on-failure -j "$jobs"
  grep -hE "^(Done .* runs|stat::average_exec_per_sec)" build-fuzz/Testing/Temporary/LastTest.log || true
  done_parts+=(fuzz)
}

neon() {
  local emulator=qemu-aarch64
  if command -v qemu-aarch64-static >/dev/null; then emulator=qemu-aarch64-static; fi
  need neon cmake cmake && need neon aarch64-linux-gnu-g++ g++-aarch64-linux-gnu && need neon "$emulator" qemu-user &&
    need_doctest neon || return 0
  build build-neon stemline_tests -DCMAKE_TOOLCHAIN_FILE="$PWD/cmake/aarch64-linux-gnu.cmake" -DSTEMLINE_BENCH=OFF
  STEMLINE_TEST_SCALE=${STEMLINE_TEST_SCALE:-0.1} STEMLINE_TEST_REQUIRE=neon,scalar run_tests build-neon
  done_parts+=(neon)
}

need_cuda_headers() {
  local nvcc
  nvcc=$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)
  if g++ -I"$(dirname "$nvcc")/../include" -I/usr/local/cuda/include -x c++ -fsyntax-only -include cuda_runtime_api.h /dev/null \
    2>/dev/null; then return 0; fi
  echo "SKIPPED $1: cuda_runtime_api.h is missing (apt-get install cuda-cudart-dev-13-0, of NVIDIA)" >&2
  skipped_parts+=("$1")
  return 1
}

# On some kernels addresses are more random than the thread sanitizer of older compilers allows.
need_thread_sanitizer() {
  local folder status=0
  folder=$(mktemp -d)
  g++ -fsanitize=thread -x c++ -o "$folder/program" - <<<'int main() {}' 2>/dev/null && "$folder/program" 2>/dev/null || status=1
  rm -r "$folder"
  if [ $status = 0 ]; then return 0; fi
  echo "SKIPPED $1: programs with g++'s thread sanitizer do not run (sysctl vm.mmap_rnd_bits=28 may help)" >&2
  skipped_parts+=("$1")
  return 1
}

cuda() {
  need cuda cmake cmake && need cuda g++ g++ && need_doctest cuda && need_cuda_headers cuda || return 0
  if need cuda-kernels nvcc "cuda-nvcc-13-0, of NVIDIA"; then
    build build-cuda stemline_cuda_tests -DCMAKE_CXX_COMPILER=g++ -DSTEMLINE_CUDA=ON
    # Needs the core to be linked, and a GPU to run.
    build build-cuda stemline_gpu_bench_object -DCMAKE_CXX_COMPILER=g++ -DSTEMLINE_CUDA=ON
    ctest --test-dir build-cuda --output-on-failure -j "$jobs"
    grep -hE "^(device: |no device: |SKIPPED )" build-cuda/Testing/Temporary/LastTest.log | sort -u
  else
    build build-cuda-host stemline_cuda_tests -DCMAKE_CXX_COMPILER=g++ -DSTEMLINE_CUDA_HOST=ON
    ctest --test-dir build-cuda-host --output-on-failure -j "$jobs"
  fi
  build build-cuda-sanitize stemline_cuda_tests -DCMAKE_CXX_COMPILER=g++ -DSTEMLINE_CUDA_HOST=ON -DSTEMLINE_SANITIZE=ON
  STEMLINE_TEST_SCALE=${STEMLINE_TEST_SCALE:-0.25} ctest --test-dir build-cuda-sanitize --output-on-failure -j "$jobs"
  if need_thread_sanitizer cuda-threads; then
    build build-cuda-threads stemline_cuda_tests -DCMAKE_CXX_COMPILER=g++ -DSTEMLINE_CUDA_HOST=ON -DCMAKE_CXX_FLAGS=-fsanitize=thread
    # What threads share is in these two.
    STEMLINE_TEST_SCALE=${STEMLINE_TEST_SCALE:-0.25} ctest --test-dir build-cuda-threads -R 'contexts|failures' --output-on-failure -j "$jobs"
  fi
  done_parts+=(cuda)
}

parts=("$@")
if [ ${#parts[@]} -eq 0 ]; then parts=(release sanitize fuzz neon cuda); fi
for part in "${parts[@]}"; do
  case "$part" in
    release | sanitize | fuzz | neon | cuda)
      echo "== $part, STEMLINE_TEST_SEED=$STEMLINE_TEST_SEED"
      started=$SECONDS
      "$part"
      echo "== $part: $((SECONDS - started)) s"
      ;;
    *)
      echo "unknown part \"$part\": expected release, sanitize, fuzz, neon or cuda" >&2
      exit 2
      ;;
  esac
done

echo "passed: ${done_parts[*]:-nothing}; skipped: ${skipped_parts[*]:-nothing}"
if [ ${#skipped_parts[@]} -gt 0 ] && [ "${CI:-}" = true ]; then exit 1; fi
if [ ${#done_parts[@]} -eq 0 ]; then exit 1; fi
