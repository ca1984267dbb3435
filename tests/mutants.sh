#!/bin/sh
# Bugs put in on purpose: lays each patch of tests/mutants on a copy of the project, and runs the simulation, which has to fail, or the test that
# the patch's second line names. Says for each which seed and which tests failed, and what did not end (LOCKSTEP_MUTANT_S, 300 seconds). The copy
# without a patch has to pass first. With names of patches as arguments, only those. LOCKSTEP_SIM_SEEDS says how many seeds each gets.
set -u
cd "$(dirname "$0")/.." || exit 2
. tests/copy.sh
LOCKSTEP_SIM_SEEDS=${LOCKSTEP_SIM_SEEDS:-3000}
export LOCKSTEP_SIM_SEEDS
cases="--skip p1_to_p4_hold --skip are_caught --skip is_caught"
[ $# -gt 0 ] || set -- tests/mutants/*.patch

simulated=
elsewhere=
for patch in "$@"; do
    name=$(basename "$patch" .patch)
    caught_by "$name"
    if [ -n "$crate" ]; then elsewhere="$elsewhere $name"; else simulated="$simulated $name"; fi
done

# shellcheck disable=SC2086
sound $elsewhere
for name in $elsewhere; do
    lay "$name"
    caught_by "$name"
    aim "$crate"
    built
    tested "$test"
    verdict "$name" "$failing" "${hangs:+$test}"
    lift "$name"
done

aim lockstep-engine
if [ -n "$simulated" ]; then
    built
    passes p1_to_p4_hold
    # shellcheck disable=SC2086
    passes -- $cases
fi
for name in $simulated; do
    lay "$name"
    built
    tested p1_to_p4_hold
    # A seed counts with its number alone: the test also fails when a line of the list of coverage was not reached.
    seed=$(sed -n 's/^LOCKSTEP_SIM_SEED=\([0-9][0-9]*\) replays.*/seed \1/p' "$log" | head -n 1)
    grep 'seeds never reached' "$log"
    seeds_hang=${hangs:+seeds }
    # shellcheck disable=SC2086
    tested -- $cases
    caught=
    [ -z "$seed$failing" ] || caught="${seed:-no seed}; cases: ${failing:-none}"
    verdict "$name" "$caught" "$seeds_hang${hangs:+cases}"
    lift "$name"
done
told
