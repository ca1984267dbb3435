//! Recover: fold the log, plan, and put every operation back where it stood. The workers then carry it on like any other.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::ops::ControlFlow;

use lockstep_model::{ActionKind, Lsn, State, Version, VersionClock};
use lockstep_wal::{Asked, Decision, Fold, LastWrites, Log, LogError, OpHead, Record, RecordError, plan};
use tokio::time::Instant;

use crate::breaker::Breaker;
use crate::checkpoint::EVENT_FLOOR;
use crate::core::{Recovery, Shared};
use crate::lanes::Lanes;
use crate::lsn_map::{LsnMap, LsnSet};
use crate::op::{Op, Stage};
use crate::ready::{Bucket, Ready};
use crate::settings::Settings;
use crate::tables::{Admission, Tables};
use crate::takers::Along;

/// Why the log cannot be taken over.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The log cannot be read.
    #[error("the log cannot be read")]
    Log(#[source] LogError),
    /// A record cannot be understood.
    #[error("record {lsn} cannot be understood")]
    Record {
        /// Where.
        lsn: Lsn,
        /// Why.
        #[source]
        source: RecordError,
    },
    /// The records contradict each other.
    #[error("the log's records contradict each other: {0}")]
    Irregular(lockstep_wal::Irregular),
}

/// Reads the log from its first record to its last.
///
/// # Errors
/// Anything that cannot be read, understood, or that no run of Lockstep writes: nothing is skipped silently.
pub fn fold(log: &dyn Log) -> Result<Fold, RecoverError> {
    let mut fold = Fold::new();
    let mut broken = None;
    log.scan(Lsn(1), &mut |lsn, entry| match Record::decode(&entry) {
        Ok(record) => {
            fold.record(lsn, &record, entry.payload.len());
            ControlFlow::Continue(())
        }
        Err(source) => {
            broken = Some(RecoverError::Record { lsn, source });
            ControlFlow::Break(())
        }
    })
    .map_err(RecoverError::Log)?;
    if let Some(error) = broken {
        return Err(error);
    }
    match fold.irregular.first() {
        Some(irregular) => Err(RecoverError::Irregular(irregular.clone())),
        None => Ok(fold),
    }
}

/// The highest place of an event that has left the log.
///
/// # Errors
/// The log cannot be read.
pub(crate) fn event_floor(log: &dyn Log) -> Result<Lsn, RecoverError> {
    let bytes = log.side(&EVENT_FLOOR).map_err(RecoverError::Log)?;
    let number = bytes.and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes);
    Ok(Lsn(number))
}

/// Everything as the log left it: nothing has been started yet.
pub(crate) fn restore(settings: &Settings, fold: &Fold, served: bool, now_us: u64) -> Shared {
    let mut shared = Shared {
        started: Instant::now(),
        clock: VersionClock::starting_above(fold.clock),
        ops: LsnMap::default(),
        open: LsnSet::default(),
        open_bytes: 0,
        held_bytes: 0,
        lanes: Lanes::default(),
        surreal: Ready::default(),
        qdrant: Ready::default(),
        handed: HashMap::new(),
        behind: HashMap::new(),
        takers: BTreeMap::new(),
        patching: LsnSet::default(),
        clears: LsnSet::default(),
        tables: Tables::new(settings, &fold.shapes),
        breakers: [Breaker::new(), Breaker::new()],
        waiting: HashMap::new(),
        barriers: Vec::new(),
        marks: fold.marks.iter().map(|(lsn, held)| (*lsn, *held)).collect(),
        settled: LsnSet::default(),
        settled_bytes: 0,
        left: BTreeMap::new(),
        checkpoint_record: None,
        recovering: LsnSet::default(),
        recovery: Recovery::default(),
        verifying: LsnSet::default(),
        oldest_verified: None,
        last_writes: None,
        looks: 0,
        look_again: None,
        losses_seen: [0; 2],
        claimed: false,
        noted: fold.checkpoint.as_ref().map(|(_, checkpoint)| Version(checkpoint.clock)),
        named: fold.checkpoint.as_ref().map_or(Version(0), |(_, checkpoint)| Version(checkpoint.clock)),
        opened_at: Some(fold.clock).filter(|clock| clock.0 > 0 && fold.lost.is_empty()),
        event_floor: Lsn(0),
        store_events: VecDeque::new(),
        asked: HashMap::new(),
        lost_operations: fold.lost_operations,
        lost_by_repair: lost_by_repair(fold),
        audit_needed: None,
        seen_fields: HashSet::new(),
        image_hint: 0,
        stopping: false,
        qdrant_busy: false,
        surreal_busy: false,
    };
    if let Some((lsn, checkpoint)) = &fold.checkpoint {
        shared.checkpoint_record = Some(*lsn);
        shared.left =
            checkpoint.left.iter().filter_map(|&(code, count)| Some((State::from_code(code)?, count))).collect();
    }
    shared.last_writes = Some(LastWrites::of(fold));
    let late = late(settings, fold);
    for (lsn, decision) in plan(fold) {
        if let Some(head) = fold.ops.get(&lsn) {
            let may_come_late = served && head.wants_vectors && moved_us(head) >= late;
            place(&mut shared, lsn, head, decision, (now_us, may_come_late));
        }
    }
    crate::settle::recovered(&mut shared);
    shared
}

