# Two commands do all the set-up on a fresh machine: `make demo` and `make test`. `make help` lists the others.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.PHONY: help build demo test test-unit test-native test-instructions test-addon test-addon-cuda test-node24 test-package test-images lint format tools
.PHONY: prebuilds prebuild-x64 prebuild-arm64 container-tools setup operators operator operator-named push-operators
.PHONY: bench bench-host soak clean

NPX := npx --no-install
OUT ?= out/demo
ARCH := $(shell node -p process.arch)

NATIVE_SOURCES := $(shell find native -type f) binding.gyp
TS_SOURCES := $(shell find src -name '*.ts') tsdown.config.ts

help:
	@echo "make demo      simulate a counted 4D-STEM scan, run the centre-of-mass pipeline over it, leave pictures in $(OUT)"
	@echo "make test      all tests: unit, golden data, command line, operator host, C++ with sanitizers, fuzzers, emulated NEON, instruction counts"
	@echo "make lint      format, lint and type checks"
	@echo "make bench     speed of every backend and of the whole path, beside the machine's limits"
	@echo "make bench-host  speed, latency and memory of operator processes, beside the limit of the transport"
	@echo "make soak      ten minutes of an operator at full speed: nothing lost, memory flat"
	@echo "make build     the addon and dist/"
	@echo "make setup     all that needs the network before images can be built; says what has to be installed for that"
	@echo "make operators   images of all operators, in podman; make operator target=NAME: of one"
	@echo "make push-operators  the same for amd64 and arm64, to the registry that everybody uses"
	@echo "make prebuilds   prebuild-x64 and prebuild-arm64: the addon as the npm package ships it, each checked"
	@echo "make test-package  the npm package installed without a compiler, on Node 20, 22 and 24"
	@echo "make test-images   the images built, and run by docker and podman in a pipeline"
	@echo "make tools     Debian packages that tests and benchmarks need (as root)"
	@echo "make clean     remove what was built"

# No install script of a dependency is needed, none is run.
node_modules/.package-lock.json: package-lock.json
	npm ci --ignore-scripts --no-audit --no-fund
	@touch $@

build/Release/stemline.node: node_modules/.package-lock.json $(NATIVE_SOURCES)
	node scripts/build-addon.mjs

dist/cli/main.js: node_modules/.package-lock.json $(TS_SOURCES)
	$(NPX) tsdown --log-level warn
	@touch $@

build: build/Release/stemline.node dist/cli/main.js

demo: build
	@mkdir -p $(OUT)
	node dist/cli/main.js simulate $(OUT)/lattice.h5 --scan 512x512 --dose 100 --seed 2026
	node dist/cli/main.js run pipelines/center-of-mass.json --out $(OUT) \
	  --set distiller-counted-data-reader.raw_data_dir=$(OUT) \
	  --set distiller-counted-data-reader.filename=lattice.h5 \
	  --set distiller-counted-data-reader.batch_size_mb=8

tools:
	scripts/install-tools.sh

test: lint test-unit test-native test-instructions test-addon test-addon-cuda

test-unit: build tools
	$(NPX) vitest run --reporter=default --reporter=json --outputFile.json=build-test/vitest.json

test-native: tools
	scripts/test-native.sh

test-instructions: node_modules/.package-lock.json tools
	npm run --silent count-instructions

test-addon: build tools
	scripts/test-addon-asan.sh

test-addon-cuda: build tools
	scripts/test-addon-cuda.sh

test-node24: build tools
	scripts/test-node24.sh

prebuilds: prebuild-x64 prebuild-arm64
prebuild-x64: prebuilds/linux-x64/stemline.node
prebuild-arm64: prebuilds/linux-arm64/stemline.node

prebuilds/linux-%/stemline.node: $(NATIVE_SOURCES) | dist/cli/main.js tools
	scripts/prebuild.sh $*

test-package: dist/cli/main.js prebuild-x64
	scripts/test-package.sh

container-tools:
	@scripts/container-tools.sh docker podman

setup: container-tools dist/cli/main.js prebuild-$(ARCH)
	scripts/prepare-images.sh bases operators

operators: setup
	operators/bake.sh --build-base --push-local --pull-local

operator: operator-named setup
	operators/bake.sh --build-base --push-local --pull-local --target "$(target)"

operator-named:
	@[ -n "$(target)" ] || { echo "expected a name, as in: make operator target=center-of-mass-partial" >&2; exit 2; }

push-operators: setup prebuilds
	operators/bake.sh --build-base --push-remote

test-images: dist/cli/main.js prebuilds tools
	@$(MAKE) --no-print-directory setup
	$(NPX) vitest run --config vitest.images.config.ts

lint: node_modules/.package-lock.json
	$(NPX) biome check .
	$(NPX) tsc --noEmit

format: node_modules/.package-lock.json
	$(NPX) biome check --write .

bench: build tools
	npm run bench

bench-host: build tools
	npm run bench:host

soak: build tools
	npm run soak

clean:
	rm -rf build build-* dist out prebuilds
