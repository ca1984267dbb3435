//! Verify: do both stores still show what the log says they were given (design 6)? What is missing or older is written again.
//!
//! Committed is final: a refusal here raises an alarm and asks for an audit, it never rolls anything back.

mod absent;
mod rewrite;

use std::collections::HashSet;

use lockstep_model::{Access, Action, ActionKind, Filter, LaneId, Lsn, State, Table};
use lockstep_stores::{Class, Durability};
use tokio::time::Instant;

use self::rewrite::look_and_write;
use crate::core::{Core, Fatal, Shared, StoreName};
use crate::engine::Engine;
use crate::op::{Op, Stage};
use crate::settle::{reach_barriers, recovered};
use crate::work::{Content, Work, read_intent};
use crate::{claim, events, trouble};

/// Looks at the operations' keys in both stores, by version, and writes again what is missing or older.
pub(crate) async fn batch(core: &Core, lsns: &[Lsn]) -> Result<(), Fatal> {
    let mut works = Vec::with_capacity(lsns.len());
    for &lsn in lsns {
        let mut work = Work::load(core, lsn)?;
        work.again = true;
        let standing = standing(core, &work)?;
        works.push((work, standing));
    }
    let mut looked = Looked::default();
    let result = match claim::ensure(core).await {
        Ok(()) => look_and_write(core, &works, &mut looked).await,
        Err(error) => Err((StoreName::Surreal, error)),
    };
    // What was missing is known, whatever came of writing it again.
    is_oldest_missing(core, &looked);
    // An earlier process may have begun to write the points again that are missing, and nobody knows of its request.
    looked_after(core, &looked.points);
    match result {
        Ok(()) => {}
        // Each is tried for itself: SurrealDB took nothing of the batch, and what Qdrant took is found there.
        Err((_, error)) if error.class == Class::Refused && lsns.len() > 1 => {
            let mut shared = core.lock();
            for &lsn in lsns {
                if let Some(op) = shared.ops.get_mut(&lsn) {
                    op.alone = true;
                }
                shared.make_ready(lsn);
            }
            drop(shared);
            core.wake();
            return Ok(());
        }
        Err((store, error)) if error.class == Class::Refused => {
            tracing::error!(store = store.as_str(), %error, "a committed operation could not be written again: audit needed");
            events::audit_needed(core, &mut core.lock(), store, || {
                format!("a committed operation could not be written again: {}", error.detail)
            });
            looked = Looked::default();
        }
        Err((store, error)) => {
            // Attempts do not end this: what was promised stays promised.
            for lsn in trouble::failed(core, store, lsns, &error) {
                core.lock().make_ready(lsn);
            }
            return Ok(());
        }
    }
    let Looked { rewritten, again, .. } = looked;
    let mut shared = core.lock();
    shared.recovery.verified += (lsns.len() - again.len()) as u64;
    shared.recovery.rewritten += rewritten.len() as u64;
    for &lsn in lsns {
        if again.contains(&lsn) {
            come_again(core, &mut shared, lsn);
        } else {
            looked_at(&mut shared, lsn);
        }
    }
    reach_barriers(&mut shared);
    drop(shared);
    core.wake();
    core.progress.notify_waiters();
    Ok(())
}

/// Their points are looked at once more, when nothing that was sent can still be carried out.
fn looked_after(core: &Core, lsns: &HashSet<Lsn>) {
    let mut shared = core.lock();
    let now_ms = shared.now_ms();
    for lsn in lsns {
        if let Some(op) = shared.ops.get_mut(lsn) {
            op.may_come_late(now_ms);
        }
    }
}

