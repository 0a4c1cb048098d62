#!/bin/sh
# Usage: assemble.sh amd64|arm64
# From /files (stemline.tgz of `npm pack`, package-lock.json, npm-cache) to one folder of files for each image, in /images.
set -eu

case $1 in
  amd64) cpu=x64 ;;
  arm64) cpu=arm64 ;;
  *) echo "expected amd64 or arm64, got \"$1\"" >&2; exit 2 ;;
esac

root=/images/interactem-operator/opt/stemline
extra=/images/distiller-streaming/opt/stemline
mkdir -p "$root" "$extra/node_modules" "$extra/dist" "$extra/prebuilds/linux-$cpu"
cd "$root"
tar -xzf /files/stemline.tgz --strip-components=1
cp /files/package-lock.json .
npm ci --omit=dev --ignore-scripts --offline --cache /files/npm-cache --no-audit --no-fund \
  --os=linux --cpu="$cpu" --libc=glibc

if [ ! -e "prebuilds/linux-$cpu/stemline.node" ]; then
  echo "the package has no prebuild for linux-$cpu; make it with: make prebuild-$cpu" >&2
  exit 1
fi

# What no operator needs. Node strips the types of run.ts itself where it can; tsx does it for older ones.
if node -e 'process.exit(process.features.typescript ? 0 : 1)'; then
  rm -rf node_modules/tsx node_modules/esbuild node_modules/@esbuild node_modules/get-tsconfig
fi
rm -rf package-lock.json native operators pipelines scripts binding.gyp node_modules/.bin node_modules/node-addon-api
keep() { # folder, then names of what stays in it, besides package.json and licences
  folder=$1
  shift
  for path in "$folder"/*; do
    case " package.json LICENSE LICENSE.txt LICENSE_MPL-2.0.txt $* " in
      *" ${path##*/} "*) ;;
      *) rm -rf "$path" ;;
    esac
  done
}
keep node_modules/zeromq build lib
keep node_modules/zeromq/build manifest.json linux
keep node_modules/zeromq/build/linux "$cpu"
# The addons by Node's ABI: 127 is Node 22's, and serves 24, too.
keep "node_modules/zeromq/build/linux/$cpu/node" glibc-127-Release glibc-147-Release
keep node_modules/cmake-ts build
keep node_modules/cmake-ts/build loader.js
keep node_modules/h5wasm dist
keep node_modules/h5wasm/dist node
keep node_modules/dejavu-fonts-ttf ttf
keep node_modules/dejavu-fonts-ttf/ttf DejaVuSans.ttf DejaVuSans-Bold.ttf
keep node_modules/bintrees index.js lib
rm -rf node_modules/zod/src
find dist node_modules -type f \( -name '*.d.ts' -o -name '*.d.cts' -o -name '*.d.mts' -o -name '*.map' \) -delete

# Of other platforms. The addon itself is the host's, too: it moves the messages.
for path in prebuilds/*; do [ "$path" = "prebuilds/linux-$cpu" ] || rm -rf "$path"; done
# The 4D Camera utilities: what `stemline/distiller` adds, with the libraries of GPUs, files and pictures.
mv dist/distiller dist/plot "$extra/dist/"
if [ -e "prebuilds/linux-$cpu/stemline_cuda.so" ]; then
  mv "prebuilds/linux-$cpu/stemline_cuda.so" "$extra/prebuilds/linux-$cpu/"
fi
for name in h5wasm sharp @img dejavu-fonts-ttf; do mv "node_modules/$name" "$extra/node_modules/"; done

mkdir -p /images/interactem-operator/usr/local/bin
ln -s /opt/stemline/dist/cli/main.js /images/interactem-operator/usr/local/bin/stemline
