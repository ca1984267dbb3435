//! Settle: what is durable is told, in log order. Nobody hears of anything before (P1, P2).

use std::sync::Arc;

use lockstep_model::{Lsn, State};

use crate::core::{Awaited, AwaitedReceiver, Core, Ending, Fatal, Shared};
use crate::mark;

/// Runs until the engine stops, or the log fails.
pub(crate) async fn run(core: Arc<Core>, mut awaited: AwaitedReceiver) {
    loop {
        let (ticket, then) = tokio::select! {
            biased;
            Some(next) = awaited.recv() => next,
            () = core.stop.cancelled() => return,
        };
        if let Err(error) = ticket.await {
            core.fail(Fatal::Log(error));
            return;
        }
        match then {
            Awaited::Logged(lsn, sender) => {
                let mut shared = core.lock();
                let now_ms = shared.now_ms();
                if let Some(op) = shared.ops.get_mut(&lsn)
                    && !op.durable
                {
                    op.durable = true;
                    mark::took("logged", now_ms, op);
                    shared.make_ready(lsn);
                }
                drop(shared);
                core.wake();
                core.happened.send_modify(|n| *n += 1);
                if let Some(sender) = sender {
                    // A caller that has gone is told nothing; its operation goes on.
                    let _ = sender.send(());
                }
            }
            Awaited::Ended(endings) => {
                let mut shared = core.lock();
                for (lsn, ending) in endings {
                    settle(&mut shared, lsn, ending);
                }
                reach_barriers(&mut shared);
                let full = shared.settled_bytes >= core.settings().checkpoint_bytes;
                drop(shared);
                core.happened.send_modify(|n| *n += 1);
                core.room.notify_waiters();
                core.progress.notify_waiters();
                if full {
                    core.wake_checkpoint.notify_one();
                }
            }
        }
    }
}

fn settle(shared: &mut Shared, lsn: Lsn, ending: Ending) {
    let Some(op) = shared.ops.get_mut(&lsn) else { return };
    op.settled = true;
    let bytes = u64::from(op.bytes);
    shared.patching.remove(lsn);
    // A parked operation that is decided about has not been open.
    if shared.open.remove(lsn) {
        shared.open_bytes = shared.open_bytes.saturating_sub(bytes);
    }
    if ending.state != State::Parked {
        shared.settled.insert(lsn);
        shared.settled_bytes += bytes;
    }
    if shared.recovering.remove(lsn) {
        match ending.state {
            State::Committed => shared.recovery.finished += 1,
            State::RolledBack => shared.recovery.rolled_back += 1,
            State::Parked => shared.recovery.parked += 1,
            State::Pending
            | State::SurrealCompleted
            | State::QdrantCompleted
            | State::Compensating
            | State::Discarded => {}
        }
        recovered(shared);
    }
    for waiting in shared.waiting.remove(&lsn).unwrap_or_default() {
        let _ = waiting.send(ending.clone());
    }
}

/// Recovery is done when nothing is left of what the start found.
pub(crate) fn recovered(shared: &mut Shared) {
    if shared.recovering.is_empty() && shared.verifying.is_empty() {
        shared.last_writes = None;
    }
    if shared.recovering.is_empty() && !shared.recovery.done {
        shared.recovery.done = true;
        let r = shared.recovery;
        tracing::info!(
            finished = r.finished,
            rolled_back = r.rolled_back,
            parked = r.parked,
            verified = r.verified,
            rewritten = r.rewritten,
            "recovery is done"
        );
    }
}

/// Whoever waits for everything up to a place hears when nothing up to it is open, and the stores have been seen to show what
/// had ended before the start.
pub(crate) fn reach_barriers(shared: &mut Shared) {
    if shared.barriers.is_empty() {
        return;
    }
    let oldest = shared.open.first().into_iter().chain(shared.recovering.first()).min();
    let waiting = std::mem::take(&mut shared.barriers);
    for (lsn, sender) in waiting {
        if oldest.is_none_or(|open| open > lsn) {
            let _ = sender.send(());
        } else {
            shared.barriers.push((lsn, sender));
        }
    }
}
