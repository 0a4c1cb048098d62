#!/usr/bin/env bash
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
  cat <<'TEXT'
Builds the images of the operators, and of what they are built on, with docker buildx bake.

Usage: operators/bake.sh [OPTION]...

  --build-base    first bring the base images up to date with the sources of this repository
  --push-local    push to the registry on this machine (vars-local.hcl)
  --pull-local    then pull from there into podman's storage, and give each image the name that operator.json has for it
  --push-remote   push for amd64 and arm64 (vars-prod.hcl)
  --target NAME   one operator or base image instead of all operators
  --dry-run       show what would be built and done, and do nothing
  --help          show this

Without --push-local or --push-remote the images stay in Docker's own store.

Environment:
  REGISTRY        where images are pushed to and what their names start with
  TAG             tag of the images (default: latest)
  NODE_IMAGE      image that the bases are built on: Debian with Node 22.18 or newer (default: the official Node 24 slim image)
  CI_CACHE        if not empty, use the build cache of GitHub Actions (vars-ci.hcl)
TEXT
}

fail() { # exit code, message
  echo "bake.sh: $2" >&2
  exit "$1"
}

build_base=false push_local=false pull_local=false push_remote=false dry_run=false target=""
while [ $# -gt 0 ]; do
  case $1 in
    --build-base) build_base=true ;;
    --push-local) push_local=true ;;
    --pull-local) pull_local=true ;;
    --push-remote) push_remote=true ;;
    --dry-run) dry_run=true ;;
    --target)
      [ -n "${2:-}" ] || fail 2 "--target: expected a name, got nothing; --help says more"
      target=$2
      shift
      ;;
    --help)
      usage
      exit 0
      ;;
    *) fail 2 "unknown argument \"$1\"; --help lists what there is" ;;
  esac
  shift
done
if $push_local && $push_remote; then fail 2 "expected --push-local or --push-remote, got both"; fi
if $pull_local && ! $push_local; then fail 2 "--pull-local pulls what --push-local pushes: give both"; fi

scripts/container-tools.sh docker
if $pull_local; then scripts/container-tools.sh podman; fi

vars=operators/vars-base.hcl
if $push_local; then vars=operators/vars-local.hcl; fi
if $push_remote; then vars=operators/vars-prod.hcl; fi

VERSION=$(node -p 'require("./package.json").version')
REVISION=${REVISION:-$(git rev-parse HEAD 2>/dev/null || true)}
# Of a clone without an address of its own, nothing is said.
SOURCE=${SOURCE:-$(git remote get-url origin 2>/dev/null | grep -E '^https?://' || true)}
export VERSION REVISION SOURCE

mkdir -p build-images
node operators/images.mjs labels >build-images/labels.json
files=(--file operators/docker-bake.hcl --file "$vars" --file build-images/labels.json)
if [ -n "${CI_CACHE:-}" ]; then files+=(--file operators/vars-ci.hcl); fi
bake=(docker buildx bake "${files[@]}")

if [ -n "$target" ]; then
  known=$("${bake[@]}" --print bases operators 2>/dev/null | node operators/images.mjs targets)
  case " $known " in
    *" $target "*) ;;
    *) fail 2 "--target: expected one of $known, got \"$target\"" ;;
  esac
fi
targets=("${target:-operators}")
if $build_base; then targets=(bases "${targets[@]}"); fi

if $dry_run; then
  "${bake[@]}" --print "${targets[@]}"
else
  if $push_local; then
    host=${REGISTRY:-localhost:5001}
    host=${host%%/*}
    (exec 3<>"/dev/tcp/${host%:*}/${host##*:}") 2>/dev/null ||
      fail 1 "no registry answers at $host; start one: docker run --detach --publish 5001:5000 --name registry registry:2"
  fi
  scripts/prepare-images.sh operators
  if $build_base; then
    scripts/prepare-images.sh bases
  elif [ ! -e build-images/package/stemline.tgz ]; then
    fail 1 "the base images have not been built from this folder yet: give --build-base, too"
  fi
  push=()
  if $push_local || $push_remote; then push=(--push); fi
  "${bake[@]}" --provenance=false "${push[@]}" "${targets[@]}"
fi

if $pull_local; then
  pulls=$("${bake[@]}" --print "${targets[@]}" 2>/dev/null | node operators/images.mjs pulls)
  while read -r pushed name; do
    # A registry on this machine has no certificate.
    case $pushed in localhost:* | 127.0.0.1:*) tls=false ;; *) tls=true ;; esac
    if $dry_run; then
      echo "podman pull --tls-verify=$tls $pushed, then called $name"
    else
      # Podman refuses a Docker configuration folder without a config.json; it has credentials of its own.
      env -u DOCKER_CONFIG podman pull --quiet --tls-verify="$tls" "$pushed" >/dev/null
      podman tag "$pushed" "$name"
      echo "podman has $name"
    fi
  done <<<"$pulls"
fi
