#!/bin/sh
# The tests of the tests: runs the kill and power-cut tests and the campaign against a daemon that breaks its promises on demand, as every debug build
# can be asked to. They pass when the faults are caught. As root for the power cuts.
set -eu
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
cargo build --workspace --all-targets
LOCKSTEP_FAULTY_BIN=$(cd "$target/debug" && pwd)
LOCKSTEP_NEGATIVE_CYCLES=${LOCKSTEP_NEGATIVE_CYCLES:-80}
export LOCKSTEP_FAULTY_BIN LOCKSTEP_NEGATIVE_CYCLES
exec cargo test --workspace --test main -- --nocapture --test-threads 1 catches
