//! Batch: what a worker takes up next, bounded by count and bytes (design 4.4). A lone operation never waits for a batch to fill.

use lockstep_model::{ActionKind, Lsn};
use tokio::time::Instant;

use crate::core::{Core, Shared, StoreName};
use crate::op::{Op, Stage};
use crate::prepare::is_plain;
use crate::ready::Bucket;

/// Operations of one stage, oldest first, or when to look again.
pub(crate) enum Picked {
    Batch(Stage, Vec<Lsn>),
    Nothing(Option<Instant>),
}

/// The next batch for the first worker.
pub(crate) fn pick_surreal(core: &Core) -> Picked {
    let mut shared = core.lock();
    let now = Instant::now();
    let mut later = shared.surreal.wake(now);
    let shared = &mut *shared;
    let batch = collect(core, shared, StoreName::Surreal, may_start(core, shared, now), |_| true);
    shared.surreal_busy = batch.is_some();
    if let Some((stage, lsns)) = batch {
        return Picked::Batch(stage, lsns);
    }
    for breaker in &shared.breakers {
        later = earlier(later, breaker.opens_at(now));
    }
    later = earlier(later, shared.tables.next_try(now));
    Picked::Nothing(later)
}

/// A batch that may be prepared while the first worker writes another, if there is a whole one: for less it is not worth being smaller
/// than it would be a moment later.
pub(crate) fn pick_ahead(core: &Core) -> Option<Vec<Lsn>> {
    let mut shared = core.lock();
    let now = Instant::now();
    let most = core.settings().batch_ops;
    if !shared.is_quiet() || shared.surreal.len() < most {
        return None;
    }
    let shared = &mut *shared;
    let plain = |op: &Op| is_plain(op.kind) && op.stage == Stage::Surreal && !op.seen && !op.alone;
    let (_, lsns) = collect(core, shared, StoreName::Surreal, may_start(core, shared, now), plain)?;
    if lsns.len() < most {
        lsns.into_iter().for_each(|lsn| shared.make_ready(lsn));
        return None;
    }
    Some(lsns)
}

/// Whether work in a bucket may start at its first store. Where many wait for Qdrant already, nobody is sent after them.
fn may_start(core: &Core, shared: &Shared, now: Instant) -> impl Fn(&Shared, Bucket) -> bool + use<> {
    let backlog = shared.backlog(now) >= core.settings().batch_ops * 2;
    move |shared, bucket| shared.may_start(bucket, now) && !(backlog && bucket.vectors)
}

/// The next batch for the second worker.
pub(crate) fn pick_qdrant(core: &Core) -> Picked {
    let mut shared = core.lock();
    let now = Instant::now();
    let later = shared.qdrant.wake(now);
    let shared = &mut *shared;
    let runs = |shared: &Shared, bucket: Bucket| {
        shared.breakers[StoreName::Qdrant as usize].allows(now) && shared.tables.run(bucket.table, now)
    };
    let batch = collect(core, shared, StoreName::Qdrant, runs, |_| true);
    shared.qdrant_busy = batch.is_some();
    match batch {
        Some((stage, lsns)) => Picked::Batch(stage, lsns),
        None => {
            let later = earlier(later, shared.tables.next_try(now));
            Picked::Nothing(earlier(later, shared.breakers[StoreName::Qdrant as usize].opens_at(now)))
        }
    }
}

fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// Takes out what may go together, up to the first that is not wanted.
fn collect(
    core: &Core,
    shared: &mut Shared,
    store: StoreName,
    open: impl Fn(&Shared, Bucket) -> bool,
    wanted: impl Fn(&Op) -> bool,
) -> Option<(Stage, Vec<Lsn>)> {
    let mut stage = None;
    let mut lsns = Vec::new();
    let mut bytes = 0;
    // A store that has been failing is tried with a batch of one.
    let settings = core.settings();
    let most = if shared.breaker(store).failures() > 0 { 1 } else { settings.batch_ops };
    let one_for_qdrant = shared.breaker(StoreName::Qdrant).failures() > 0;
    while lsns.len() < most {
        let queue = match store {
            StoreName::Surreal => &shared.surreal,
            StoreName::Qdrant => &shared.qdrant,
        };
        let Some((lsn, bucket)) = queue.first(|bucket| open(shared, bucket)) else { break };
        let Some(op) = shared.ops.get(&lsn).filter(|op| wanted(op)) else { break };
        // A table that was missing is tried with one operation.
        let alone = op.alone
            || matches!(op.stage, Stage::Undo | Stage::Clear)
            || (one_for_qdrant && bucket.vectors)
            || shared.tables.is_missing(bucket.table);
        // What goes by image has its record in memory, too, before and after.
        let by_image = matches!(op.kind, ActionKind::Patch | ActionKind::Atomic) || op.long_way || op.seen;
        let size = op.bytes as usize + if by_image { 2 * shared.image_hint } else { 0 };
        let over = bytes + size > settings.batch_bytes;
        if !lsns.is_empty() && (alone || over || stage != Some(op.stage)) {
            break;
        }
        stage = Some(op.stage);
        bytes += size;
        match store {
            StoreName::Surreal => shared.surreal.take(lsn, bucket),
            StoreName::Qdrant => shared.qdrant.take(lsn, bucket),
        }
        lsns.push(lsn);
        if alone {
            break;
        }
    }
    Some((stage?, lsns))
}
