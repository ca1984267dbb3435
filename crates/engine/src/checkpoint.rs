//! Checkpoint and leave: what both stores hold durably may go from the log (design 4.9, 6).
//!
//! The operations that count are noted **before** the stores are flushed; a flush that fails covers nothing. What leaves
//! together are whole histories: when an operation leaves, every older one of its lanes has left or leaves with it, because it
//! had ended before the younger one started. Parked operations stay, and hold nobody back (scenario A1).

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use lockstep_model::{Lsn, State, Version};
use lockstep_stores::{Durability as VectorDurability, StoreError};
use lockstep_wal::{Checkpoint, Class, Durability, Group, Mark, Record, SideKey, Summary};
use tokio::time::sleep;

use crate::core::{Core, Fatal, Shared, StoreName, millis};
use crate::{claim, expire, relook, work};

/// Where the log keeps the highest place of an event that has left.
pub(crate) const EVENT_FLOOR: SideKey = SideKey::Note(1);

/// So many operations leave in one group of the log.
const LEAVE_AT_ONCE: usize = 512;

/// Runs until the engine stops.
pub(crate) async fn run(core: Arc<Core>) {
    loop {
        tokio::select! {
            biased;
            () = core.stop.cancelled() => return,
            () = core.wake_checkpoint.notified() => {}
            () = sleep(core.settings().checkpoint_every) => {}
        }
        match take(&core).await {
            Ok(_) => {}
            Err(CheckpointError::Store(store, error)) => {
                // While the store counts as down that has been said once.
                if core.lock().breaker(store).down_since.is_none() {
                    tracing::warn!(store = store.as_str(), %error, "no checkpoint: what has ended stays in the log");
                }
                tokio::select! {
                    biased;
                    () = core.stop.cancelled() => return,
                    () = sleep(core.settings().checkpoint_every) => {}
                }
            }
            Err(CheckpointError::Fatal(fatal)) => core.fail(fatal),
        }
    }
}