/// If even the oldest that the log retains was missing, so is, perhaps, what has left before it (scenario B4).
fn is_oldest_missing(core: &Core, looked: &Looked) {
    let mut shared = core.lock();
    let served = core.parts.vectors.durability() == Durability::Acknowledged;
    let Some(first) = shared.oldest_verified.filter(|first| served && looked.rewritten.contains(first)) else { return };
    let store = if looked.records.contains(&first) { StoreName::Surreal } else { StoreName::Qdrant };
    let why = format!("operation {first}, the oldest that the log retains, was missing");
    tracing::error!(lsn = %first, store = store.as_str(), "{why}: the store was restored from before the log, or has lost what it acknowledged");
    events::audit_needed(core, &mut shared, store, || why);
}

/// What a look came to.
#[derive(Debug, Default)]
struct Looked {
    /// Operations that were missing or old in a store.
    rewritten: HashSet<Lsn>,
    /// Those of them that SurrealDB had lost.
    records: HashSet<Lsn>,
    /// Those of them whose points a served Qdrant did not show as they should be.
    points: HashSet<Lsn>,
    /// Operations that are looked at once more: what they stand on is being written again.
    again: HashSet<Lsn>,
}

/// It is looked at once more, in a while, behind whoever is in its lanes by then: what it waits for may wait for one of these.
fn come_again(core: &Core, shared: &mut Shared, lsn: Lsn) {
    shared.release(lsn);
    shared.enter_again(lsn);
    let wait = core.settings().retry_base;
    let due_us = core.parts.clock.now_us().saturating_add(u64::try_from(wait.as_micros()).unwrap_or(u64::MAX));
    if let Some(op) = shared.ops.get_mut(&lsn) {
        op.trouble().next_attempt = Some((Instant::now() + wait, due_us));
    }
    shared.make_ready(lsn);
}

/// The operation has been looked at: it may leave.
pub(crate) fn looked_at(shared: &mut Shared, lsn: Lsn) {
    shared.release(lsn);
    let Some(op) = shared.ops.get_mut(&lsn) else { return };
    op.trouble = op.trouble.take().filter(|trouble| trouble.attempts > 0);
    op.alone = false;
    let bytes = u64::from(op.bytes);
    shared.settled.insert(lsn);
    shared.settled_bytes += bytes;
    shared.recovering.remove(lsn);
    shared.verifying.remove(lsn);
    recovered(shared);
}

/// How the log stands by what an operation wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stands {
    /// It is there, or has to be written again.
    Still,
    /// A younger clear covers it. If it is missing that is no loss: the clear saw it, or a store had lost it before. If it is there the clear
    /// has spared it, because somebody else had changed it.
    Cleared,
    /// An end of the edge, or what is between its ends, was removed since. If it is missing so is its point; what is there is not ours.
    WentWithItsEnd,
}

/// What of the operation the log still stands by: removals always (their fence spares what is newer), a write if nothing
/// later wrote its key. What removed what it stands on may not have seen it, and have left its point.
fn standing(core: &Core, work: &Work) -> Result<Vec<(Content, Stands)>, Fatal> {
    let contents = work.contents()?;
    let clears = clears(core, work.lsn)?;
    let shared = core.lock();
    let members = work.intent.op.action.members();
    let stands = |action: &Action, content: &Content| {
        let Content::Put { key, document, ends, .. } = content else { return Some(Stands::Still) };
        let mut lanes = action.lanes();
        // A patch names an edge by its key alone: where it leads stands in its image (scenario A2).
        // An unrelate by these ends removed it, too, whatever its key.
        let at_ends = ends.iter().flat_map(|ends| {
            [ends.from.lane(), ends.to.lane(), LaneId::of_endpoints(&key.table, &ends.from, &ends.to)]
        });
        lanes.extend(at_ends.map(|lane| (lane, Access::Read)));
        let cleared = |(table, filter): &(Table, Option<Filter>)| {
            *table == key.table && filter.as_ref().is_none_or(|filter| filter.matches(&document.plain()))
        };
        match &shared.last_writes {
            Some(last) if !last.stands(work.lsn, key.lane(), &lanes) => {
                (ends.is_some() && last.wrote(work.lsn, key.lane())).then_some(Stands::WentWithItsEnd)
            }
            Some(_) | None if clears.iter().any(cleared) => Some(Stands::Cleared),
            Some(_) | None => Some(Stands::Still),
        }
    };
    let kept = members.iter().zip(contents);
    Ok(kept.filter_map(|(action, content)| stands(action, &content).map(|stands| (content, stands))).collect())
}

