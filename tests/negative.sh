#!/bin/sh
# The tests of the tests: builds a daemon that breaks its promises on demand (feature fault-injection) into a folder of
# its own, and runs the kill and power-cut tests against it. They pass when the faults are caught. Run as root for the power cuts.
set -eu
cd "$(dirname "$0")/.."
target=${LOCKSTEP_FAULTY_TARGET:-target/faulty}
cargo build --workspace
cargo build -p lockstep-daemon --features fault-injection --target-dir "$target"
LOCKSTEP_FAULTY_BIN=$(cd "$target" && pwd)/debug
export LOCKSTEP_FAULTY_BIN
exec cargo test -p lockstep-tests --test main catches -- --nocapture --test-threads 1
