//! Compensate: take back what SurrealDB shows of an operation that Qdrant refused, in one guarded statement (design 4). A group's
//! points go back after its records.

use std::collections::{HashMap, HashSet};

use lockstep_model::{Action, Key, Lsn, PointId, State};
use lockstep_stores::{Class, ImageAsk, PointWrite, StoreError, Undo, UndoTo, Undone, Want, Wrote};
use lockstep_wal::Before;

use crate::core::{Core, Fatal, StoreName};
use crate::op::Op;
use crate::restore::restores;
use crate::work::{Content, Work, read_intent};
use crate::{claim, decide, end, relook, trouble};

/// Takes the operations back, one by one. What a store does not answer comes again, for as long as it takes: the
/// decision is in the log.
pub(crate) async fn undo(core: &Core, lsns: &[Lsn]) -> Result<(), Fatal> {
    for &lsn in lsns {
        let work = Work::load(core, lsn)?;
        if work.image.is_none() && core.lock().ops.get(&lsn).is_some_and(|op| op.doubtful) {
            // That it created what it wrote is not proven then.
            end::undone(core, lsn, Some("what was there before it may be among the log's lost records".into()))?;
            continue;
        }
        let parked = core.lock().ops.get(&lsn).is_some_and(|op| op.state == State::Parked);
        if parked
            && work.is_group()
            && let Some(younger) = decide::written_since(core, lsn, &work.intent.op.action)?
        {
            // That a key is gone does not tell whether the group removed it, or somebody since.
            end::undone(core, lsn, Some(format!("operation {younger} has written one of its keys since")))?;
            continue;
        }
        if parked && let Some(clear) = cleared_since(core, &work)? {
            end::undone(
                core,
                lsn,
                Some(format!("what was there before has been cleared since, by operation {clear}")),
            )?;
            continue;
        }
        let taken_back = match leaves_nothing(core, &work).await {
            Ok(Some(undone)) => Ok(undone),
            Err(error) => Err((StoreName::Surreal, error)),
            Ok(None) => {
                let Some(undos) = undos(&work)? else {
                    end::undone(core, lsn, Some("a removal goes forward only".into()))?;
                    continue;
                };
                take_back(core, &work, &undos).await?
            }
        };
        let taken_back = match taken_back {
            Ok(Undone::Restored | Undone::AlreadyThere) if points_are_unsure(core, &work) => {
                relook::mend(core, &work).await?.map(|()| Undone::Restored)
            }
            other => other,
        };
        match taken_back {
            Ok(Undone::Restored | Undone::AlreadyThere) => end::undone(core, lsn, None)?,
            Ok(Undone::Blocked(found)) => end::undone(core, lsn, Some(found))?,
            Err((_, error)) if error.class == Class::Refused => end::undone(core, lsn, Some(error.detail))?,
            Err((store, error)) => {
                let cause = core.lock().ops.get(&lsn).and_then(|op| op.trouble.as_ref()?.last.clone());
                let used_up = trouble::failed(core, store, &[lsn], &error);
                let mut shared = core.lock();
                if let Some(op) = shared.ops.get_mut(&lsn) {
                    // Why it is taken back stays its failure; attempts do not end an undo.
                    op.trouble().last = cause;
                }
                if !used_up.is_empty() {
                    shared.make_ready(lsn);
                }
            }
        }
    }
    Ok(())
}

/// A clear that is retained, and younger than what the operation was written over: it would have removed that, and spared the operation's
/// own write, or has removed it.
fn cleared_since(core: &Core, work: &Work) -> Result<Option<Lsn>, Fatal> {
    let clears: Vec<Lsn> = {
        let shared = core.lock();
        let committed = |lsn: &Lsn| shared.ops.get(lsn).is_some_and(|op| op.state == State::Committed);
        shared.clears.iter().filter(committed).collect()
    };
    for lsn in clears {
        let clear = read_intent(core, lsn)?;
        let Action::Clear { table, .. } = &clear.op.action else { continue };
        let befores = work.image.iter().flat_map(|image| &image.before);
        let covers = |before: &Before| {
            let of_table = before.key.parse::<Key>().is_ok_and(|key| key.table == *table);
            of_table && before.raw.is_some() && before.version.is_none_or(|version| version < clear.version)
        };
        if befores.into_iter().any(covers) {
            return Ok(Some(lsn));
        }
    }
    Ok(None)
}

/// Its points may be others than its image, or the lack of one, says: a request came to Qdrant although nobody was told so, or an embedded
/// Qdrant had not flushed what a process wrote that is gone.
fn points_are_unsure(core: &Core, work: &Work) -> bool {
    let shared = core.lock();
    let may = |op: &Op| op.seen || op.late_ms.is_some();
    work.intent.wants_vectors && shared.ops.get(&work.lsn).is_some_and(may)
}