/// What was cleared, by clears that are younger and retained.
fn clears(core: &Core, than: Lsn) -> Result<Vec<(Table, Option<Filter>)>, Fatal> {
    let younger: Vec<Lsn> = {
        let shared = core.lock();
        let is_committed = |lsn: &Lsn| shared.ops.get(lsn).is_some_and(|op| op.state == State::Committed);
        shared.clears.iter().filter(|lsn| *lsn > than).filter(is_committed).collect()
    };
    let mut clears = Vec::new();
    for lsn in younger {
        if let Action::Clear { table, filter } = read_intent(core, lsn)?.op.action {
            clears.push((table, filter));
        }
    }
    Ok(clears)
}

/// An operation has committed: while others are verified it counts as later than they.
pub(crate) fn committed(core: &Core, shared: &mut Shared, lsn: Lsn) -> Result<(), Fatal> {
    let Some(last) = &mut shared.last_writes else { return Ok(()) };
    let Some(op) = shared.ops.get(&lsn) else { return Ok(()) };
    let removes = removed_lanes(core, lsn, op)?;
    last.add(lsn, op.lanes.as_slice(), &removes);
    Ok(())
}

fn removed_lanes(core: &Core, lsn: Lsn, op: &Op) -> Result<Vec<LaneId>, Fatal> {
    Ok(match op.kind {
        ActionKind::Put | ActionKind::Patch | ActionKind::Relate | ActionKind::Clear => Vec::new(),
        ActionKind::Delete | ActionKind::Unrelate => {
            let written = op.lanes.as_slice().iter().filter(|(_, access)| *access == Access::Write);
            written.map(|(lane, _)| *lane).collect()
        }
        ActionKind::Atomic => read_intent(core, lsn)?.op.action.removed_lanes(),
    })
}

/// Whether SurrealDB may have lost what it had acknowledged, and nobody looks yet. What is in this process is lost with it alone.
pub(crate) fn has_lost(core: &Core) -> bool {
    !core.settings().embedded && core.lock().losses_seen[StoreName::Surreal as usize] != core.parts.documents.losses()
}

/// A store has lost its connection, or shows older data than it had: what is retained is verified, before what is younger goes by what is left.
/// For the first worker, between two batches.
pub(crate) async fn after_losses(core: &Core) -> Result<(), Fatal> {
    if core.settings().embedded {
        return Ok(());
    }
    let losses = [core.parts.documents.losses(), core.parts.vectors.losses()];
    let (lost, all_up) = {
        let mut shared = core.lock();
        // What is down is looked at when it is back.
        let is_up = [StoreName::Surreal, StoreName::Qdrant].map(|store| shared.breaker(store).down_since.is_none());
        let mut lost = false;
        for ((seen, now), is_up) in shared.losses_seen.iter_mut().zip(losses).zip(is_up) {
            if is_up && *seen != now {
                *seen = now;
                lost = true;
            }
        }
        (lost, is_up == [true; 2])
    };
    if let Some(why) = core.parts.documents.restored() {
        let mut shared = core.lock();
        if shared.audit_needed.is_none() {
            tracing::error!(store = "surreal", "{why}");
            events::audit_needed(core, &mut shared, StoreName::Surreal, || why);
        }
    }
    if lost {
        let operations = start(core, Place::First).await?;
        tracing::info!(operations, "a connection to a store was lost: what the log retains is verified");
    } else if all_up && is_to_look_again(core) {
        let operations = send(core, Place::First).await?;
        tracing::info!(operations, "what was open when a connection was lost has ended, and is verified, too");
    }
    Ok(())
}

