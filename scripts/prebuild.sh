#!/usr/bin/env bash
# Makes a prebuild of the addon for the npm package, prebuilds/linux-ARCH/stemline.node, and checks it:
#   - it asks for no newer C library than what the versions of Node that we support need themselves, and not for libstdc++
#   - in a package folder of its own it gives the recorded results, bit for bit, on every backend of the processor
# arm64 is cross-compiled and checked with an Arm build of Node under qemu. For x64, the CUDA library is put beside it if
# nvcc is there. Needs dist/ (npm run build:ts).
# Usage: scripts/prebuild.sh x64|arm64
# Environment: JOBS (default: number of CPUs)
set -euo pipefail
cd "$(dirname "$0")/.."

# The oldest C library that official builds of Node 20, 22 and 24 run with.
highest_glibc=2.28
# The C library of Debian 12's predecessors is too old for the CUDA runtime as linked here; there, kernels run on the CPU.
highest_glibc_cuda=2.34

fail() {
  echo "$1" >&2
  exit "${2:-1}"
}

usage() { sed -n '/^# Makes/,/^set/{/^set/d;s/^# \{0,1\}//p}' "$0"; }

case "${1:-}" in
  x64 | arm64) arch=$1 ;;
  -h | --help) usage; exit ;;
  *) fail "expected x64 or arm64, got \"${1:-}\"; scripts/prebuild.sh --help says more" 2 ;;
esac
[ $# -eq 1 ] || fail "expected one argument, got $#: $*" 2
[ -e dist/distiller/index.js ] || fail "dist/ is missing: npm run build:ts makes it"

# need COMMAND PACKAGE
need() { command -v "$1" >/dev/null || fail "$1 is missing: apt-get install $2"; }

need readelf binutils
strip="strip"
emulate=()
backend=""
if [ "$arch" != "$(node -p process.arch)" ]; then
  [ "$arch" = arm64 ] || fail "linux-x64 can only be built on x64"
  need aarch64-linux-gnu-g++ g++-aarch64-linux-gnu
  need qemu-aarch64 qemu-user
  export CC=aarch64-linux-gnu-gcc CXX=aarch64-linux-gnu-g++
  strip=aarch64-linux-gnu-strip
  emulate=(qemu-aarch64 -L /usr/aarch64-linux-gnu "$(scripts/install-node.sh 24 arm64)")
fi
[ "$arch" = arm64 ] && backend=neon

unset STEMLINE_ADDON STEMLINE_BACKEND STEMLINE_CUDA_LIBRARY
# A copy, so that the addon in build/ stays as it is, and so that nothing but this prebuild can be found and loaded.
stage="build-prebuild-$arch"
rm -rf "$stage"
mkdir "$stage"
cp -r native binding.gyp package.json dist "$stage"

# Nothing is downloaded: the headers are those beside the running Node, the same for both architectures. Without what is not
# used of libstdc++, which asks for a newer C library.
node_version=$(node -p process.versions.node)
npm_config_nodedir=$(node -p "path.resolve(process.execPath, '../..')") JOBS=${JOBS:-$(nproc)} \
  npm_config_loglevel=warn LDFLAGS="-static-libstdc++ -Wl,--gc-sections" \
  node_modules/.bin/prebuildify --cwd "$stage" --node-gyp "$PWD/node_modules/.bin/node-gyp" --napi --name stemline \
  --target "$node_version" --platform linux --arch "$arch" --strip --strip-bin "$strip"
built="$stage/prebuilds/linux-$arch"

# check_symbols FILE HIGHEST_GLIBC: what the file asks of the system's libraries.
check_symbols() {
  local file=$1 limit=$2 versions highest
  versions=$(readelf --version-info --wide "$file" | grep -oE 'Name: [A-Z]+_[0-9.]+' | cut -d' ' -f2 | sort -Vu)
  if grep -E '^(GLIBCXX|CXXABI)_' <<<"$versions"; then fail "$file needs libstdc++: expected it to be linked in"; fi
  highest=$(grep -E '^GLIBC_' <<<"$versions" | tail -1)
  [ "$(printf '%s\n' "GLIBC_$limit" "$highest" | sort -V | tail -1)" = "GLIBC_$limit" ] ||
    fail "$file needs $highest: expected GLIBC_$limit at most"
  echo "$file: $(stat -c %s "$file") bytes, needs $highest (at most GLIBC_$limit), no libstdc++"
}
check_symbols "$built/stemline.node" "$highest_glibc"

if [ "$arch" != x64 ]; then
  echo "No CUDA library: it is only made for x64"
elif ! command -v nvcc >/dev/null; then
  echo "No CUDA library: nvcc is missing"
else
  # The tests may build in the same folder at the same time.
  mkdir -p build-cuda
  flock build-cuda cmake -S . -B build-cuda -DCMAKE_CXX_COMPILER=g++ -DSTEMLINE_CUDA=ON >/dev/null
  flock build-cuda cmake --build build-cuda --target stemline_cuda
  cp build-cuda/stemline_cuda.so "$built"
  check_symbols "$built/stemline_cuda.so" "$highest_glibc_cuda"
fi

"${emulate[@]:-node}" scripts/check-package.mjs "$stage" $backend

mkdir -p prebuilds
rm -rf "prebuilds/linux-$arch"
mv "$built" "prebuilds/linux-$arch"
