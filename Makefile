# One word each; CI says `make ci` and nothing else. Only `deny` and `advisories` need more than a Rust toolchain.
.PHONY: run test check tidy conformance storm chaos soak peers programs sweep fuzz miri bench figures docs deny advisories ci cargo-deny
.NOTPARALLEL:
ARGS ?= --procs 4
comma := ,

run: ; @cargo build --release --locked && cargo run --release --locked --quiet -- $(ARGS)
test: ; cargo test --locked --workspace -- --quiet && cargo test --locked --workspace --features brigade/tracing --test traced -- --quiet && BRIGADE_START_METHOD=spawn cargo test --locked --package brigade --test pool --test cancel --test surface --test executors --test actors --test hybrid --test ahead --test queues --test sync -- --quiet
check: ; cargo fmt --all --check && for apart in bench fuzz; do cargo metadata --locked --format-version 1 --manifest-path $$apart/Cargo.toml >/dev/null || exit 1; done && cargo clippy --locked --workspace --all-targets -- -D warnings && cargo clippy --locked --workspace --all-targets --features brigade-core/seeded-bugs,brigade/tracing -- -D warnings
tidy: ; cargo test --locked --test main -- --quiet tidy::
# The scenarios of the peers' own suites in full: 10,000 calls of one worker each, an argument of 2.2 GB (7 GB of memory).
conformance: ; CONFORMANCE=full cargo test --release --locked --package brigade --test conformance -- --nocapture
storm: ; STORM_SCHEDULES=1000000 cargo test --release --locked --package brigade-core --test storms -- --nocapture && cargo test --release --locked --package brigade-core --features seeded-bugs --test seeded_bugs -- --nocapture && MALFORMED=10000000 cargo test --release --locked --package brigade-wire --test malformed -- --nocapture && BENT=1000000 cargo test --release --locked --package brigade-journal --test bent -- --nocapture && cargo build --release --locked --example stunt && GARBAGE=1000000 cargo test --release --locked --test main -- --nocapture malformed_frames_of_many_kinds
# 10,000 faults over 1,000,000 tasks; a seed is drawn and printed, `make chaos SEED=7` throws that one's again.
chaos: ; @cargo build --release --locked && cargo run --release --locked --quiet -- --chaos 10_000$(if $(SEED),$(comma)$(SEED)) --procs 4 --range 0..1_000_000_000 --tasks 1_000_000 --state-dir target/chaos
# 100,000 restarts, and the supervisor is as it was; 2,000 of these are in `make test`.
soak: ; SOAK=100000 cargo test --release --locked --test main -- --nocapture --test-threads 1 soak::
# One kill -9, beside the pools of Python; needs python3 with venv, and PyPI the first time. Who cannot be had is left out.
PEERS := target/peers
peers: ; @command -v python3 >/dev/null || { echo "python3 is not installed" >&2; exit 1; }; cargo build --release --locked && { [ -x $(PEERS)/bin/python ] || python3 -m venv $(PEERS); } && { $(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check -r tests/peers/requirements.txt || echo "peers: not all could be installed" >&2; } && $(PEERS)/bin/python tests/peers/peers.py $${CARGO_TARGET_DIR:-target}/release/supervisor
# The programs of the articles, as large as there, with our times beside theirs; small ones are in `make test`.
programs: ; @cargo build --profile programs --locked --package brigade --examples && ARTICLE_SIZES=1 cargo test --profile programs --locked --quiet --package brigade --test programs -- --nocapture
# The supervisor is killed at each of its system calls and resumed; needs strace. Some forty of these are in `make test`.
sweep: ; @command -v strace >/dev/null || { echo "strace is not installed: apt-get install strace" >&2; exit 1; }; SWEEP_POINTS=all cargo test --release --locked --test main -- --nocapture sweep::
# Needs cargo-fuzz (and a C++ compiler for libFuzzer), but no nightly: the variable lets the stable toolchain pass its flags on.
FUZZ_SECONDS ?= 60
fuzz: ; @command -v cargo-fuzz >/dev/null || { echo "cargo-fuzz is not installed: cargo install cargo-fuzz --locked" >&2; exit 1; }; for target in frames records journal; do RUSTC_BOOTSTRAP=1 cargo fuzz run $$target -- -max_total_time=$(FUZZ_SECONDS) -max_len=8192 || exit 1; done
# Needs `rustup component add miri rust-src --toolchain nightly`. It knows no memfd, no mapping of files and no clone: so only what
# the pages do with their memory, which is where two processes meet without a lock.
miri: ; @cargo +nightly miri --version >/dev/null 2>&1 || { echo "miri is not installed: rustup component add miri rust-src --toolchain nightly" >&2; exit 1; }; MIRIFLAGS=-Zmiri-disable-isolation RUSTFLAGS=--cfg=rustix_use_libc cargo +nightly miri test --locked --package brigade-os --lib --target-dir target/miri page::interpreted
# Pools beside their peers, in one run, into docs/BENCHMARKS.md; the peers of Python as above.
bench: ; cargo build --release --locked --manifest-path bench/Cargo.toml --target-dir target/bench && { [ -x $(PEERS)/bin/python ] || python3 -m venv $(PEERS); } && { $(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check -r bench/requirements.txt || echo "bench: not all peers could be installed" >&2; } && target/bench/release/brigade-bench $(PEERS)/bin/python > target/bench/BENCHMARKS.md && mv target/bench/BENCHMARKS.md docs/
figures: ; cargo build --release --locked --example stunt && cargo bench --locked --bench figures
docs: ; RUSTDOCFLAGS=-Dwarnings cargo doc --locked --workspace --no-deps
deny: cargo-deny ; cargo deny --locked --workspace check bans licenses sources
advisories: cargo-deny ; cargo deny --locked --workspace check advisories
ci: check test storm docs $(if $(shell command -v cargo-deny),deny) ; @command -v cargo-deny >/dev/null || echo "ci: passed, but 'make deny' was left out: cargo-deny is not installed"
cargo-deny: ; @command -v cargo-deny >/dev/null || { echo "cargo-deny is not installed: cargo install cargo-deny --locked" >&2; exit 1; }
