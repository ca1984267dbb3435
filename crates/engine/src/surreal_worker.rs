//! The first worker: images, SurrealDB, and taking back (design 4.5, 4.6). One batch at a time; while one is in Qdrant, the
//! next is here.

use std::ops::Range;
use std::sync::Arc;

use lockstep_model::{Code, Lsn, Refusal};
use lockstep_stores::{Class, DocWrite, ReadBack, StoreError};
use lockstep_wal::{Class as LogClass, Durability, Failure, Group};
use tokio::time::sleep_until;

use crate::core::{Core, Fatal, StoreName};
use crate::image::{ImageError, Judged, take_images};
use crate::isolate::{gather, give_back, isolate};
use crate::judge::is_later_of_this_log;
use crate::op::{Op, Stage};
use crate::pick::{Picked, pick_surreal};
use crate::work::Work;
use crate::{claim, clear, compensate, end, relook, takers, trouble, verify};

/// Runs until the engine stops.
pub(crate) async fn run(core: Arc<Core>) {
    if let Err(fatal) = takers::recall(&core) {
        core.fail(fatal);
    }
    while !core.stop.is_cancelled() {
        match pick_surreal(&core) {
            Picked::Batch(stage, lsns) => {
                let done = match stage {
                    Stage::Surreal => batch(&core, &lsns).await,
                    Stage::Undo => compensate::undo(&core, &lsns).await,
                    Stage::Verify => verify::batch(&core, &lsns).await,
                    Stage::Relook => relook::batch(&core, &lsns).await,
                    Stage::Clear => clear::start(&core, &lsns),
                    Stage::Qdrant => Ok(()),
                };
                core.lock().in_flight -= 1;
                core.progress.notify_waiters();
                if let Err(fatal) = done {
                    core.fail(fatal);
                }
            }
            Picked::Nothing(later) => {
                tokio::select! {
                    biased;
                    () = core.stop.cancelled() => {}
                    () = core.wake_surreal.notified() => {}
                    () = async { sleep_until(later.unwrap_or_else(tokio::time::Instant::now)).await }, if later.is_some() => {}
                }
            }
        }
    }
}

async fn batch(core: &Core, lsns: &[Lsn]) -> Result<(), Fatal> {
    if let Err(error) = claim::ensure(core).await {
        return unanswered(core, StoreName::Surreal, lsns, &error);
    }
    let works = lsns.iter().map(|&lsn| Work::load(core, lsn)).collect::<Result<Vec<_>, _>>()?;
    let Judged { go, refused, alone, behind, flushed } = match take_images(core, works).await {
        Ok(judged) => judged,
        Err(ImageError::Fatal(fatal)) => return Err(fatal),
        Err(ImageError::Store((store, error))) => return unanswered(core, store, lsns, &error),
    };
    for work in alone {
        come_again(core, work.lsn, |op| op.alone = true);
    }
    for (work, older) in behind {
        let mut shared = core.lock();
        if shared.ops.get(&older).is_some_and(|op| op.state.is_open() && !op.released) {
            shared.wait_behind(work.lsn, older);
        } else {
            shared.make_ready(work.lsn);
        }
    }
    for (work, refusal) in refused {
        refuse(core, &work, &judged_failure(refusal)).await?;
    }
    if !flushed {
        ends_before(core, &go).await?;
    }
    let (there, to_write): (Vec<Work>, Vec<Work>) =
        go.into_iter().partition(|work| work.in_surreal || work.passes_surreal());
    let mut applied = there;
    let mut items = Vec::with_capacity(to_write.len());
    for work in to_write {
        let contents = work.contents()?;
        let writes = work.document_writes(&contents);
        items.push((work, writes));
    }
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

/// What an operation without image waited for has its end mark in the log, but perhaps not durably: after a crash it would be
/// judged again, by what its successor has written (scenario A4).
async fn ends_before(core: &Core, works: &[Work]) -> Result<(), Fatal> {
    let ticket = {
        let mut shared = core.lock();
        if !works.iter().any(|work| shared.ops.get(&work.lsn).is_some_and(|op| op.waited)) {
            return Ok(());
        }
        let positions = core.parts.log.positions();
        if positions.durable >= positions.appended {
            return Ok(());
        }
        // Everything before an empty group is durable when the group is.
        core.append(&mut shared, Group::new(Durability::Flush, LogClass::Drain)).map_err(Fatal::Log)?.ticket
    };
    ticket.await.map_err(Fatal::Log)
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
async fn refuse(core: &Core, work: &Work, failure: &Failure) -> Result<(), Fatal> {
    if work.is_group() && work.seen {
        return end::compensate(core, work.lsn, failure).await;
    }
    end::refuse(core, &[work.lsn], failure)
}

/// Nothing was written: the operation is ready again, differently.
fn come_again(core: &Core, lsn: Lsn, change: impl FnOnce(&mut Op)) {
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
fn unanswered(core: &Core, store: StoreName, lsns: &[Lsn], error: &StoreError) -> Result<(), Fatal> {
    for lsn in trouble::failed(core, store, lsns, error) {
        // This call has done nothing; one before it may have, and its outcome is not known.
        let seen = core.lock().ops.get(&lsn).is_some_and(|op| op.seen);
        let nothing_there = error.class == Class::NotApplied && !seen;
        end::give_up(core, lsn, trouble::given_up(core, store, error), nothing_there)?;
    }
    Ok(())
}

fn judged_failure(refusal: Refusal) -> Failure {
    Failure { store: "lockstep".into(), code: refusal.code, detail: refusal.detail }
}
