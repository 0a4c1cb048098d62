#!/usr/bin/env bash
# Leaves in build-images what images are built from, so that their builds need no network. With caches that were filled once,
# this needs none either.
# Usage: scripts/prepare-images.sh bases|operators...
#   bases      package/: the package as npm packs it, with the prebuilds that are there, and npm's cache of its dependencies
#   operators  npm-cache/: npm's cache of the packages that operators have in a package.json
set -euo pipefail
cd "$(dirname "$0")/.."
shopt -s nullglob

# fill CACHE PACKAGE_JSON: what an `npm install` of it needs, on both architectures. Only when it has changed: npm touches a
# cache also where it adds nothing, and Docker would build everything again.
fill() {
  local cache=$1 files=("${2%.json}"*.json) cpu work sums
  sums=$(cat "${files[@]}" | sha256sum)
  if [ "$(cat "$cache/of/$2.sum" 2>/dev/null)" = "$sums" ]; then return; fi
  for cpu in x64 arm64; do
    work=$(mktemp -d)
    cp "${files[@]}" "$work"
    npm --prefix "$work" install --omit=dev --ignore-scripts --prefer-offline --no-audit --no-fund --silent \
      --os=linux --cpu="$cpu" --libc=glibc --cache "$PWD/$cache"
    rm -rf "$work"
  done
  rm -rf "$cache/_logs" "$cache/_update-notifier-last-checked"
  mkdir -p "$cache/of/$(dirname "$2")"
  echo "$sums" >"$cache/of/$2.sum"
}

bases() {
  local prebuilds=(prebuilds/linux-*/stemline.node)
  [ ${#prebuilds[@]} -gt 0 ] || { echo "There is no prebuild in prebuilds/: make setup builds one for this machine." >&2; exit 1; }
  [ -e dist/cli/main.js ] || { echo "There is no dist/: make build builds it." >&2; exit 1; }
  mkdir -p build-images/package
  npm pack --ignore-scripts --silent --pack-destination build-images/package >/dev/null
  mv build-images/package/stemline-*.tgz build-images/package/stemline.tgz
  cp package-lock.json build-images/package/
  fill build-images/package/npm-cache package.json
}

operators() {
  mkdir -p build-images/npm-cache
  local manifest
  for manifest in operators/*/package.json; do fill build-images/npm-cache "$manifest"; done
}

for part in "$@"; do
  case $part in
    bases | operators) "$part" ;;
    *) echo "unknown part \"$part\": expected bases or operators" >&2; exit 2 ;;
  esac
done
