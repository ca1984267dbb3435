//! Marks: one record for all operations of a batch that reach a state together.

use std::time::Duration;

use lockstep_model::{Lsn, State};
use lockstep_wal::{Class, Durability, Failure, Group, Mark, Record, Ticket};

use crate::core::{Core, Fatal, Shared};
use crate::op::Op;

/// Appends one mark for each of `states`, in that order, for all of `ops`. After the call the operations are in the last of
/// the states; after the ticket, durably so. Also tells where the last of the marks stands.
pub(crate) fn mark(
    core: &Core,
    shared: &mut Shared,
    ops: &[Lsn],
    states: &[State],
    failure: Option<&Failure>,
    durability: Durability,
) -> Result<(Ticket, Lsn), Fatal> {
    let mut group = Group::new(durability, Class::Drain);
    put(core, &mut group, ops, states, failure)?;
    let appended = core.append(shared, group).map_err(Fatal::Log)?;
    let last = marked(shared, ops, states, appended.first);
    Ok((appended.ticket, last))
}

/// Puts the marks into a group.
pub(crate) fn put(
    core: &Core,
    group: &mut Group,
    ops: &[Lsn],
    states: &[State],
    failure: Option<&Failure>,
) -> Result<(), Fatal> {
    let at_us = core.parts.clock.now_us();
    for &state in states {
        let record = Record::Mark(Mark { state, at_us, ops: ops.to_vec(), failure: failure.cloned() });
        group.entries.push(record.encode().map_err(|e| Fatal::Lost(e.to_string()))?);
    }
    Ok(())
}

/// The marks stand in the log, from `first` on: the operations are in the last of the states. Tells where its mark stands.
pub(crate) fn marked(shared: &mut Shared, ops: &[Lsn], states: &[State], first: Lsn) -> Lsn {
    let now_ms = shared.now_ms();
    // What passes a state without a call took no time there.
    let stage = match states.first() {
        Some(State::SurrealCompleted) => Some("surreal"),
        Some(State::QdrantCompleted) => Some("qdrant"),
        Some(
            State::Pending
            | State::Committed
            | State::Compensating
            | State::RolledBack
            | State::Parked
            | State::Discarded,
        )
        | None => None,
    };
    if let Some(stage) = stage {
        for op in ops.iter().filter_map(|op| shared.ops.get(op)) {
            took(stage, now_ms, op);
        }
    }
    let mut lsn = first;
    let mut last = first;
    for &state in states {
        shared.marks.insert(lsn, u32::try_from(ops.len()).unwrap_or(u32::MAX));
        for op in ops {
            if let Some(op) = shared.ops.get_mut(op) {
                debug_assert!(
                    lockstep_model::is_legal_step(op.state, state),
                    "{} cannot become {}",
                    op.state.as_str(),
                    state.as_str()
                );
                op.state = state;
                op.add_mark(lsn);
                op.moved_ms = now_ms;
            }
        }
        last = lsn;
        lsn = lsn.next();
    }
    last
}

/// Reports how long the operation took since it last moved.
pub(crate) fn took(stage: &'static str, now_ms: u64, op: &Op) {
    let took = Duration::from_millis(now_ms.saturating_sub(op.moved_ms));
    metrics::histogram!("lockstep_stage_seconds", "stage" => stage).record(took.as_secs_f64());
}
