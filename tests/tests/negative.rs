//! The tests of the tests: a daemon that breaks a promise on purpose must be caught. `tests/negative.sh` builds it.

use std::path::Path;

use anyhow::{Result, bail};
use lockstep_tests::budget::{number, say, skip};
use lockstep_tests::campaign::{Broken, Plan, run as campaign};
use lockstep_tests::program::faulty;
use lockstep_tests::seed::Rng;
use lockstep_tests::wait::run;

use crate::kill::{LONG, SHORT};
use crate::support::fresh;

/// The kill test must see a checkpoint that lets intents leave the log before Edge has flushed what they wrote.
/// Fails when the kill test looks at SurrealDB alone.
#[test]
fn the_kill_test_catches_a_checkpoint_that_lies() -> Result<()> {
    caught("lying_checkpoint")
}

/// The kill test must see answers that leave before their end marks are durable.
/// Fails when the kill test does not compare the log with what clients were told.
#[test]
fn the_kill_test_catches_answers_that_do_not_wait_for_their_end_mark() -> Result<()> {
    caught("eager_answers")
}

fn caught(fault: &'static str) -> Result<()> {
    let Some(folder) = faulty() else {
        skip(&format!("kill test against LOCKSTEP_FAULT={fault}"), "run tests/negative.sh");
        return Ok(());
    };
    run(async move {
        let seed = Rng::seed()?;
        let cycles: u32 = number("LOCKSTEP_NEGATIVE_CYCLES", 80)?;
        say(format!("kill test against {fault}: at most {cycles} cycles, LOCKSTEP_SEED={seed}"));
        match against(&folder, fault, cycles, seed).await {
            Ok(()) => bail!("{cycles} cycles against a daemon with {fault}, and nothing was noticed"),
            Err(error) if error.downcast_ref::<Broken>().is_some() => {
                let said = format!("{error:#}");
                let first = said.lines().next().unwrap_or_default();
                say(format!("caught {fault}: {first}"));
                Ok(())
            }
            Err(error) => Err(error.context("the campaign failed for another reason than the fault")),
        }
    })
}

async fn against(folder: &Path, fault: &str, cycles: u32, seed: u64) -> Result<()> {
    let (_data, launch) = fresh()?;
    let launch = launch.program(folder.join("lockstepd")).variable("LOCKSTEP_FAULT", fault);
    campaign(&Plan { launch, cycles, seed, clients: 6, short: SHORT, long: LONG }).await.map(drop)
}
