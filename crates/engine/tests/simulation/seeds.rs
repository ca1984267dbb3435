//! Seeds: a thousand in CI, any number by command; a failing one is printed and replays exactly.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::clients::Style;
use crate::run::{Sabotage, Tally, run};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

fn run_caught(seed: u64, trace: bool, sabotage: Sabotage, style: Style) -> Result<Tally, String> {
    catch_unwind(AssertUnwindSafe(|| run(seed, trace, sabotage, style))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        Err(text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned())).unwrap_or_else(|| "panicked".into()))
    })
}

/// Runs the seeds on all cores, or replays the one that is asked for.
fn all_seeds(usual: u64, style: Style) -> Tally {
    if let Some(seed) = number("LOCKSTEP_SIM_SEED") {
        return run_caught(seed, true, Sabotage::Nothing, style).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
    let seeds = number("LOCKSTEP_SIM_SEEDS").unwrap_or(usual);
    let sum = Mutex::new(Tally::default());
    let next = AtomicU64::new(0);
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        return;
                    }
                    let tally = run_caught(seed, false, Sabotage::Nothing, style)
                        .unwrap_or_else(|why| panic!("LOCKSTEP_SIM_SEED={seed} replays this: {why}"));
                    sum.lock().unwrap().add(tally);
                }
            });
        }
    });
    let sum = sum.into_inner().unwrap();
    println!("{seeds} seeds: {sum:?}");
    sum
}

/// P1 to P4 under lost replies, failures, outages and kills at any step; every answer is foretold by the log's order.
#[test]
fn p1_to_p4_hold_for_every_seed() {
    let sum = all_seeds(1000, Style::Ordered);
    if number("LOCKSTEP_SIM_SEED").is_none() {
        assert!(sum.lives > 0 && sum.rolled_back > 0 && sum.rewritten > 0, "the runs reach what they are for: {sum:?}");
    }
}

/// No edge dangles and no point is orphaned, also when edges are patched, removed and made by keys of their own.
#[test]
fn p2_nothing_dangles_whatever_the_order() {
    all_seeds(300, Style::Anything);
}

/// A seed says the same twice.
#[test]
fn a_seed_replays_exactly() {
    let again = |seed| run_caught(seed, false, Sabotage::Nothing, Style::Ordered);
    for seed in 0..20 {
        let (one, two) = (again(seed), again(seed));
        assert_eq!(format!("{one:?}"), format!("{two:?}"), "seed {seed}");
    }
}

fn caught_within(seeds: u64, sabotage: Sabotage) -> Option<u64> {
    (0..seeds).find(|&seed| run_caught(seed, false, sabotage, Style::Ordered).is_err())
}

/// Negative control: a checkpoint that lets intents go before the points are durable is noticed.
#[test]
fn a_lying_checkpoint_is_caught() {
    let caught = caught_within(200, Sabotage::LyingCheckpoint);
    println!("caught by seed {caught:?}");
    assert!(caught.is_some());
}

/// Negative control: answers that do not wait for their end marks are noticed.
#[test]
fn answers_before_their_marks_are_caught() {
    let caught = caught_within(200, Sabotage::EagerAnswers);
    println!("caught by seed {caught:?}");
    assert!(caught.is_some());
}
