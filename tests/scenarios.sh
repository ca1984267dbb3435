#!/bin/sh
# The fixes of docs/scenarios.md taken out on purpose: lays each patch of tests/mutants/scenarios on a copy of the project, and runs the test
# that its second line names, which has to fail. Says for each what failed, and what did not end (LOCKSTEP_MUTANT_S, 300 seconds). Without a
# patch each of these tests has to pass first. With names of patches as arguments, only those.
set -u
cd "$(dirname "$0")/.." || exit 2
# The tests are short: to optimise the engine for each of them would take longer than they do.
quick="--config profile.sim.package.lockstep-engine.opt-level=0"
. tests/copy.sh
[ $# -gt 0 ] || set -- tests/mutants/scenarios/*.patch
names=
for patch in "$@"; do
    names="$names scenarios/$(basename "$patch" .patch)"
done
# shellcheck disable=SC2086
sound $names
for name in $names; do
    caught_by "$name"
    aim "$crate"
    lay "$name"
    built
    tested "$test"
    verdict "${name#scenarios/}" "$failing" "${hangs:+$test}"
    lift "$name"
done
told
