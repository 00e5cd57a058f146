# The words of the house. CI says the same ones: see .ci/run.
#
# Nothing here exports a variable that enters cargo's fingerprints (no RUSTFLAGS, no CXX): RocksDB takes about 35 minutes of
# CPU to compile, and it shall be compiled once, whoever asks. ccache, where it is installed, is found through PATH alone.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup demo test check package bench bench-peers torture fuzz hunt bugs

# CI passes LOCKED=--locked: there, a Cargo.lock that lags behind is an error.
LOCKED ?=
FUZZ_SECONDS ?= 60
# How long `make torture` goes on. REPEAT, if said, is what it said about an image that it judged wrong.
MINUTES ?= 3
REPEAT ?=

# Debian's folder of compiler names that go through ccache. Looked up when a recipe runs, since `setup` may create it.
RUN = if [ -d /usr/lib/ccache ]; then PATH="/usr/lib/ccache:$$PATH"; export PATH; fi;

help: ## say what can be asked
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)$$/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 20

setup: ## install what the build needs (libclang, a C++ compiler) and what the tests want (a browser), only if missing
	@.ci/setup

demo: setup ## a service with jobs, killed twice while it works: about a minute, exit code 0 only if nothing was lost
	@$(RUN) cargo build $(LOCKED) --package windlass-examples --bin shop --bin demo
	@$(RUN) cargo run $(LOCKED) --quiet --package windlass-examples --bin demo

test: setup ## the whole test suite, then storage and engine again without RocksDB
	@$(RUN) cargo test $(LOCKED) --workspace --features windlass-console/cli
	@$(RUN) cargo test $(LOCKED) --package windlass-storage --package windlass --no-default-features
	@$(RUN) cargo test $(LOCKED) --package windlass --no-default-features --features testing

check: setup ## formatting, lints and documentation, warnings as errors
	@cargo fmt --all --check
	@cargo fmt --manifest-path fuzz/Cargo.toml --check
	@for folder in rust rust/effectum rust/rustqueue; do cargo fmt --manifest-path bench/peers/$$folder/Cargo.toml --check; done
	@cargo metadata $(LOCKED) --manifest-path fuzz/Cargo.toml --format-version 1 >/dev/null
	@$(RUN) cargo clippy $(LOCKED) --workspace --features windlass-console/cli --all-targets -- -D warnings
	@# Each crate stands alone, without what others ask of what it needs.
	@$(RUN) cargo clippy $(LOCKED) --package windlass-scheduler --all-targets -- -D warnings
	@$(RUN) cargo clippy $(LOCKED) --package windlass-storage --package windlass --no-default-features --all-targets -- -D warnings
	@$(RUN) cargo clippy $(LOCKED) --package windlass --no-default-features --features testing --all-targets -- -D warnings
	@# The bank of known bugs must not rot. Not with clippy: it is a wrapper itself, and would look at all anew each time.
	@$(RUN) RUSTC_WORKSPACE_WRAPPER=$(CURDIR)/tests/bugs/rustc.sh cargo check $(LOCKED) --package windlass-scheduler \
		--package windlass-storage --package windlass
	@$(RUN) RUSTDOCFLAGS="-D warnings" cargo doc $(LOCKED) --workspace --no-deps
	@$(RUN) RUSTDOCFLAGS="-D warnings" cargo doc $(LOCKED) --package windlass --no-default-features --no-deps

package: ## the crates as they would be published, in target/package; nothing is compiled
	@cargo package $(LOCKED) --package windlass-scheduler --package windlass-storage --package windlass --package windlass-console --no-verify --allow-dirty

bench: setup ## first figures, each beside an exact-delivery check and this machine's own ceilings; ONLY=life runs one group
	@$(RUN) cargo build $(LOCKED) --release --package windlass-bench
	@$(RUN) cargo run $(LOCKED) --quiet --release --package windlass-bench

# Only what is quick and safe, and only where its tools are there: nothing is installed outside of this folder and a cache.
PEERS := bench/peers
PEERS_VENV := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/windlass-peers/venv

