//! End: marks, lanes, answers (design 4.8). The end mark is appended before the lanes are released, and an answer leaves only
//! when the mark is durable: a crash can then never take back an answer (P2).

use lockstep_model::{ActionKind, Code, Lsn, OnReject, State};
use lockstep_wal::{Durability, Failure, Ticket};

use crate::core::{Awaited, Core, Ending, Fatal, Shared, StoreName};
use crate::mark::mark;
use crate::op::Stage;
use crate::work::Work;
use crate::{decide, verify};

/// SurrealDB shows these writes. What has work in Qdrant goes there, the rest is committed.
pub(crate) fn surreal_applied(core: &Core, works: Vec<Work>) -> Result<(), Fatal> {
    let mut shared = core.lock();
    let (on, done): (Vec<Work>, Vec<Work>) = works.into_iter().partition(|work| work.intent.wants_vectors);
    let on_lsns: Vec<Lsn> = on.iter().map(|work| work.lsn).collect();
    for work in &on {
        if let Some(table) = shared.ops.get(&work.lsn).map(|op| op.bucket.table) {
            shared.tables.serve(table, StoreName::Surreal);
        }
    }
    advance(core, &mut shared, &on_lsns, State::SurrealCompleted)?;
    for work in on {
        let lsn = work.lsn;
        if let Some(op) = shared.ops.get_mut(&lsn) {
            op.stage = Stage::Qdrant;
            op.alone = false;
            if let Some(trouble) = &mut op.trouble {
                trouble.next_attempt = None;
            }
        }
        shared.handed.insert(lsn, Box::new(work));
        shared.make_ready(lsn);
    }
    let done: Vec<Lsn> = done.iter().map(|work| work.lsn).collect();
    advance(core, &mut shared, &done, State::Committed)?;
    drop(shared);
    core.wake();
    Ok(())
}

/// Both stores show these writes.
pub(crate) fn committed(core: &Core, lsns: &[Lsn]) -> Result<(), Fatal> {
    let mut shared = core.lock();
    advance(core, &mut shared, lsns, State::Committed)?;
    drop(shared);
    core.wake();
    Ok(())
}

/// A clear's last page has ended. The failure, if there is one, names what could not be removed. Unless more is looked at than when the clear
/// began its list, `looks`: then nothing ends.
pub(crate) fn cleared(core: &Core, lsn: Lsn, looks: u64, failure: Option<&Failure>) -> Result<bool, Fatal> {
    const WAY: [State; 3] = [State::SurrealCompleted, State::QdrantCompleted, State::Committed];
    let mut shared = core.lock();
    if shared.looks != looks {
        return Ok(false);
    }
    end(core, &mut shared, &[lsn], &WAY, failure)?;
    drop(shared);
    core.wake();
    Ok(true)
}

/// Marks what is still missing on the way to `target`; operations that recovery carries on may have come part of it before.
fn advance(core: &Core, shared: &mut Shared, lsns: &[Lsn], target: State) -> Result<(), Fatal> {
    const WAY: [State; 4] = [State::Pending, State::SurrealCompleted, State::QdrantCompleted, State::Committed];
    let goal = WAY.iter().position(|&s| s == target).unwrap_or(0);
    let mut by_state = std::collections::BTreeMap::<usize, Vec<Lsn>>::new();
    for &lsn in lsns {
        let Some(state) = shared.ops.get(&lsn).map(|op| op.state) else { continue };
        by_state.entry(WAY.iter().position(|&s| s == state).unwrap_or(goal)).or_default().push(lsn);
    }
    for (at, lsns) in by_state {
        let states = WAY.get(at + 1..=goal).unwrap_or_default();
        if states.is_empty() {
            continue;
        }
        if target == State::Committed {
            end(core, shared, &lsns, states, None)?;
        } else {
            // Nobody waits for it: replay repeats idempotent work.
            let _ = mark(core, shared, &lsns, states, None, Durability::Lazy)?;
        }
    }
    Ok(())
}

/// These end without having changed anything: `rolled_back`, or `parked` where the table says so.
pub(crate) fn refuse(core: &Core, lsns: &[Lsn], failure: &Failure) -> Result<(), Fatal> {
    let mut shared = core.lock();
    for &lsn in lsns {
        let park = parks(&shared, lsn, failure);
        let states: &[State] = if park { &[State::Parked] } else { &[State::Compensating, State::RolledBack] };
        end(core, &mut shared, &[lsn], states, Some(failure))?;
    }
    drop(shared);
    core.wake();
    Ok(())
}

/// Its table keeps what a store refuses for good for an operator.
fn parks(shared: &Shared, lsn: Lsn, failure: &Failure) -> bool {
    matches!(failure.code, Code::RejectedBySurreal | Code::RejectedByQdrant) && on_reject(shared, lsn) == OnReject::Park
}

/// It was refused for good, and SurrealDB may show it: that is taken back. The decision is durable before anything is undone.
pub(crate) async fn compensate(core: &Core, lsn: Lsn, failure: &Failure) -> Result<(), Fatal> {
    let ticket = {
        let mut shared = core.lock();
        shared.handed.remove(&lsn);
        let forward_only = shared.ops.get(&lsn).is_some_and(|op| !undoable(op.kind));
        if forward_only || parks(&shared, lsn, failure) {
            end(core, &mut shared, &[lsn], &[State::Parked], Some(failure))?;
            return Ok(());
        }
        let now_us = core.parts.clock.now_us();
        if let Some(op) = shared.ops.get_mut(&lsn) {
            op.stage = Stage::Undo;
            op.trouble().last = Some((failure.clone(), now_us));
            op.trouble().next_attempt = None;
        }
        mark(core, &mut shared, &[lsn], &[State::Compensating], Some(failure), Durability::Flush)?.0
    };
    ticket.await.map_err(Fatal::Log)?;
    core.lock().make_ready(lsn);
    core.wake_surreal.notify_one();
    Ok(())
}

