//! Asked: decisions that an operator left in the log while no daemon had it, or that a crash cut short, carried out at the start.
//!
//! Each goes the way of a decision that is asked now. One that cannot be carried out is declined in the log and stays visible on its
//! operation; one that only a store's silence keeps back waits for the store.

use std::collections::VecDeque;
use std::sync::Arc;

use lockstep_model::{Code, Lsn, Refusal, State};
use lockstep_wal::{Asked, Failure};
use tokio::time::sleep;

use crate::breaker::backoff;
use crate::core::{Core, Fatal};
use crate::decide::{Decision, carry_out, decline};
use crate::{claim, learn};

/// What became of a decision, this time.
enum Tried {
    /// It is carried out, or declined; or somebody else has decided.
    Done,
    /// It is tried again in a while.
    Later,
}

/// Carries the decisions out, oldest first; ends when none is left. A rollback that waits in its lane keeps no other back.
pub(crate) async fn run(core: Arc<Core>, asked: Vec<(Lsn, Asked)>) {
    tracing::info!(decisions = asked.len(), "carrying out what was decided about parked operations");
    let mut waiting: VecDeque<(Lsn, Asked)> = asked.into();
    let mut tries = 0;
    while !core.stop.is_cancelled() {
        let mut later = VecDeque::new();
        while let Some((at, asked)) = waiting.pop_front() {
            if asked.verdict == lockstep_wal::Verdict::Rollback {
                core.parts.tasks.spawn(roll_back(Arc::clone(&core), at, asked));
                continue;
            }
            match attempt(&core, at, &asked).await {
                Ok(Tried::Done) => {}
                Ok(Tried::Later) => later.push_back((at, asked)),
                Err(fatal) => return core.fail(fatal),
            }
        }
        if later.is_empty() {
            return;
        }
        waiting = later;
        tries += 1;
        pause(&core, tries).await;
    }
}

async fn roll_back(core: Arc<Core>, at: Lsn, asked: Asked) {
    let mut tries = 0;
    while !core.stop.is_cancelled() {
        match attempt(&core, at, &asked).await {
            Ok(Tried::Done) => return,
            Ok(Tried::Later) => {}
            Err(fatal) => return core.fail(fatal),
        }
        tries += 1;
        pause(&core, tries).await;
    }
}

async fn pause(core: &Core, tries: u32) {
    let settings = core.settings();
    let wait = backoff(tries, settings.retry_base, settings.retry_max, core.parts.chance.as_ref());
    tokio::select! {
        biased;
        () = core.stop.cancelled() => {}
        () = sleep(wait) => {}
    }
}

async fn attempt(core: &Core, at: Lsn, asked: &Asked) -> Result<Tried, Fatal> {
    let lsn = asked.op;
    // Whether it is superseded, and what its table wants, only the stores tell.
    if claim::ensure(core).await.is_err() || learn::ensure(core).await.is_err() {
        return Ok(Tried::Later);
    }
    if core.lock().ops.get(&lsn).is_none_or(|op| op.state != State::Parked) {
        return Ok(Tried::Done);
    }
    let verdict = asked.verdict;
    let done = carry_out(core, lsn, Decision::from(verdict), asked.note.clone(), asked.caller.clone(), Some(at)).await;
    match done {
        Ok(decided) => {
            tracing::info!(%lsn, decision = verdict.as_str(), state = decided.state.as_str(), "a decision from the log is carried out");
            Ok(Tried::Done)
        }
        Err(refusal) if passes(refusal.code) => Ok(Tried::Later),
        Err(refusal) => declined(core, at, asked, refusal).await.map(|()| Tried::Done),
    }
}

/// The refusal is about now, not about the decision: somebody else decides at this moment, or a store is away.
const fn passes(code: Code) -> bool {
    match code {
        Code::PreconditionFailed
        | Code::StoreUnavailable
        | Code::WalFull
        | Code::Overloaded
        | Code::Stopping
        | Code::DiskFull => true,
        Code::Malformed
        | Code::NotFound
        | Code::UnknownTable
        | Code::IdempotencyMismatch
        | Code::Superseded
        | Code::NewerVersion
        | Code::TooLarge
        | Code::DimensionMismatch
        | Code::UnknownVector
        | Code::VectorMissing
        | Code::NotIndexed
        | Code::RejectedBySurreal
        | Code::RejectedByQdrant
        | Code::Parked
        | Code::NotImplemented => false,
    }
}

async fn declined(core: &Core, at: Lsn, asked: &Asked, refusal: Refusal) -> Result<(), Fatal> {
    let lsn = asked.op;
    tracing::warn!(%lsn, decision = asked.verdict.as_str(), code = refusal.code.as_str(), why = %refusal.detail, "a decision from the log cannot be carried out: the operation stays parked");
    let failure = Failure { store: "lockstep".into(), code: refusal.code, detail: refusal.detail };
    let ticket = {
        let mut shared = core.lock();
        decline(core, &mut shared, lsn, Some(at), &failure).map_err(Fatal::Log)?
    };
    ticket.await.map_err(Fatal::Log)
}
