#!/bin/sh
# The fixes of docs/scenarios.md taken out on purpose: lays each patch of tests/mutants/scenarios on a copy of the project, and runs the test
# that its second line names, which has to fail. Says for each what failed; what hangs is caught, too (LOCKSTEP_MUTANT_S, 100 seconds).
# With names of patches as arguments, only those.
set -u
cd "$(dirname "$0")/.."
. tests/copy.sh
# The tests are short: to optimise the engine for each of them would take longer than they do.
quick="--config profile.sim.package.lockstep-engine.opt-level=0"
LOCKSTEP_MUTANT_S=${LOCKSTEP_MUTANT_S:-100}
[ $# -gt 0 ] || set -- tests/mutants/scenarios/*.patch
missed=0
for patch in "$@"; do
    name=$(basename "$patch" .patch)
    caught_by=$(sed -n '2s/^Caught by: //p' "tests/mutants/scenarios/$name.patch")
    crate=${caught_by%%: *}
    test=${caught_by#*: }
    case $crate in
    lockstep-engine) target="--test simulation" ;;
    lockstep-wal) target="--test wal" ;;
    lockstep-model) target="--lib" ;;
    *) echo "$name: the second line names no crate with tests"; exit 2 ;;
    esac
    log=$copy/$name.log
    lay "scenarios/$name"
    # shellcheck disable=SC2086
    built "$crate" $target $quick
    # shellcheck disable=SC2086
    tested "$crate" $target $quick "$test"
    code=$?
    failed=$(sed -n 's/^test \(.*\) \.\.\. FAILED$/\1/p' "$log" | sort | tr '\n' ' ')
    case $code in
    0)
        echo "$name: NOT CAUGHT by $test"
        missed=$((missed + 1))
        ;;
    124) echo "$name: $test does not end" ;;
    *) [ -n "$failed" ] || { cat "$log"; exit 2; }
        echo "$name: $failed"
        ;;
    esac
    lift "scenarios/$name"
done
[ "$missed" -eq 0 ] || { echo "$missed not caught"; exit 1; }
