//! Prepare: everything that comes before a batch is written to SurrealDB: the claim, the intents, images and judgement (design 4.5).
//!
//! The next batch may be prepared while one is being written, if both hold nothing but puts and relates. Those write their own
//! keys and read the ends of edges, and lanes keep both apart: what is read for the one is not what the other writes. A removal takes
//! edges along that are in nobody's lane, and an edge that is patched must be written with nothing between; these go one after the other.

use lockstep_model::{ActionKind, Lsn};
use lockstep_stores::DocWrite;
use lockstep_wal::{Class as LogClass, Durability, Group};
use tokio::time::Instant;

use crate::core::{Core, Fatal, StoreName};
use crate::image::{ImageError, Judged, take_images};
use crate::pick::pick_ahead;
use crate::surreal_worker::{come_again, judged_failure, refuse, unanswered};
use crate::work::Work;
use crate::{claim, trouble, verify};

/// A batch that is judged, and whose images are durable.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    /// SurrealDB shows these, or has no part in them.
    pub(crate) there: Vec<Work>,
    /// These are written next.
    pub(crate) items: Vec<(Work, Vec<DocWrite>)>,
}

impl Prepared {
    /// The next batch may be prepared while this one is written.
    pub(crate) fn leaves_others_alone(&self) -> bool {
        self.works().all(|work| is_plain(work.intent.op.action.kind()) && !work.seen)
    }

    fn works(&self) -> impl Iterator<Item = &Work> {
        self.there.iter().chain(self.items.iter().map(|(work, _)| work))
    }
}

/// Operations that change nothing but their own key.
pub(crate) const fn is_plain(kind: ActionKind) -> bool {
    matches!(kind, ActionKind::Put | ActionKind::Relate)
}

/// Prepares the batch. What does not go on has been seen to.
pub(crate) async fn prepare(core: &Core, lsns: &[Lsn]) -> Result<Prepared, Fatal> {
    if let Err(error) = claim::ensure(core).await {
        unanswered(core, StoreName::Surreal, lsns, &error)?;
        return Ok(Prepared::default());
    }
    let works = lsns.iter().map(|&lsn| Work::load(core, lsn)).collect::<Result<Vec<_>, _>>()?;
    let Judged { go, refused, alone, behind, flushed } = match take_images(core, works).await {
        Ok(judged) => judged,
        Err(ImageError::Fatal(fatal)) => return Err(fatal),
        Err(ImageError::Lost) => {
            // It has answered.
            trouble::succeeded(core, StoreName::Surreal);
            let mut shared = core.lock();
            lsns.iter().for_each(|lsn| shared.make_ready(*lsn));
            return Ok(Prepared::default());
        }
        Err(ImageError::Store((store, error))) => {
            unanswered(core, store, lsns, &error)?;
            return Ok(Prepared::default());
        }
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
    let mut prepared = Prepared::default();
    for work in go {
        if work.in_surreal || work.passes_surreal() {
            prepared.there.push(work);
        } else {
            let writes = work.document_writes(&work.contents()?);
            prepared.items.push((work, writes));
        }
    }
    Ok(prepared)
}

/// Prepares the next batch while one is written that leaves others alone, if there is a whole one.
pub(crate) async fn prepare_ahead(core: &Core) -> Result<Option<Prepared>, Fatal> {
    // What a store may have lost is looked at between two batches.
    if verify::has_lost(core) {
        return Ok(None);
    }
    match pick_ahead(core) {
        Some(lsns) => prepare(core, &lsns).await.map(Some),
        None => Ok(None),
    }
}

/// What was prepared ahead goes on, unless a store failed or something was paused meanwhile: then it waits with everybody else.
pub(crate) fn still_goes(core: &Core, prepared: Prepared) -> Option<Prepared> {
    let mut shared = core.lock();
    let now = Instant::now();
    let starts = |work: &Work| shared.ops.get(&work.lsn).is_some_and(|op| shared.may_start(op.bucket, now));
    if shared.is_quiet() && prepared.works().all(starts) {
        return Some(prepared);
    }
    let lsns: Vec<Lsn> = prepared.works().map(|work| work.lsn).collect();
    lsns.into_iter().for_each(|lsn| shared.make_ready(lsn));
    None
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
