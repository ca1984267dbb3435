# A copy of the project as it was committed last, to break on purpose: mutants.sh and scenarios.sh read this. It leaves $project, $copy, $log, and
# a build of its own beside the project's.
project=$(pwd)
copy=$(mktemp -d)
log=$copy/log
trap 'rm -rf "$copy"' EXIT
trap 'exit 130' INT TERM
CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$project/target}/mutants
LOCKSTEP_MUTANT_S=${LOCKSTEP_MUTANT_S:-300}
RUST_BACKTRACE=0
export CARGO_TARGET_DIR RUST_BACKTRACE
# Every file is as of now (-m): cargo would take what an earlier run has built from a broken one for the same.
git archive HEAD | tar -x -m -C "$copy"
missed=0
hung=0

# lay PATCH: puts a patch of tests/mutants on the copy; lift PATCH takes it off again.
lay() { patch -s -p1 -d "$copy" <"$project/tests/mutants/$1.patch" || exit 2; }
lift() { patch -s -R -p1 -d "$copy" <"$project/tests/mutants/$1.patch" || exit 2; }

# caught_by PATCH: the tests and the test among them that its second line names, as $crate and $test; nothing if it names none.
caught_by() {
    named=$(sed -n '2s/^Caught by: //p' "$project/tests/mutants/$1.patch")
    crate=${named%%: *}
    test=${named#*: }
}

# aim CRATE: what cargo is told to run its tests, as $target, and what has to be built beside them, as $beside. What needs the databases is built
# as .ci/run builds it.
aim() {
    beside=
    case $1 in
    lockstep-engine) target="--profile sim -p lockstep-engine --test simulation ${quick:-}" ;;
    lockstep-wal) target="--profile sim -p lockstep-wal --test wal ${quick:-}" ;;
    lockstep-wal/schedules) target="-p lockstep-wal --features schedules --test schedules" ;;
    lockstep-model) target="--profile sim -p lockstep-model --lib ${quick:-}" ;;
    lockstep-stores)
        target="--workspace --test documents --test vectors"
        beside="--bin test-surreal --bin test-qdrant"
        ;;
    lockstep-api) target="--workspace --test client" ;;
    lockstep-daemon) target="--workspace --lib" ;;
    lockstep-tests)
        target="--workspace --test main"
        beside="--bins"
        ;;
    *) echo "$1: its tests are not known here"; exit 2 ;;
    esac
}

# built: builds what was aimed at; a copy that does not compile has caught nothing.
# shellcheck disable=SC2086
built() {
    (
        cd "$copy" || exit 2
        [ -z "$beside" ] || cargo build $target $beside || exit 2
        cargo test $target --no-run
    ) >"$log" 2>&1 || { cat "$log"; exit 2; }
}

# tested ARGUMENT…: runs what was aimed at. Leaves the failing tests in $failing, and yes in $hangs if it did not end in time. Whatever else went
# wrong (a full disk, a cargo that was killed) says nothing of the patch.
# shellcheck disable=SC2086
tested() {
    (cd "$copy" && exec timeout "$LOCKSTEP_MUTANT_S" cargo test $target "$@") >"$log" 2>&1
    code=$?
    failing=$(sed -n 's/^test \(.*\) \.\.\. FAILED$/\1/p' "$log" | sort -u | tr '\n' ' ')
    hangs=
    [ $code -ne 124 ] || hangs=yes
    [ $code -eq 0 ] || [ -n "$hangs$failing" ] || { tail -n 40 "$log"; echo "neither passed nor failed"; exit 2; }
}

# passes ARGUMENT…: the same of the copy without a patch, which has to pass: no failure says anything otherwise.
passes() {
    tested "$@"
    [ -z "$hangs$failing" ] && return
    tail -n 40 "$log"
    echo "without a patch: ${failing:-does not end within $LOCKSTEP_MUTANT_S s}"
    exit 2
}

# sound PATCH…: each test that these patches name is there, and passes without them.
sound() {
    for patch in "$@"; do
        caught_by "$patch"
        echo "$crate $test"
    done | sort -u >"$copy/named"
    for crate in $(cut -d ' ' -f 1 "$copy/named" | uniq); do
        tests=$(sed -n "s,^$crate ,,p" "$copy/named")
        aim "$crate"
        built
        # shellcheck disable=SC2086
        passes -- $tests
        for test in $tests; do
            grep -q "^test .*$test.* \.\.\. ok$" "$log" || { echo "$crate has no test $test"; exit 2; }
        done
    done
}

# verdict NAME CAUGHT HUNG: says what came of a patch, and counts. What only hangs is not caught: a test with a deadline would catch it.
verdict() {
    if [ -n "$2" ]; then
        echo "$1: $2${3:+; hung: $3}"
    elif [ -n "$3" ]; then
        echo "$1: HUNG for $LOCKSTEP_MUTANT_S s, nothing failed: $3"
        hung=$((hung + 1))
    else
        echo "$1: NOT CAUGHT"
        missed=$((missed + 1))
    fi
}

# told: how it went.
told() { [ "$missed$hung" = 00 ] || { echo "$missed not caught, $hung hung"; exit 1; }; }
