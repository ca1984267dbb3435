//! Seeds: two thousand in a usual run of the tests, any number by command; a failing one is made shorter, printed, and replays
//! exactly.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::author::script;
use crate::machine::Sabotage;
use crate::reckoning::Tally;
use crate::run::perform;
use crate::script::Script;
use crate::shrink::shrink;

/// So many seeds reach everything that is on the list of coverage.
const COVERING: u64 = 2000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

fn perform_caught(script: &Script, trace: bool) -> Result<Tally, String> {
    catch_unwind(AssertUnwindSafe(|| perform(script, trace))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        Err(text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned())).unwrap_or_else(|| "panicked".into()))
    })
}

fn run(seed: u64, sabotage: Sabotage) -> Result<Tally, String> {
    perform_caught(&script(seed, sabotage), false)
}

/// What is told of a seed that failed: how it fails, and the shortest script that was found to fail.
fn report(seed: u64, why: &str, trace: bool) -> String {
    let (shorter, its_why) =
        shrink(script(seed, Sabotage::Nothing), why.to_owned(), |script| perform_caught(script, false).err());
    if trace {
        println!("Made shorter:\n{shorter}");
        let _ = perform_caught(&shorter, true);
    }
    format!("LOCKSTEP_SIM_SEED={seed} replays this: {why}\n\nMade shorter, it fails so: {its_why}\n{shorter}")
}

/// A long run tells after so many seeds where it is.
const TOLD_EVERY: u64 = 10_000;

/// Runs the seeds on all cores, or replays the one that is asked for.
fn all_seeds(usual: u64) -> Tally {
    if let Some(seed) = number("LOCKSTEP_SIM_SEED") {
        let script = script(seed, Sabotage::Nothing);
        println!("{script}");
        // What happens is told step by step: the seed's own story first, then the shorter one's.
        return perform_caught(&script, true).unwrap_or_else(|why| panic!("{}", report(seed, &why, true)));
    }
    let seeds = number("LOCKSTEP_SIM_SEEDS").unwrap_or(usual);
    let first = number("LOCKSTEP_SIM_FIRST").unwrap_or(0);
    let sum = Mutex::new(Tally::default());
    let failure = Mutex::new(None);
    let (next, stop) = (AtomicU64::new(first), AtomicBool::new(false));
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + seeds {
                        return;
                    }
                    if seeds > TOLD_EVERY && seed.is_multiple_of(TOLD_EVERY) {
                        println!("at seed {seed}");
                    }
                    match run(seed, Sabotage::Nothing) {
                        Ok(tally) => sum.lock().unwrap().add(&tally),
                        Err(why) => {
                            stop.store(true, Ordering::Relaxed);
                            let first: &mut Option<(u64, String)> = &mut failure.lock().unwrap();
                            // Of two that fail side by side the lower is told.
                            if first.as_ref().is_none_or(|(lower, _)| seed < *lower) {
                                *first = Some((seed, why));
                            }
                        }
                    }
                }
            });
        }
    });
    if let Some((seed, why)) = failure.into_inner().unwrap() {
        panic!("{}", report(seed, &why, false));
    }
    let sum = sum.into_inner().unwrap();
    let Tally { lives, ops, committed, rolled_back, rewritten, .. } = &sum;
    println!(
        "{seeds} seeds: {lives} kills, {ops} operations, of which {committed} committed and {rolled_back} were rolled back; \
         {rewritten} written again\n{}",
        sum.coverage
    );
    if seeds >= COVERING {
        let missing = sum.coverage.missing();
        assert!(missing.is_empty(), "{seeds} seeds never reached: {missing:#?}");
    }
    sum
}

/// P1 to P4 under lost replies, failures, outages, late requests, outside writers, restored copies and kills at any step: where
/// the log orders everything, every answer is foretold; elsewhere nothing dangles and no promise is taken back.
#[test]
fn p1_to_p4_hold_for_every_seed() {
    let sum = all_seeds(COVERING);
    if number("LOCKSTEP_SIM_SEED").is_none() {
        assert!(sum.lives > 0 && sum.rolled_back > 0 && sum.rewritten > 0, "the runs reach what they are for: {sum:?}");
    }
}

/// A seed says the same twice, down to the last step and the last record.
#[test]
fn a_seed_replays_exactly() {
    for seed in 0..200 {
        let (one, two) = (run(seed, Sabotage::Nothing), run(seed, Sabotage::Nothing));
        assert_eq!(one, two, "seed {seed}");
    }
}

fn caught_within(seeds: u64, sabotage: Sabotage) -> Option<(u64, String)> {
    (0..seeds).find_map(|seed| Some((seed, run(seed, sabotage).err()?)))
}

/// Negative control: a checkpoint that lets intents go before the points are durable is noticed.
#[test]
fn a_lying_checkpoint_is_caught() {
    let caught = caught_within(200, Sabotage::LyingCheckpoint);
    println!("caught by seed {caught:?}");
    assert!(caught.is_some());
}

/// Negative control: answers that do not wait for their end marks are noticed, and told by a script that can be read.
#[test]
fn answers_before_their_marks_are_caught() {
    let (seed, why) = caught_within(200, Sabotage::EagerAnswers).expect("it is caught");
    let whole = script(seed, Sabotage::EagerAnswers);
    let (shorter, its_why) = shrink(whole.clone(), why, |script| perform_caught(script, false).err());
    println!("caught by seed {seed}: {its_why}\n{shorter}");
    assert!(shorter.length() < 16 && shorter.length() < whole.length(), "{} of {}", shorter.length(), whole.length());
}
