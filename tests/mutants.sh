#!/bin/sh
# Bugs put in on purpose: lays each patch of tests/mutants on a copy of the project, and runs the simulation, which has to fail.
# Says for each what caught it; what hangs is caught, too (LOCKSTEP_MUTANT_S, 300 seconds). With names of patches as arguments, only those. LOCKSTEP_SIM_SEEDS says how many seeds each gets.
set -u
cd "$(dirname "$0")/.."
. tests/copy.sh
LOCKSTEP_SIM_SEEDS=${LOCKSTEP_SIM_SEEDS:-3000}
export LOCKSTEP_SIM_SEEDS
[ $# -gt 0 ] || set -- tests/mutants/*.patch
missed=0
for patch in "$@"; do
    name=$(basename "$patch" .patch)
    log=$copy/$name.log
    lay "$name"
    built lockstep-engine --test simulation
    caught=
    tested lockstep-engine --test simulation p1_to_p4_hold
    case $? in
    0) ;;
    124) caught="the seeds do not end" ;;
    *) caught="seed $(sed -n 's/^LOCKSTEP_SIM_SEED=\([0-9]*\) .*/\1/p' "$log" | head -n 1)" ;;
    esac
    tested lockstep-engine --test simulation -- --skip p1_to_p4_hold --skip are_caught --skip is_caught
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
    lift "$name"
done
[ "$missed" -eq 0 ] || { echo "$missed not caught"; exit 1; }
