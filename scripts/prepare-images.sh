#!/usr/bin/env bash
# Leaves in build-images what the base images are built from, so that their builds need no network: the package as npm packs
# it, with the prebuilds that are there, and npm's cache of its dependencies and of those of the operators.
# With a cache that was filled once, this needs no network either.
set -euo pipefail
cd "$(dirname "$0")/.."

ls prebuilds/linux-*/stemline.node >/dev/null 2>&1 || {
  echo "There is no prebuild in prebuilds/: make setup builds one for this machine." >&2
  exit 1
}
[ -e dist/cli/main.js ] || { echo "There is no dist/: make build builds it." >&2; exit 1; }

mkdir -p build-images/package build-images/npm-cache
npm pack --ignore-scripts --silent --pack-destination build-images/package >/dev/null
mv build-images/package/stemline-*.tgz build-images/package/stemline.tgz
cp package-lock.json build-images/package/

# Filled anew only when what is needed has changed: npm touches the cache also where it adds nothing, and Docker would
# build everything again.
shopt -s nullglob
needed=$(cat package-lock.json operators/*/package*.json | sha256sum)
if [ "$(cat build-images/npm-cache.sum 2>/dev/null)" != "$needed" ]; then
  for manifest in package.json operators/*/package.json; do
    for cpu in x64 arm64; do
      work=$(mktemp -d)
      cp "${manifest%.json}"*.json "$work"
      npm --prefix "$work" install --omit=dev --ignore-scripts --prefer-offline --no-audit --no-fund --silent \
        --os=linux --cpu="$cpu" --libc=glibc --cache "$PWD/build-images/npm-cache"
      rm -rf "$work"
    done
  done
  rm -rf build-images/npm-cache/_logs build-images/npm-cache/_update-notifier-last-checked
  echo "$needed" >build-images/npm-cache.sum
fi
