//! The first worker: SurrealDB, and taking back (design 4.6). One batch is written at a time; while it is, the next may be
//! prepared, and the one before is in Qdrant.

use std::ops::Range;
use std::sync::Arc;

use futures_util::future::join;
use lockstep_model::{Action, Code, Lsn, Refusal};
use lockstep_stores::{Class, DocWrite, ReadBack, StoreError};
use lockstep_wal::Failure;
use tokio::time::sleep_until;

use crate::core::{Core, Fatal, StoreName};
use crate::isolate::{gather, give_back, isolate};
use crate::judge::is_later_of_this_log;
use crate::op::{Op, Stage};
use crate::pick::{Picked, pick_surreal};
use crate::prepare::{Prepared, prepare, prepare_ahead, still_goes};
use crate::work::Work;
use crate::{clear, compensate, end, relook, takers, trouble, verify};

/// Runs until the engine stops.
pub(crate) async fn run(core: Arc<Core>) {
    if let Err(fatal) = takers::recall(&core) {
        core.fail(fatal);
    }
    let mut ahead = None;
    while !core.stop.is_cancelled() {
        if ahead.is_none()
            && let Err(fatal) = verify::after_losses(&core).await
        {
            core.fail(fatal);
        }
        let done = match ahead.take() {
            Some(prepared) => batch(&core, prepared).await,
            None => match pick_surreal(&core) {
                Picked::Batch(stage, lsns) => first(&core, stage, &lsns).await,
                Picked::Nothing(later) => {
                    tokio::select! {
                        biased;
                        () = core.stop.cancelled() => {}
                        () = core.wake_surreal.notified() => {}
                        () = async { sleep_until(later.unwrap_or_else(tokio::time::Instant::now)).await }, if later.is_some() => {}
                    }
                    continue;
                }
            },
        };
        core.progress.notify_waiters();
        match done {
            Ok(next) => ahead = next,
            Err(fatal) => core.fail(fatal),
        }
    }
}

/// What was picked, and nothing is prepared yet.
async fn first(core: &Arc<Core>, stage: Stage, lsns: &[Lsn]) -> Result<Option<Prepared>, Fatal> {
    match stage {
        Stage::Surreal => {
            let prepared = prepare(core, lsns).await?;
            return batch(core, prepared).await;
        }
        Stage::Undo => compensate::undo(core, lsns).await?,
        Stage::Verify => verify::batch(core, lsns).await?,
        Stage::Relook => relook::batch(core, lsns).await?,
        Stage::Clear => clear::start(core, lsns)?,
        Stage::Qdrant => {}
    }
    Ok(None)
}

/// Writes a batch, and prepares the next meanwhile where that is allowed.
async fn batch(core: &Core, prepared: Prepared) -> Result<Option<Prepared>, Fatal> {
    let ahead = prepared.leaves_others_alone();
    let next = async { if ahead { prepare_ahead(core).await } else { Ok(None) } };
    let (written, next) = join(write(core, prepared), next).await;
    written?;
    Ok(next?.and_then(|next| still_goes(core, next)))
}

async fn write(core: &Core, prepared: Prepared) -> Result<(), Fatal> {
    let Prepared { there: mut applied, items } = prepared;
    metrics::histogram!("lockstep_batch_ops", "store" => "surreal").record(items.len() as f64);
    let answers = isolate(
        items,
        |(_, writes), culprit| writes.iter().any(|write| write.key() == Some(culprit)),
        |(_, writes), key| writes.iter().any(|write| write.table() == &key.table),
        |mut batch: Vec<(Work, Vec<DocWrite>)>| async move {
            let together = groups(&batch);
            let writes = gather(&mut batch, |(_, writes)| writes);
            let shown = core.parts.documents.apply(&writes.0, &together).await;
            let answer = give_back(&mut batch, |(_, writes)| writes, writes, shown);
            (batch, answer)
        },
    )
    .await;

    let mut again: Vec<(StoreError, Vec<Lsn>)> = Vec::new();
    // What passes SurrealDB, or is known to be there, says nothing of it.
    if answers.iter().any(|(_, answer)| answer.is_ok()) {
        trouble::succeeded(core, StoreName::Surreal);
    }
    for ((work, writes), answer) in answers {
        match answer {
            Ok(read_backs) => match all_show(core, &work, &writes, &read_backs) {
                Shows::Applied => applied.push(work),
                Shows::Foreign(detail) => {
                    let failure = judged_failure(Refusal::new(Code::NewerVersion, detail));
                    refuse(core, &work, &failure).await?;
                }
                Shows::Nothing => {
                    let error =
                        StoreError::new("surreal", Class::Unknown, "the write left no trace: it is looked at again");
                    again.push((error, vec![work.lsn]));
                }
            },
            Err(error) => match error.class {
                Class::Refused => {
                    trouble::succeeded(core, StoreName::Surreal);
                    refuse(core, &work, &trouble::failure_of(StoreName::Surreal, &error)).await?;
                }
                // The bulk INSERT met a key that is there: everything it carried goes by image, now.
                Class::Exists => come_again(core, work.lsn, |op| op.long_way = true),
                Class::NotApplied | Class::Configuration(_) | Class::Unknown | Class::Fenced => {
                    match again.iter_mut().find(|(e, _)| e.detail == error.detail && e.class == error.class) {
                        Some((_, lsns)) => lsns.push(work.lsn),
                        None => again.push((error, vec![work.lsn])),
                    }
                }
            },
        }
    }
    if !applied.is_empty() {
        end::surreal_applied(core, applied)?;
    }
    for (error, lsns) in again {
        unanswered(core, StoreName::Surreal, &lsns, &error)?;
    }
    Ok(())
}