/// Whether all that could not be verified when the rest was has ended, or has been looked at. Tells it once.
fn is_to_look_again(core: &Core) -> bool {
    let mut shared = core.lock();
    let sets = [shared.open.first(), shared.recovering.first(), shared.verifying.first()];
    let oldest = sets.into_iter().flatten().min();
    shared.look_again.take_if(|last| oldest.is_none_or(|oldest| oldest > *last)).is_some()
}

/// Sends what the log retains to be verified. What is open, or is just being looked at, cannot be now: a store may have lost what it
/// had of that, too.
async fn start(core: &Core, place: Place) -> Result<u64, Fatal> {
    {
        let mut shared = core.lock();
        let left_out = !(shared.open.is_empty() && shared.recovering.is_empty() && shared.verifying.is_empty());
        shared.look_again = left_out.then(|| core.parts.log.positions().appended);
    }
    send(core, place).await
}

/// Where in its lanes an operation is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before what is younger and has not begun.
    First,
    /// Behind whoever is there.
    Last,
}

/// Sends every retained committed operation that is still its key's last through its lanes again. Tells how many.
async fn send(core: &Core, place: Place) -> Result<u64, Fatal> {
    // Nothing leaves meanwhile.
    let _alone = core.leaving.lock().await;
    let mut shared = core.lock();
    let ended = |op: &Op| op.settled && op.released && op.state == State::Committed;
    // What may have been removed by an operation that is lost is not written again.
    let known = |lsn: &Lsn| *lsn > shared.lost_operations;
    let candidates: Vec<Lsn> =
        shared.settled.iter().filter(known).filter(|lsn| shared.ops.get(lsn).is_some_and(ended)).collect();
    let mut last = shared.last_writes.take().unwrap_or_default();
    // Also what has committed and is not durable yet: it has left its lanes, and is later all the same.
    for (lsn, op) in shared.ops.iter().filter(|(_, op)| op.state == State::Committed) {
        let removes = removed_lanes(core, lsn, op)?;
        last.add(lsn, op.lanes.as_slice(), &removes);
    }
    let last_that_stays = (place == Place::First).then(|| shared.last_that_stays());
    let mut count = 0;
    let mut oldest = None;
    for lsn in candidates {
        let Some(op) = shared.ops.get_mut(&lsn) else { continue };
        let looked_at = match op.kind {
            ActionKind::Clear => false,
            ActionKind::Delete | ActionKind::Unrelate | ActionKind::Atomic => true,
            // Its own key's lane is not told apart from those of its ends here; the look itself is exact.
            ActionKind::Put | ActionKind::Patch | ActionKind::Relate => last.wrote_any(lsn, op.lanes.as_slice()),
        };
        if !looked_at {
            continue;
        }
        op.stage = Stage::Verify;
        op.seen = true;
        shared.settled.remove(lsn);
        shared.verifying.insert(lsn);
        match last_that_stays {
            Some(last) => shared.enter_first(lsn, last),
            None => shared.enter_again(lsn),
        }
        shared.make_ready(lsn);
        oldest.get_or_insert(lsn);
        count += 1;
    }
    // What an earlier start sent off and is not looked at yet is older.
    let before = shared.oldest_verified.filter(|first| shared.verifying.contains(*first));
    shared.oldest_verified = [before, oldest].into_iter().flatten().min();
    shared.last_writes = Some(last);
    shared.looks += 1;
    recovered(&mut shared);
    drop(shared);
    core.wake_surreal.notify_one();
    Ok(count)
}

impl Engine {
    /// Looks at every retained committed operation in both stores, and writes again what is missing there. Tells how many will
    /// be looked at; [`crate::Status`] tells how many still are.
    ///
    /// # Errors
    /// The engine stops.
    pub async fn verify(&self) -> Result<u64, Fatal> {
        start(&self.core, Place::Last).await
    }
}
