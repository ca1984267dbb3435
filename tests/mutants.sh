#!/bin/sh
# Bugs put in on purpose: lays each patch of tests/mutants on a copy of the project, and runs the simulation, which has to fail.
# Says for each what caught it; what hangs is caught, too (LOCKSTEP_MUTANT_S, 300 seconds). With names of patches as arguments, only those. LOCKSTEP_SIM_SEEDS says how many seeds each gets.
set -u
cd "$(dirname "$0")/.."
project=$(pwd)
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT INT TERM
CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$project/target}/mutants
LOCKSTEP_SIM_SEEDS=${LOCKSTEP_SIM_SEEDS:-3000}
RUST_BACKTRACE=0
export CARGO_TARGET_DIR LOCKSTEP_SIM_SEEDS RUST_BACKTRACE
git archive HEAD | tar -x -C "$copy"
[ $# -gt 0 ] || set -- tests/mutants/*.patch
missed=0
for patch in "$@"; do
    name=$(basename "$patch" .patch)
    patch -s -p1 -d "$copy" <"$project/tests/mutants/$name.patch" || exit 2
    log=$copy/$name.log
    (cd "$copy" && cargo test --profile sim -p lockstep-engine --test simulation --no-run) >"$log" 2>&1 || { cat "$log"; exit 2; }
    simulation() { (cd "$copy" && timeout "${LOCKSTEP_MUTANT_S:-300}" cargo test --profile sim -p lockstep-engine --test simulation "$@") >"$log" 2>&1; }
    caught=
    simulation p1_to_p4_hold
    case $? in
    0) ;;
    124) caught="the seeds do not end" ;;
    *) caught="seed $(sed -n 's/^LOCKSTEP_SIM_SEED=\([0-9]*\) .*/\1/p' "$log" | head -n 1)" ;;
    esac
    simulation -- --skip p1_to_p4_hold --skip are_caught --skip is_caught
    case $? in
    0) ;;
    124) caught="$caught; the cases do not end" ;;
    esac
    cases=$(sed -n 's/^test \(.*\) \.\.\. FAILED$/\1/p' "$log" | sort | tr '\n' ' ')
    if [ -n "$caught$cases" ]; then
        echo "$name: ${caught:-no seed}; cases: ${cases:-none}"
    else
        echo "$name: NOT CAUGHT"
        missed=$((missed + 1))
    fi
    patch -s -R -p1 -d "$copy" <"$project/tests/mutants/$name.patch" || exit 2
done
[ "$missed" -eq 0 ] || { echo "$missed not caught"; exit 1; }
