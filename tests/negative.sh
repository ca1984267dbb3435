#!/bin/sh
# The tests of the tests: builds a daemon that breaks its promises on demand (feature fault-injection), lays it into a
# folder of its own, and runs the kill and power-cut tests against it. They pass when the faults are caught. As root for the power cuts.
set -eu
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
# With the workspace's features, so that nothing but Lockstep itself is built again.
cargo build --workspace --all-targets --features lockstep-daemon/fault-injection
mkdir -p "$target/faulty"
cp "$target/debug/lockstepd" "$target/faulty/lockstepd"
cargo build --workspace --all-targets
LOCKSTEP_FAULTY_BIN=$(cd "$target/faulty" && pwd)
export LOCKSTEP_FAULTY_BIN
exec cargo test --workspace --test main -- --nocapture --test-threads 1 catches
