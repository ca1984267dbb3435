//! The first worker: images, SurrealDB, and taking back (design 4.5, 4.6). One batch at a time; while one is in Qdrant, the
//! next is here.

use std::sync::Arc;

use lockstep_model::{Code, Lsn, Refusal};
use lockstep_stores::{Class, DocWrite, ReadBack, StoreError};
use lockstep_wal::Failure;
use tokio::time::sleep_until;

use crate::core::{Core, Fatal, StoreName};
use crate::image::{ImageError, Judged, is_later_of_this_log, take_images};
use crate::isolate::isolate;
use crate::op::{Op, Stage};
use crate::pick::{Picked, pick_surreal};
use crate::work::{Content, Work};
use crate::{compensate, end, trouble, verify};

/// Runs until the engine stops.
pub(crate) async fn run(core: Arc<Core>) {
    while !core.stop.is_cancelled() {
        match pick_surreal(&core) {
            Picked::Batch(stage, lsns) => {
                let done = match stage {
                    Stage::Surreal => batch(&core, &lsns).await,
                    Stage::Undo => compensate::undo(&core, &lsns).await,
                    Stage::Verify => verify::batch(&core, &lsns).await,
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
    let works = lsns.iter().map(|&lsn| Work::load(core, lsn)).collect::<Result<Vec<_>, _>>()?;
    let Judged { go, refused, alone } = match take_images(core, works).await {
        Ok(judged) => judged,
        Err(ImageError::Fatal(fatal)) => return Err(fatal),
        Err(ImageError::Store(store, error)) => return unanswered(core, store, lsns, &error),
    };
    for work in alone {
        come_again(core, work.lsn, |op| op.alone = true);
    }
    for (work, refusal) in refused {
        end::refuse(core, &[work.lsn], &judged_failure(refusal))?;
    }
    let (there, to_write): (Vec<Work>, Vec<Work>) = go.into_iter().partition(|work| work.in_surreal);
    let mut applied = there;
    let mut items = Vec::with_capacity(to_write.len());
    for work in to_write {
        let content = work.content()?;
        let write = work.document_write(&content);
        items.push((work, content, write));
    }
    let answers = isolate(
        items,
        |(_, content, _)| key_of(content),
        |batch: &[(Work, Content, DocWrite)]| {
            let writes: Vec<DocWrite> = batch.iter().map(|(_, _, write)| write.clone()).collect();
            async move { core.parts.documents.apply(&writes).await }
        },
    )
    .await;

    let mut again: Vec<(StoreError, Vec<Lsn>)> = Vec::new();
    for ((work, _, write), answer) in answers {
        match answer {
            Ok(read_back) => match shows(core, &work, &write, read_back) {
                Shows::Applied => applied.push(work),
                Shows::Foreign(detail) => {
                    let failure = judged_failure(Refusal::new(Code::NewerVersion, detail));
                    end::refuse(core, &[work.lsn], &failure)?;
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
                    end::refuse(core, &[work.lsn], &trouble::failure_of(StoreName::Surreal, &error))?;
                }
                // The bulk INSERT met a key that is there: everything it carried goes by image, now.
                Class::Exists => come_again(core, work.lsn, |op| op.long_way = true),
                Class::NotApplied | Class::Configuration(_) | Class::Unknown => {
                    match again.iter_mut().find(|(e, _)| e.detail == error.detail && e.class == error.class) {
                        Some((_, lsns)) => lsns.push(work.lsn),
                        None => again.push((error, vec![work.lsn])),
                    }
                }
            },
        }
    }
    if !applied.is_empty() {
        trouble::succeeded(core, StoreName::Surreal);
        end::surreal_applied(core, applied)?;
    }
    for (error, lsns) in again {
        unanswered(core, StoreName::Surreal, &lsns, &error)?;
    }
    Ok(())
}

fn key_of(content: &Content) -> Option<lockstep_model::Key> {
    match content {
        Content::Put { key, .. } | Content::Remove { key, .. } => Some(key.clone()),
        Content::RemoveBetween { .. } => None,
    }
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
        end::give_up(core, lsn, trouble::given_up(core, store, error), error.class == Class::NotApplied)?;
    }
    Ok(())
}

fn judged_failure(refusal: Refusal) -> Failure {
    Failure { store: "lockstep".into(), code: refusal.code, detail: refusal.detail }
}