/// Where in the batch's writes each group stands: all of its writes show, or none.
fn groups(batch: &[(Work, Vec<DocWrite>)]) -> Vec<Range<usize>> {
    let mut from = 0;
    let mut groups = Vec::new();
    for (work, writes) in batch {
        if work.is_group() {
            groups.push(from..from + writes.len());
        }
        from += writes.len();
    }
    groups
}

/// It ends refused. What an earlier attempt may have applied of a group is taken back, or parked where the table says so.
pub(crate) async fn refuse(core: &Core, work: &Work, failure: &Failure) -> Result<(), Fatal> {
    if work.is_group() && work.seen {
        return end::compensate(core, work.lsn, failure).await;
    }
    if work.seen && matches!(work.intent.op.action, Action::Delete { .. } | Action::Unrelate(_)) {
        // An earlier attempt may have been carried out, and edges have gone: their points are looked after.
        let mut shared = core.lock();
        let now_ms = shared.now_ms();
        if let Some(op) = shared.ops.get_mut(&work.lsn) {
            op.may_come_late(now_ms);
        }
    }
    end::refuse(core, &[work.lsn], failure)
}

/// Nothing was written: the operation is ready again, differently.
pub(crate) fn come_again(core: &Core, lsn: Lsn, change: impl FnOnce(&mut Op)) {
    let mut shared = core.lock();
    if let Some(op) = shared.ops.get_mut(&lsn) {
        change(op);
    }
    shared.make_ready(lsn);
    drop(shared);
    core.wake_surreal.notify_one();
}

/// What reading back means for the operation: the only thing that decides what was applied.
enum Shows {
    Applied,
    /// A newer version that this log did not write.
    Foreign(String),
    /// Neither this write nor a newer one.
    Nothing,
}

/// A group shows when every one of its writes does.
fn all_show(core: &Core, work: &Work, writes: &[DocWrite], read_backs: &[ReadBack]) -> Shows {
    let mut all = Shows::Applied;
    for (write, read_back) in writes.iter().zip(read_backs) {
        match shows(core, work, write, *read_back) {
            Shows::Applied => {}
            Shows::Nothing => all = Shows::Nothing,
            foreign @ Shows::Foreign(_) => return foreign,
        }
    }
    all
}

fn shows(core: &Core, work: &Work, write: &DocWrite, read_back: ReadBack) -> Shows {
    let newer = |stamp: lockstep_stores::Stamp| {
        if work.seen && is_later_of_this_log(core, work, &stamp) {
            Shows::Applied
        } else {
            core.lock().clock.lift_above(stamp.version);
            Shows::Foreign(format!("the record carries version {}, which this log did not write", stamp.version))
        }
    };
    match (write, read_back) {
        (DocWrite::Put { .. }, ReadBack::There(stamp)) if stamp.op == work.op_id => Shows::Applied,
        (DocWrite::Delete { .. } | DocWrite::DeleteBetween { .. }, ReadBack::Absent) => Shows::Applied,
        (_, ReadBack::There(stamp)) if stamp.version > work.version => newer(stamp),
        // A replayed put whose record a later delete of this log took away again is met by that delete's own replay.
        (_, ReadBack::There(_) | ReadBack::Absent | ReadBack::Unstamped) => Shows::Nothing,
    }
}

/// The store did not take the call: the operations wait, or, if their attempts are used up, are given up.
pub(crate) fn unanswered(core: &Core, store: StoreName, lsns: &[Lsn], error: &StoreError) -> Result<(), Fatal> {
    for lsn in trouble::failed(core, store, lsns, error) {
        // This call has done nothing; one before it may have, and its outcome is not known.
        let seen = core.lock().ops.get(&lsn).is_some_and(|op| op.seen);
        let nothing_there = error.class == Class::NotApplied && !seen;
        end::give_up(core, lsn, trouble::given_up(core, store, error), nothing_there)?;
    }
    Ok(())
}

pub(crate) fn judged_failure(refusal: Refusal) -> Failure {
    Failure { store: "lockstep".into(), code: refusal.code, detail: refusal.detail }
}