/// What has no image has touched nothing, or is one of the few writes that need none. Of those only a bulk INSERT can be taken
/// back: it proved that there was nothing before. What any other wrote over, the log does not know, and what is there stays for
/// the operator to see. `None`: there is something to take back.
async fn leaves_nothing(core: &Core, work: &Work) -> Result<Option<Undone>, StoreError> {
    let key = match &work.intent.op.action {
        Action::Put { key, .. } | Action::Relate { key, .. } | Action::Patch { key, .. } => key,
        Action::Atomic(_) if work.image.is_none() => return Ok(Some(Undone::AlreadyThere)),
        Action::Atomic(_) | Action::Delete { .. } | Action::Unrelate(_) | Action::Clear { .. } => return Ok(None),
    };
    if work.image.is_some() || work.passes_surreal() {
        return Ok(None);
    }
    claim::ensure(core).await?;
    let ask = ImageAsk { key: key.clone(), want: Want::Stamp, edges: false };
    let images = core.parts.documents.images(&[ask]).await?;
    let stamp = images.into_iter().next().and_then(|image| image.found?.stamp);
    Ok(match stamp {
        Some(stamp) if stamp.op == work.op_id && stamp.created => None,
        Some(stamp) if stamp.op == work.op_id => {
            Some(Undone::Blocked("what it was written over is not in the log".to_owned()))
        }
        Some(stamp) if stamp.version > work.version => {
            Some(Undone::Blocked(format!("it has been written since: the record carries version {}", stamp.version)))
        }
        Some(_) | None => Some(Undone::AlreadyThere),
    })
}

/// Records first, behind their guard; points only when the records are back. Each part may be done again.
async fn take_back(core: &Core, work: &Work, undos: &[Undo]) -> Result<Result<Undone, (StoreName, StoreError)>, Fatal> {
    if !undos.is_empty() {
        let undone = match claim::ensure(core).await {
            Ok(()) => core.parts.documents.undo(undos).await,
            Err(error) => Err(error),
        };
        match undone {
            Ok(Undone::Blocked(found)) => return Ok(Ok(Undone::Blocked(found))),
            Ok(Undone::Restored | Undone::AlreadyThere) => trouble::succeeded(core, StoreName::Surreal),
            Err(error) => return Ok(Err((StoreName::Surreal, error))),
        }
    }
    let stayed_away = match stayed_away(core, undos).await {
        Ok(keys) => keys,
        Err(error) => return Ok(Err((StoreName::Surreal, error))),
    };
    let gone: Vec<(String, PointId)> = {
        let shared = core.lock();
        stayed_away.iter().filter_map(|key| shared.tables.point(key)).collect()
    };
    for (collection, mut writes) in restores(work)? {
        for write in &mut writes {
            if gone.iter().any(|(of, id)| *of == collection && *id == write.id()) {
                *write = PointWrite::Delete { id: write.id(), version: work.version };
            }
        }
        match core.parts.vectors.apply(&collection, &writes).await {
            Ok(_) => trouble::succeeded(core, StoreName::Qdrant),
            // What is not there has nothing of this operation.
            Err(error) if error.is_no_collection() => {}
            Err(error) => return Ok(Err((StoreName::Qdrant, error))),
        }
    }
    Ok(Ok(Undone::Restored))
}

/// Edges that did not come back, because one of their ends is gone: a group stands in the lanes of what it deletes, not in those of the other
/// ends of the edges that went along. Such an end can have been deleted meanwhile, and the edge would have gone with it. Its point goes now.
async fn stayed_away(core: &Core, undos: &[Undo]) -> Result<Vec<Key>, StoreError> {
    let comes_back = |undo: &&Undo| matches!((&undo.wrote, &undo.to), (Wrote::Removed, UndoTo::Image { .. }));
    let ask = |undo: &Undo| ImageAsk { key: undo.key.clone(), want: Want::Stamp, edges: false };
    let asks: Vec<ImageAsk> = undos.iter().filter(comes_back).map(ask).collect();
    if asks.is_empty() {
        return Ok(Vec::new());
    }
    let images = core.parts.documents.images(&asks).await?;
    Ok(images.into_iter().filter(|image| image.found.is_none()).map(|image| image.key).collect())
}

/// What has to be undone in SurrealDB; none for what goes forward only.
fn undos(work: &Work) -> Result<Option<Vec<Undo>>, Fatal> {
    if work.passes_surreal() {
        return Ok(Some(Vec::new()));
    }
    let befores: HashMap<&str, &Before> =
        work.image.iter().flat_map(|image| &image.before).map(|before| (before.key.as_str(), before)).collect();
    let to = |key: &Key| {
        let before = befores.get(key.to_string().as_str());
        match before.and_then(|b| Some((b.raw.clone()?, b.version))) {
            Some((raw, version)) => UndoTo::Image { raw, version },
            // Without an image it was the bulk INSERT, whose success proved absence.
            None => UndoTo::Absent,
        }
    };
    let version = work.version;
    let removed = |key: &Key| match to(key) {
        UndoTo::Absent => None,
        to @ UndoTo::Image { .. } => Some(Undo { key: key.clone(), version, wrote: Wrote::Removed, to }),
    };
    let mut undos: Vec<Undo> = Vec::new();
    for content in work.contents()? {
        match content {
            Content::Put { key, document, .. } => {
                let to = to(&key);
                undos.push(Undo { key, version, wrote: Wrote::Put(document), to });
            }
            Content::Remove { .. } | Content::RemoveBetween { .. } if !work.is_group() => return Ok(None),
            Content::Remove { key, edges, .. } => {
                undos.extend(removed(&key));
                undos.extend(edges.iter().filter_map(|edge| removed(&edge.key)));
            }
            Content::RemoveBetween { edges, .. } => undos.extend(edges.iter().filter_map(|edge| removed(&edge.key))),
        }
    }
    // An edge that goes with a record can be a member of its own, or hang on two records that go.
    let mut seen = HashSet::new();
    undos.retain(|undo| seen.insert(undo.key.clone()));
    Ok(Some(undos))
}
