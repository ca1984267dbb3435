//! kill -9 under load and during recovery.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use lockstep_tests::budget::{number, say};
use lockstep_tests::campaign::{Plan, run as campaign};
use lockstep_tests::seed::Rng;
use lockstep_tests::wait::run;

use crate::support::fresh;

/// How long clients work before a kill.
pub(crate) const SHORT: Duration = Duration::from_millis(300);
/// And now and then: a checkpoint is taken every two seconds.
pub(crate) const LONG: Duration = Duration::from_millis(2600);

/// P1, P2, P3, P4: after every kill each key holds what the last acknowledged operation in log order made of it (or one that
/// was in flight at the kill), both stores show the same version of it, no answer is taken back, and a repeated
/// idempotency key does not run twice. Read through the daemon, and at the end from the stores' directories.
///
/// Fails, for instance, when recovery skips the verification of committed operations (points that Edge had not
/// flushed are missing), when a checkpoint lets intents go before Edge's flush, when answers do not wait for their end
/// marks (`negative.rs` shows both), and when two operations of one key run side by side.
#[test]
fn p1_p2_p3_p4_nothing_acknowledged_is_lost_or_torn_by_kills() -> Result<()> {
    run(async {
        let (_folder, launch) = fresh()?;
        let seed = Rng::seed()?;
        let cycles = number("LOCKSTEP_KILL_CYCLES", 50)?;
        say(format!(
            "kill test: {cycles} cycles, LOCKSTEP_SEED={seed} (clients race: a replay repeats the choices, not the schedule)"
        ));
        let began = Instant::now();
        let plan = Plan { launch, cycles, seed, clients: 6, short: SHORT, long: LONG };
        let report = campaign(&plan).await?;
        say(format!("kill test: {report:?} in {:.1} s", began.elapsed().as_secs_f64()));
        ensure!(report.kills == u64::from(cycles), "{report:?}");
        let clients = report.committed > 0 && report.logged > 0 && report.rolled_back > 0 && report.unanswered > 0;
        let twice = report.repeated > 0 && report.answered_again > 0;
        let busy = clients && twice && report.checkpoints > 0 && report.recovery_kills.0 > 0;
        ensure!(busy || cycles < 30, "the campaign did too little to prove anything: {report:?}");
        Ok(())
    })
}