/// What it wrote is taken back, or cannot be.
pub(crate) fn undone(core: &Core, lsn: Lsn, blocked: Option<String>) -> Result<(), Fatal> {
    let mut shared = core.lock();
    let cause = shared.ops.get(&lsn).and_then(|op| op.trouble.as_ref()).and_then(|t| t.last.clone()).map(|(f, _)| f);
    let cause = cause.unwrap_or_else(|| Failure {
        store: "lockstep".into(),
        code: Code::RejectedByQdrant,
        detail: "the reason is not known any more".into(),
    });
    let parked = shared.ops.get(&lsn).is_some_and(|op| op.state == State::Parked);
    match blocked {
        None => end(core, &mut shared, &[lsn], &[State::RolledBack], Some(&cause))?,
        Some(found) if parked => stays_parked(core, &mut shared, lsn, Failure { detail: found, ..cause })?,
        Some(found) => {
            let detail = format!("refused ({}), and cannot be taken back: {found}", cause.detail);
            let failure = Failure { store: cause.store, code: Code::Parked, detail };
            end(core, &mut shared, &[lsn], &[State::Parked], Some(&failure))?;
        }
    }
    drop(shared);
    core.wake();
    Ok(())
}

/// An operator asked to take a parked operation back, and it cannot be: it stays parked, and says why.
fn stays_parked(core: &Core, shared: &mut Shared, lsn: Lsn, failure: Failure) -> Result<(), Fatal> {
    shared.release(lsn);
    let asked = shared.asked.remove(&lsn);
    let ticket = decide::decline(core, shared, lsn, asked, &failure).map_err(Fatal::Log)?;
    core.when_durable(ticket, Awaited::Ended(vec![(lsn, Ending { state: State::Parked, failure: Some(failure) })]));
    Ok(())
}

/// Its attempts at SurrealDB are used up. What is known not to be there ends; what may be there is an operator's.
pub(crate) fn give_up(core: &Core, lsn: Lsn, failure: Failure, nothing_there: bool) -> Result<(), Fatal> {
    if nothing_there {
        return refuse(core, &[lsn], &failure);
    }
    let mut shared = core.lock();
    let failure = Failure { code: Code::Parked, ..failure };
    end(core, &mut shared, &[lsn], &[State::Parked], Some(&failure))?;
    drop(shared);
    core.wake();
    Ok(())
}

/// Marks, then releases the lanes; the answers follow when the marks are durable.
fn end(
    core: &Core,
    shared: &mut Shared,
    lsns: &[Lsn],
    states: &[State],
    failure: Option<&Failure>,
) -> Result<(), Fatal> {
    let Some(&state) = states.last() else { return Ok(()) };
    let (ticket, _) = mark(core, shared, lsns, states, failure, Durability::Flush)?;
    ended(core, shared, lsns, state, failure, ticket)
}

/// The operations' end marks stand in the log.
pub(crate) fn ended(
    core: &Core,
    shared: &mut Shared,
    lsns: &[Lsn],
    state: State,
    failure: Option<&Failure>,
    ticket: Ticket,
) -> Result<(), Fatal> {
    let now_us = core.parts.clock.now_us();
    let mut endings = Vec::with_capacity(lsns.len());
    for &lsn in lsns {
        shared.release(lsn);
        shared.handed.remove(&lsn);
        shared.asked.remove(&lsn);
        let Some(op) = shared.ops.get_mut(&lsn) else { continue };
        if let Some(failure) = failure {
            op.trouble().last = Some((failure.clone(), now_us));
            op.trouble().next_attempt = None;
        } else {
            op.trouble = op.trouble.take().filter(|t| t.attempts > 0);
        }
        let (bucket, kind, at_us) = (op.bucket, op.kind, op.at_us);
        let committed = state == State::Committed;
        // Once: what was parked has counted as ended before.
        if shared.open.contains(lsn) {
            shared.tables.ended(bucket.table, bucket.vectors, committed);
        }
        if committed {
            let surreal = shared.tables.serve(bucket.table, StoreName::Surreal);
            if (bucket.vectors && shared.tables.serve(bucket.table, StoreName::Qdrant)) || surreal {
                tracing::info!(%lsn, "a table that was missing is there again");
            }
            // What is verified meanwhile must know that this is later.
            verify::committed(core, shared, lsn)?;
        }
        metrics::counter!("lockstep_ops_total", "kind" => kind.as_str(), "outcome" => state.as_str()).increment(1);
        let took = std::time::Duration::from_micros(now_us.saturating_sub(at_us));
        metrics::histogram!("lockstep_stage_seconds", "stage" => "total").record(took.as_secs_f64());
        endings.push((lsn, Ending { state, failure: failure.cloned() }));
    }
    core.when_durable(ticket, Awaited::Ended(endings));
    Ok(())
}

/// Removals go forward only; the rest can be taken back.
const fn undoable(kind: ActionKind) -> bool {
    match kind {
        ActionKind::Put | ActionKind::Patch | ActionKind::Relate | ActionKind::Atomic => true,
        ActionKind::Delete | ActionKind::Unrelate | ActionKind::Clear => false,
    }
}

fn on_reject(shared: &Shared, lsn: Lsn) -> OnReject {
    let Some(table) = shared.ops.get(&lsn).map(|op| op.bucket.table) else { return OnReject::Rollback };
    // One table that keeps what is refused keeps the whole group.
    let parks = shared.tables.numbered(table).any(|(_, info)| info.rules.on_reject == OnReject::Park);
    if parks { OnReject::Park } else { OnReject::Rollback }
}
