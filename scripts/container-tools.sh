#!/usr/bin/env bash
# Usage: scripts/container-tools.sh docker|podman...
# Exits with 1 and says what to install where one of these cannot be used.
set -euo pipefail

missing() {
  echo "$1" >&2
  exit 1
}

for tool in "$@"; do
  case $tool in
    docker)
      command -v docker >/dev/null ||
        missing "docker is not installed. Debian: apt-get install docker.io; others: https://docs.docker.com/engine/install"
      docker buildx version >/dev/null 2>&1 ||
        missing "docker has no buildx. Debian: apt-get install docker-buildx; others: https://docs.docker.com/build/install-buildx"
      docker info >/dev/null 2>&1 ||
        missing "docker does not answer: is the engine running, and may you use it? DOCKER_HOST says where it is, if not here."
      ;;
    podman)
      command -v podman >/dev/null ||
        missing "podman is not installed. Debian: apt-get install podman; others: https://podman.io/docs/installation"
      ;;
    *)
      echo "unknown tool \"$tool\": expected docker or podman" >&2
      exit 2
      ;;
  esac
done
