#!/usr/bin/env bash
# Installs what tests and benchmarks need beyond Node, g++ and cmake, from Debian's packages: what the C++ tests and the
# native benchmarks are built with, what counts instructions, the NATS server of the host's tests, and the libraries of a
# Python peer. Where that is not possible it says what is missing; C++ tests then name the parts they skip, the host's tests
# fail, and with CI=true so does this script.
set -euo pipefail

missing=()
need() { # package, test command
  local package=$1; shift
  "$@" >/dev/null 2>&1 || missing+=("$package")
}
need doctest-dev test -e /usr/include/doctest/doctest.h
need libbenchmark-dev test -e /usr/include/benchmark/benchmark.h
need valgrind command -v valgrind
need clang command -v clang++
need libclang-rt-14-dev bash -c 'ls /usr/lib/llvm-*/lib/clang/*/lib/linux/libclang_rt.fuzzer-*.a'
need g++-aarch64-linux-gnu command -v aarch64-linux-gnu-g++
need qemu-user command -v qemu-aarch64
need nats-server command -v nats-server
need openssl command -v openssl
need podman command -v podman
need runc command -v runc
need shellcheck command -v shellcheck
need python3-zmq /usr/bin/python3 -c "import zmq"
need python3-numpy /usr/bin/python3 -c "import numpy"

[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
  echo "Installing ${missing[*]}"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
else
  echo "Not installed: ${missing[*]}. As root: apt-get install ${missing[*]}" >&2
  [ "${CI:-}" != true ]
fi
