//! The whole of Lockstep from outside: concurrent clients with every kind of operation, kill -9 of the daemon and of both servers,
//! networks that fail, and an order looked for that explains what everybody was told.

use std::time::Instant;

use anyhow::{Result, ensure};
use futures_util::future::join_all;
use lockstep_tests::budget::{number, say};
use lockstep_tests::history::campaign::{Plan, Report, run as campaign};
use lockstep_tests::seed::Rng;
use lockstep_tests::wait::run;

/// P1, P2, P3, P4: the history of every key is linearizable, what got no answer happened whole or not at all, and both stores show
/// the same of it, read with clients that know nothing of Lockstep.
///
/// Fails, for instance, when a lane is released before its operation has ended, when recovery takes a store at its word, or when an
/// idempotency key is forgotten over a restart.
///
/// `LOCKSTEP_CAMPAIGNS_AT_ONCE` shares the kills out to so many campaigns side by side, each with servers and a seed of its own: most of a
/// campaign's time is waiting.
#[test]
fn p1_p2_p3_p4_every_history_is_linearizable_and_ends_in_both_stores_or_in_neither() -> Result<()> {
    run(async {
        let kills: u64 = number("LOCKSTEP_CAMPAIGN_KILLS", 50)?;
        let at_once: u64 = number("LOCKSTEP_CAMPAIGNS_AT_ONCE", 1)?.max(1);
        let seed = Rng::seed()?;
        say(format!("campaign: {kills} kills, LOCKSTEP_SEED={seed}"));
        let began = Instant::now();
        let plans = (0..at_once).map(|number| Plan {
            kills: (kills + number) / at_once,
            seed: seed.wrapping_add(number),
            writers: 6,
            fault: None,
        });
        // One that fails does not take the others' work with it.
        let ran = join_all(plans.map(|plan| async move { campaign(&plan).await })).await;
        let (mut report, mut failed) = (Report::default(), Vec::new());
        for ran in ran {
            match ran {
                Ok(ran) => report = report.and(ran),
                Err(error) => failed.push(format!("{error:?}")),
            }
        }
        say(format!("campaign: {report:?} in {:.1} s", began.elapsed().as_secs_f64()));
        ensure!(failed.is_empty(), "{} campaigns of {at_once} failed:\n{}", failed.len(), failed.join("\n\n"));
        let [daemon, surreal, qdrant] = report.kills;
        let busy = report.committed > 0 && report.rolled_back > 0 && report.unanswered > 0 && report.reads > 0;
        let twice = report.repeated > 0 && report.answered_again > 0;
        ensure!((busy && twice) || kills < 20, "the campaign did too little to prove anything: {report:?}");
        let each = daemon > 0 && surreal > 0 && qdrant > 0;
        let faults = report.disturbed > 0 && report.recovery_kills.0 > 0;
        ensure!(kills / at_once < 50 || (each && faults), "{report:?}");
        Ok(())
    })
}
