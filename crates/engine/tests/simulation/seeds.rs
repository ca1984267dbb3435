//! Seeds: a thousand in CI, any number by command; a failing one is printed and replays exactly.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::run::{Sabotage, Tally, run};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

fn run_caught(seed: u64, trace: bool, sabotage: Sabotage) -> Result<Tally, String> {
    catch_unwind(AssertUnwindSafe(|| run(seed, trace, sabotage))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        Err(text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned())).unwrap_or_else(|| "panicked".into()))
    })
}

/// P1 to P4 under lost replies, failures, outages and kills at any step.
#[test]
fn p1_to_p4_hold_for_every_seed() {
    if let Some(seed) = number("LOCKSTEP_SIM_SEED") {
        run_caught(seed, true, Sabotage::Nothing).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        return;
    }
    let seeds = number("LOCKSTEP_SIM_SEEDS").unwrap_or(1000);
    let mut sum = Tally::default();
    for seed in 0..seeds {
        let tally = run_caught(seed, false, Sabotage::Nothing)
            .unwrap_or_else(|why| panic!("LOCKSTEP_SIM_SEED={seed} replays this: {why}"));
        sum.lives += tally.lives;
        sum.ops += tally.ops;
        sum.committed += tally.committed;
        sum.rolled_back += tally.rolled_back;
        sum.rewritten += tally.rewritten;
    }
    println!("{seeds} seeds: {sum:?}");
    assert!(
        sum.lives > seeds && sum.rolled_back > seeds && sum.rewritten > 0,
        "the runs reach what they are for: {sum:?}"
    );
}

/// A seed says the same twice.
#[test]
fn a_seed_replays_exactly() {
    for seed in 0..20 {
        let (one, two) = (run_caught(seed, false, Sabotage::Nothing), run_caught(seed, false, Sabotage::Nothing));
        assert_eq!(format!("{one:?}"), format!("{two:?}"), "seed {seed}");
    }
}

fn caught_within(seeds: u64, sabotage: Sabotage) -> Option<u64> {
    (0..seeds).find(|&seed| run_caught(seed, false, sabotage).is_err())
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
