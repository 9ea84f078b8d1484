# What one does with this repository. CI calls these targets too (.ci/run).
#
#   make up ARGS="--shards 5 --memory 1gb"

SHELL := /bin/bash
.DEFAULT_GOAL := help
# The steps of `test` share cargo's build lock and two cores: one after the other, the cheapest first.
.NOTPARALLEL:
.PHONY: help up build fmt lint unit doctest doc e2e sim model deny test bench microbench scaling failover

ARGS ?=
SEEDS ?= 10000
FIRST ?= 1
SEED ?=

help: ## Print this list
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

up: ## Build and run a whole cluster in one process; ARGS="..." goes to `larder-node dev`
	@tools/need cargo cc
	cargo build --release --package larder-node
	@target/release/larder-node dev $(ARGS)

build: ## Build every crate and program, as the tests use them
	@tools/need cargo cc
	cargo build --workspace

fmt: ## Format the code
	@tools/need cargo rustfmt
	cargo fmt --all

lint: ## Check the formatting and clippy's lints
	@tools/need cargo cc rustfmt clippy
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

unit: ## Run the unit and property tests
	@tools/need cargo cc
	tools/nextest 'not package(larder-tests)'

doctest: ## Run the examples in the documentation
	@tools/need cargo cc
	cargo test --workspace --doc

doc: ## Build the API documentation
	@tools/need cargo cc
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

e2e: build ## Run the end-to-end tests: real processes, real clients, a real Redis and a real etcd
	@tools/need etcd redis-server redis-cli redis-benchmark memcached python3 venv
	@tools/venv >/dev/null
	tools/nextest 'package(larder-tests)' $(ARGS)

sim: ## Simulate shards in trouble: SEEDS=n tries so many seeds, from FIRST=n on; SEED=n shows all of one
	@tools/need cargo cc
	LARDER_SIM_SEEDS=$(SEEDS) LARDER_SIM_FIRST=$(FIRST) LARDER_SIM_SEED=$(SEED) cargo test --profile sim \
	    --package larder-tests --test sim what_must_hold -- --nocapture

model: ## Check the election exhaustively, within the bounds that take some minutes
	@tools/need cargo cc
	cargo test --profile sim --package larder-tests --test election_model -- --include-ignored --nocapture --test-threads 1

test: lint unit doctest doc e2e ## Everything that must hold before a change lands

deny: ## Check licences, bans and sources of the dependencies (needs cargo-deny)
	@cargo deny --version >/dev/null 2>&1 || { echo "cargo-deny is missing: cargo install --locked cargo-deny" >&2; exit 1; }
	cargo deny check licenses bans sources

bench: ## Measure against Redis, memcached and twemproxy, and print tables; ARGS="node" prints one, ARGS="--help" says which
	@tools/need cargo cc redis-server memcached nutcracker etcd taskset python3
	tools/bench $(ARGS)

microbench: ## Time each operation of the engine by itself; ARGS="get" times those whose names have it
	@tools/need cargo cc
	cargo run --release --package larder-node --example microbench -- --bench $(ARGS)

scaling: ## Compare the engine's operations on two cores with those on one; ARGS="15 300 2000000": rounds, ms, entries
	@tools/need cargo cc
	cargo run --release --package larder-node --example scaling $(ARGS)

failover: ## Kill primaries under load, 20 times, and print the outages and what was lost; ARGS="..." goes to `larder-bench failover`
	@tools/need cargo cc etcd
	cargo build --release --package larder-bench --package larder-node
	@target/release/larder-bench failover --shards 3 --members 2 --kills 20 --outage-median-max 600ms --outage-max 1s $(ARGS)
