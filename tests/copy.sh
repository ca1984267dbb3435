# A copy of the project as it was committed last, to break on purpose: mutants.sh and scenarios.sh read this. It leaves $project, $copy, and
# a build of its own beside the project's.
project=$(pwd)
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT INT TERM
CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$project/target}/mutants
RUST_BACKTRACE=0
export CARGO_TARGET_DIR RUST_BACKTRACE
git archive HEAD | tar -x -C "$copy"

# lay PATCH: puts a patch of tests/mutants on the copy; lift PATCH takes it off again.
lay() { patch -s -p1 -d "$copy" <"$project/tests/mutants/$1.patch" || exit 2; }
lift() { patch -s -R -p1 -d "$copy" <"$project/tests/mutants/$1.patch" || exit 2; }

# tested CRATE TARGET…: runs tests of the copy into $log; 124: they do not end.
tested() { (cd "$copy" && timeout "${LOCKSTEP_MUTANT_S:-300}" cargo test --profile sim -p "$@") >"$log" 2>&1; }

# built CRATE TARGET…: a copy that does not compile has caught nothing.
built() { (cd "$copy" && cargo test --profile sim -p "$@" --no-run) >"$log" 2>&1 || { cat "$log"; exit 2; }; }