bench-peers: setup ## other job systems that are installed, measured beside Windlass; ONLY=beanstalkd,bullmq picks some
	@if command -v npm >/dev/null; then (cd $(PEERS)/node && npm ci --ignore-scripts --no-audit --no-fund --silent) \
		|| echo "npm ci failed in $(PEERS)/node: its peers are skipped"; fi
	@# Made once; a venv that stayed unfinished is filled the next time.
	@if ! ls $(PEERS_VENV)/lib/python3*/site-packages/celery >/dev/null 2>&1; then \
		(python3 -m venv "$(PEERS_VENV)" && "$(PEERS_VENV)/bin/pip" install --quiet -r $(PEERS)/python/requirements.txt) \
		|| echo "no venv with $(PEERS)/python/requirements.txt could be made: Celery is skipped"; fi
	@# In folders of their own, wherever CARGO_TARGET_DIR points: the driver has to find them.
	@for folder in rust rust/effectum rust/rustqueue; do \
		CARGO_TARGET_DIR="$(PEERS)/$$folder/target" cargo build --locked --quiet --release --manifest-path $(PEERS)/$$folder/Cargo.toml \
		|| echo "$(PEERS)/$$folder was not built: its peers are skipped"; done
	@$(RUN) cargo build $(LOCKED) --release --package windlass-bench
	@# Asked for its path, since CARGO_TARGET_DIR and cargo's settings may put it anywhere.
	@bench=$$($(RUN) cargo build $(LOCKED) --quiet --release --package windlass-bench --bin windlass-bench --message-format json \
		| sed -n 's/.*"executable":"\([^"]*\/windlass-bench\)".*/\1/p'); \
	python3 $(PEERS)/run.py "$$bench"

torture: setup ## kills, power cuts and simulations for MINUTES (3); exit code 0 only if nothing was lost
	@$(RUN) cargo build $(LOCKED) --package windlass-tests --bin torture
	@$(RUN) cargo run $(LOCKED) --quiet --package windlass-tests --bin torture -- $(or $(REPEAT),$(MINUTES))

fuzz: ## feed all fuzz targets for FUZZ_SECONDS (60) together, if cargo-fuzz is there; ONLY=texts feeds one
	@if ! cargo fuzz --version >/dev/null 2>&1; then \
		echo "make fuzz needs cargo-fuzz. Nothing was fuzzed (make test replays the stored inputs without it). To get it:"; \
		echo "    cargo install cargo-fuzz --locked"; \
		exit 1; \
	fi; \
	if rustup run nightly rustc --version >/dev/null 2>&1; then export RUSTUP_TOOLCHAIN=nightly; else export RUSTC_BOOTSTRAP=1; fi; \
	targets="$${ONLY:-$$(cd fuzz/fuzz_targets && ls | sed 's/[.]rs$$//')}"; \
	each=$$(( $(FUZZ_SECONDS) / $$(echo $$targets | wc -w) )); \
	$(RUN) for target in $$targets; do \
		echo "== $$target for $$each s"; \
		mkdir -p "fuzz/found/$$target"; \
		cargo fuzz run --sanitizer none "$$target" "fuzz/found/$$target" "fuzz/corpus/$$target" -- \
			-max_total_time="$$(( each > 0 ? each : 1 ))" -max_len=4096 -timeout=20 -rss_limit_mb=2048 -print_final_stats=1; \
	done

hunt: setup ## new games of the two models, CASES (100,000) of each: those of make test are always the same ones
	@$(RUN) WINDLASS_MODEL_SEED=random WINDLASS_MODEL_CASES=$(or $(CASES),100000) cargo test $(LOCKED) --package windlass-scheduler \
		--test model --test flows

bugs: setup ## the suite against every bug of the bank: all must be caught, and it says by what; ONLY=Name tries one
	@$(RUN) cargo run $(LOCKED) --quiet --package windlass-tests --bin bugs -- $(ONLY)