/// Why there was no checkpoint. Nothing has left then.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckpointError {
    /// A store did not make durable what it holds.
    #[error("{} was not flushed", .0.as_str())]
    Store(StoreName, #[source] StoreError),
    /// The engine stops.
    #[error("the engine stops")]
    Fatal(#[source] Fatal),
}

/// Takes a checkpoint; returns how many operations left the log.
pub(crate) async fn take(core: &Core) -> Result<usize, CheckpointError> {
    let _alone = core.leaving.lock().await;
    let (due, clock) = {
        let mut shared = core.lock();
        shared.settled_bytes = 0;
        relook::start(core, &mut shared);
        let clock = name(core, &mut shared);
        (due(core, &shared), clock)
    };
    if due.is_empty() {
        return Ok(0);
    }
    let flushed = match core.parts.vectors.flush().await {
        Err(error) => Err((StoreName::Qdrant, error)),
        Ok(()) => match claim::ensure(core).await {
            Ok(()) => core.parts.documents.checkpoint(clock).await,
            Err(error) => Err(error),
        }
        .map_err(|error| (StoreName::Surreal, error)),
    };
    if let Err((store, error)) = flushed {
        return Err(CheckpointError::Store(store, error));
    }
    let mut marks = HashMap::new();
    let count = due.len();
    for now in due.chunks(LEAVE_AT_ONCE) {
        leave(core, now, clock, &mut marks).await.map_err(CheckpointError::Fatal)?;
    }
    expire::old_summaries(core).map_err(CheckpointError::Fatal)?;
    core.room.notify_waiters();
    Ok(count)
}

/// How far SurrealDB is told that the log has come: to a version that the log does not lose any more, so that a log that knows of less
/// is an older one (scenario B3).
fn name(core: &Core, shared: &mut Shared) -> Version {
    let durable = core.parts.log.positions().durable;
    let newest = shared.ops.newest_below(durable.next()).next().map_or(Version(0), |(_, op)| op.version);
    shared.named = shared.named.max(newest);
    shared.named
}

/// What may leave once the stores are flushed, oldest first: an operation leaves only behind every older one that has ended, so
/// that what is left of a key's history is always its end (design 4.9). Where a store is served, what ended stays for
/// `wal.retain_committed_s`, and the last `wal.retain_last` however old they are: without them nothing would tell that a store
/// was restored from before the log (scenario B4). Bytes win over both.
fn due(core: &Core, shared: &Shared) -> Vec<Lsn> {
    let settings = core.settings();
    let served = core.parts.vectors.durability() == VectorDurability::Acknowledged || !settings.embedded;
    let (retain, last) = if served { (settings.retain_committed, settings.retain_last) } else { (Duration::ZERO, 0) };
    let retain_ms = millis(retain);
    let now_ms = shared.now_ms();
    // What is looked at in the stores stays, and everything younger behind it.
    let looked_at = [shared.recovering.first(), shared.verifying.first()].into_iter().flatten().min();
    let mut too_many = shared.held_bytes.saturating_sub(shared.open_bytes + settings.max_bytes / 2);
    let mut due = Vec::new();
    // A patch of an edge stands in no lane of its ends. What removed one of them meanwhile is younger, and tells a later look that the
    // edge is to stay away: it stays for as long as the patch is open.
    let patching = shared.patching.first();
    let old = shared.settled.len().saturating_sub(last);
    let may_go = shared.settled.iter().take_while(|lsn| looked_at.is_none_or(|first| *lsn < first));
    for (place, lsn) in may_go.enumerate() {
        let Some(op) = shared.ops.get(&lsn) else { continue };
        // What was open when a loss was noticed is looked at when all that was has ended.
        let is_to_be_looked_at = shared.look_again.is_some_and(|last| lsn <= last);
        let retained = is_to_be_looked_at
            || patching.is_some_and(|patch| patch < lsn)
            || place >= old
            || now_ms.saturating_sub(op.moved_ms) < retain_ms;
        if op.late_ms.is_some() || (too_many == 0 && retained) {
            break;
        }
        too_many = too_many.saturating_sub(u64::from(op.bytes));
        due.push(lsn);
    }
    due
}

/// Removes the operations and their records from the log; a summary of each stays.
async fn leave(core: &Core, lsns: &[Lsn], clock: Version, marks: &mut HashMap<Lsn, Mark>) -> Result<(), Fatal> {
    let mut group = Group::new(Durability::Flush, Class::Drain);
    for &lsn in lsns {
        let summary = summarise(core, lsn, marks)?.encode().map_err(|e| Fatal::Lost(e.to_string()))?;
        group.side.push((SideKey::Summary(lsn), Some(summary)));
    }
    let ticket = {
        let mut shared = core.lock();
        for &lsn in lsns {
            group.remove.push(lsn);
            shared.settled.remove(lsn);
            shared.clears.remove(lsn);
            shared.event_floor = shared.event_floor.max(lsn);
            let Some(op) = shared.ops.remove(&lsn) else { continue };
            shared.held_bytes = shared.held_bytes.saturating_sub(u64::from(op.bytes));
            *shared.left.entry(op.state).or_default() += 1;
            for &record in op.records() {
                let gone = match shared.marks.get_mut(&record) {
                    None => true, // An image: this operation's alone.
                    Some(held) => {
                        *held = held.saturating_sub(1);
                        *held == 0
                    }
                };
                if gone {
                    shared.event_floor = shared.event_floor.max(record);
                    shared.marks.remove(&record);
                    marks.remove(&record);
                    group.remove.push(record);
                }
            }
        }
        let record = Record::Checkpoint(Checkpoint {
            at_us: core.parts.clock.now_us(),
            // What SurrealDB has noted: should it know of less one day, it is older than this.
            clock: clock.0,
            left: left(&shared.left),
            shapes: shared.tables.rows(),
        });
        group.remove.extend(shared.checkpoint_record.take());
        group.side.push((EVENT_FLOOR, Some(shared.event_floor.0.to_le_bytes().to_vec())));
        group.entries.push(record.encode().map_err(|e| Fatal::Lost(e.to_string()))?);
        let appended = core.append(&mut shared, group).map_err(Fatal::Log)?;
        shared.checkpoint_record = Some(appended.first);
        appended.ticket
    };
    ticket.await.map_err(Fatal::Log)
}

fn left(counts: &BTreeMap<State, u64>) -> Vec<(u8, u64)> {
    counts.iter().map(|(state, count)| (state.code(), *count)).collect()
}

/// What is kept of an operation: its own records say it.
pub(crate) fn summarise(core: &Core, lsn: Lsn, marks: &mut HashMap<Lsn, Mark>) -> Result<Summary, Fatal> {
    let intent = work::read_intent(core, lsn)?;
    let (records, attempts) = {
        let shared = core.lock();
        let op = shared.ops.get(&lsn).ok_or_else(|| Fatal::Lost(format!("operation {lsn} is not known")))?;
        (op.records().to_vec(), op.trouble.as_ref().map_or(0, |t| t.attempts))
    };
    let mut history = vec![(State::Pending, intent.at_us)];
    let mut failure = None;
    for record in records {
        let mark = match marks.entry(record) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(free) => match work::read(core, record)? {
                Record::Mark(mark) => free.insert(mark),
                Record::Intent(_)
                | Record::Image(_)
                | Record::Checkpoint(_)
                | Record::Asked(_)
                | Record::Declined(_)
                | Record::Lost(_) => continue,
            },
        };
        history.push((mark.state, mark.at_us));
        failure = mark.failure.clone().or(failure);
    }
    Ok(Summary {
        op_id: core.op_id(lsn, intent.at_us),
        version: intent.version,
        kind: intent.op.action.kind(),
        key: intent.op.action.subject(),
        attempts,
        history,
        failure: failure.map(|mut f| {
            f.detail = shortened(f.detail);
            f
        }),
        idempotency: intent.op.idempotency.as_ref().map(lockstep_model::Idempotency::digest),
    })
}

/// A summary is small: a store's words are cut to 1,000 bytes.
fn shortened(mut text: String) -> String {
    if text.len() > 1000 {
        let cut = text.char_indices().map(|(at, _)| at).take_while(|&at| at <= 1000).last().unwrap_or(0);
        text.truncate(cut);
        text.push('…');
    }
    text
}