/// What a repair could not bring back may have been anything.
fn lost_by_repair(fold: &Fold) -> Option<String> {
    let lost = (!fold.lost.is_empty()).then(|| {
        format!(
            "lockstep: the log was repaired without records {}; what they did in the stores is not known",
            fold.lost
        )
    })?;
    tracing::error!("{lost}: audit needed");
    Some(lost)
}

/// Decisions that operators left in the log and that are still to be carried out, oldest first.
pub(crate) fn asked(fold: &Fold) -> Vec<(Lsn, Asked)> {
    let standing = fold.ops.values().filter_map(OpHead::standing_decision);
    let mut standing: Vec<(Lsn, Asked)> = standing.map(|(lsn, asked)| (lsn, asked.clone())).collect();
    standing.sort_unstable_by_key(|(lsn, _)| *lsn);
    standing
}

/// What moved since then, or is open, may have requests on their way to a served store that the last process sent: how they ended
/// is not in the log.
fn late(settings: &Settings, fold: &Fold) -> u64 {
    let newest = fold.ops.values().filter(|head| !head.state.is_open()).map(moved_us).max().unwrap_or(0);
    newest.saturating_sub(u64::try_from(settings.late_after.as_micros()).unwrap_or(u64::MAX))
}

fn moved_us(head: &OpHead) -> u64 {
    if head.state.is_open() { u64::MAX } else { head.history.last().map_or(head.at_us, |(_, at)| *at) }
}

fn place(shared: &mut Shared, lsn: Lsn, head: &OpHead, decision: Decision, (now_us, may_come_late): (u64, bool)) {
    let numbers = head.tables.iter().chain(&head.table).map(|table| shared.tables.remember(table)).collect();
    let table = shared.tables.combine(numbers);
    let bucket = Bucket { table, vectors: head.wants_vectors };
    let mut op = Op::found(head, bucket);
    // What is open begins anew.
    op.moved_ms = shared.now_ms().saturating_sub(now_us.saturating_sub(moved_us(head)) / 1000);
    if may_come_late {
        op.may_come_late(shared.now_ms());
    }
    let bytes = u64::from(op.bytes);
    shared.held_bytes += bytes;
    if head.kind == ActionKind::Clear {
        shared.clears.insert(lsn);
    }
    if let Some(failure) = head.shown_failure() {
        let at = head.history.last().map_or(head.at_us, |h| h.1);
        op.trouble().last = Some((failure, at));
    }
    match decision {
        Decision::Redo | Decision::Undo => {
            op.stage = if decision == Decision::Undo {
                Stage::Undo
            } else if head.kind == ActionKind::Clear {
                Stage::Clear
            } else {
                Stage::Surreal
            };
            shared.open.insert(lsn);
            shared.open_bytes += bytes;
            let admission = Admission { table: bucket.table, wants_vectors: head.wants_vectors, defines: Vec::new() };
            shared.tables.logged(&admission);
            if head.image.is_some() && head.kind == ActionKind::Atomic && !head.removes.is_empty() {
                shared.takers.insert(lsn, Along::Unknown);
            }
            start(shared, lsn, op);
        }
        Decision::Verify => {
            op.stage = Stage::Verify;
            shared.oldest_verified.get_or_insert(lsn);
            // Its end stands in the log: whoever asks is told at once, whatever the stores still have to show.
            op.settled = true;
            start(shared, lsn, op);
        }
        Decision::Ended if takes_points_back(head) => {
            // Its points were made what they were: that may not have been durable yet.
            op.stage = Stage::Relook;
            op.settled = true;
            start(shared, lsn, op);
        }
        Decision::Overtaken | Decision::Ended => {
            op.settled = true;
            op.released = true;
            shared.ops.insert(lsn, op);
            shared.settled.insert(lsn);
            shared.settled_bytes += bytes;
        }
        Decision::LeaveParked => {
            op.settled = true;
            op.released = true;
            shared.ops.insert(lsn, op);
        }
    }
}

fn takes_points_back(head: &OpHead) -> bool {
    matches!(head.state, State::RolledBack | State::Discarded) && head.image.is_some() && head.wants_vectors
}

fn start(shared: &mut Shared, lsn: Lsn, mut op: Op) {
    op.blocked = shared.lanes.enter(lsn, op.lanes.as_slice());
    shared.ops.insert(lsn, op);
    shared.recovering.insert(lsn);
    shared.make_ready(lsn);
}
