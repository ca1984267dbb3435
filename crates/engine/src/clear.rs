//! Clear: everything in a table that matches, page by page, as logged deletes (design 4, scenario A10).
//!
//! Each page's deletes are operations of their own, fenced by the version that the page saw: what has been written since is
//! spared. So a crash in the middle loses nothing and undoes nothing; the clear lists again what is left. It is committed when
//! its last page has ended, and goes forward only.

use std::collections::HashSet;
use std::sync::Arc;

use lockstep_model::{Action, ActionKind, Filter, Key, Lsn, Operation, Precondition, Refusal, State, Table, Version};
use lockstep_stores::{Scanned, StoreError};
use lockstep_wal::{Class, Failure, Intent};
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::core::{Core, Ending, Fatal, Shared, StoreName};
use crate::engine::Engine;
use crate::work::read_intent;
use crate::{end, take, trouble};

/// So many records are listed, and their deletes logged, at once.
const PAGE: usize = 256;

/// What a page came to.
#[derive(Debug, Default)]
struct Sums {
    removed: u64,
    /// Written since the page saw them, or gone.
    spared: u64,
    refused: Vec<String>,
    refused_count: u64,
}

/// Carries the clears out, each in a task of its own: the worker goes on with others.
pub(crate) fn start(core: &Arc<Core>, lsns: &[Lsn]) -> Result<(), Fatal> {
    for &lsn in lsns {
        let core = Arc::clone(core);
        core.parts.tasks.clone().spawn(async move {
            let done = tokio::select! {
                biased;
                () = core.stop.cancelled() => return,
                done = run(&core, lsn) => done,
            };
            match done {
                Ok(()) => {}
                Err(Stop::Store(store, error)) => {
                    // It is listed again from its beginning: what is gone is gone.
                    for lsn in trouble::failed(&core, store, &[lsn], &error) {
                        core.lock().make_ready(lsn);
                    }
                }
                Err(Stop::Fatal(fatal)) => core.fail(fatal),
            }
        });
    }
    Ok(())
}

enum Stop {
    Store(StoreName, StoreError),
    Fatal(Fatal),
}

impl From<Fatal> for Stop {
    fn from(fatal: Fatal) -> Self {
        Self::Fatal(fatal)
    }
}

async fn run(core: &Core, lsn: Lsn) -> Result<(), Stop> {
    let intent = read_intent(core, lsn)?;
    let Action::Clear { table, filter } = &intent.op.action else {
        return Err(Fatal::Lost(format!("operation {lsn} is no clear")).into());
    };
    let mut removed = 0;
    // What a store had lost is written again, perhaps behind the list, and is older than the clear: then it begins again.
    loop {
        let looks = older_ones(core, lsn, table).await;
        let mut sums = Sums { removed, ..Sums::default() };
        if core.lock().tables.in_surreal(table) {
            all_records(core, lsn, &intent, table, filter.as_ref(), &mut sums).await?;
            if core.lock().looks != looks {
                removed = sums.removed;
                continue;
            }
        }
        points(core, lsn, &intent, table, filter.as_ref(), &mut sums).await?;
        let failure = (sums.refused_count > 0).then(|| Failure {
            store: "lockstep".into(),
            code: lockstep_model::Code::Parked,
            detail: format!(
                "{} keys could not be removed, and their operations say why: {}",
                sums.refused_count,
                sums.refused.join(", ")
            ),
        });
        removed = sums.removed;
        if end::cleared(core, lsn, looks, failure.as_ref())? {
            let (spared, refused) = (sums.spared, sums.refused_count);
            tracing::info!(%lsn, %table, removed, spared, refused, "cleared");
            return Ok(());
        }
    }
}

/// Removes the records, until none is hidden any more beneath a younger write.
async fn all_records(
    core: &Core,
    lsn: Lsn,
    clear: &Intent,
    table: &Table,
    filter: Option<&Filter>,
    sums: &mut Sums,
) -> Result<(), Stop> {
    let mut young = HashSet::new();
    loop {
        let groups = open_groups(core, table)?;
        let hiding = records(core, lsn, clear, table, filter, sums, &mut young).await?;
        if hiding.is_empty() {
            if gave_nothing_back(core, &groups).await {
                return Ok(());
            }
            continue;
        }
        ended(core, |shared| hiding.iter().all(|(_, op)| !is_open(shared, *op)).then_some(())).await;
        let shared = core.lock();
        let committed = |op: &Lsn| shared.ops.get(op).is_some_and(|op| op.state == State::Committed);
        young.extend(hiding.into_iter().filter(|(_, op)| committed(op)).map(|(key, _)| key));
    }
}

/// Operations on the table that are older come first (P3), also those that ended and are looked at again: what a store lost of
/// them is not on its pages yet. What is younger goes its own way, and is spared by its version. Tells how often what is retained has been
/// sent to be looked at by then.
async fn older_ones(core: &Core, lsn: Lsn, table: &Table) -> u64 {
    let in_the_way = |shared: &Shared, older: Lsn| {
        let Some(op) = shared.ops.get(&older) else { return false };
        op.kind != ActionKind::Clear && shared.tables.numbered(op.bucket.table).any(|(name, _)| name == table)
    };
    ended(core, |shared| {
        let mut sets = [&shared.open, &shared.recovering, &shared.verifying].into_iter();
        let none = !sets.any(|set| set.iter().take_while(|older| *older < lsn).any(|older| in_the_way(shared, older)));
        none.then_some(shared.looks)
    })
    .await
}

/// Groups that may have removed what a list of the table does not show now: a record, or the edges that went with one. Others on other
/// tables are not waited for.
fn open_groups(core: &Core, table: &Table) -> Result<Vec<Lsn>, Fatal> {
    // Under the lock: what ends can leave the log.
    let shared = core.lock();
    let mut groups = Vec::new();
    for lsn in shared.open.iter() {
        let Some(op) = shared.ops.get(&lsn).filter(|op| op.kind == ActionKind::Atomic) else { continue };
        let of_table = shared.tables.numbered(op.bucket.table).any(|(name, _)| name == table);
        if of_table || !read_intent(core, lsn)?.op.action.removed_lanes().is_empty() {
            groups.push(lsn);
        }
    }
    Ok(groups)
}

/// Waits for the groups. One that is taken back puts back what it removed, and that is older than the clear.
async fn gave_nothing_back(core: &Core, groups: &[Lsn]) -> bool {
    ended(core, |shared| groups.iter().all(|group| !is_open(shared, *group)).then_some(())).await;
    let shared = core.lock();
    groups.iter().all(|group| shared.ops.get(group).is_some_and(|op| op.state == State::Committed))
}

/// Waits until there is an answer; there is one when operations end.
async fn ended<T>(core: &Core, answer: impl Fn(&Shared) -> Option<T>) -> T {
    loop {
        let progress = core.progress.notified();
        if let Some(answer) = answer(&core.lock()) {
            return answer;
        }
        // A notice that came between the look and the wait is not lost for long.
        tokio::select! { () = progress => {}, () = sleep(std::time::Duration::from_millis(100)) => {} }
    }
}

fn is_open(shared: &Shared, lsn: Lsn) -> bool {
    shared.ops.get(&lsn).is_some_and(|op| op.state.is_open())
}

/// Lists the records, and has removed what is older than the clear. Returns keys whose record shows a younger write that has not
/// ended, with that write: if it is taken back, what it hides is there again, and older than the clear. What is known to be `young`
/// beneath is none of them.
async fn records(
    core: &Core,
    lsn: Lsn,
    clear: &Intent,
    table: &Table,
    filter: Option<&Filter>,
    sums: &mut Sums,
    young: &mut HashSet<Key>,
) -> Result<Vec<(Key, Lsn)>, Stop> {
    let mut hiding = Vec::new();
    let surreal = |error| Stop::Store(StoreName::Surreal, error);
    let mut after: Option<Key> = None;
    loop {
        let page = page(core, table, after.as_ref(), filter.is_some()).await.map_err(surreal)?;
        trouble::succeeded(core, StoreName::Surreal);
        let Some(last) = page.last() else { return Ok(hiding) };
        after = Some(last.key.clone());
        {
            let shared = core.lock();
            let newer = page.iter().filter_map(|record| Some((record, record.stamp?)));
            let newer = newer.filter(|(record, stamp)| stamp.version > clear.version && !young.contains(&record.key));
            let open = newer.filter_map(|(record, stamp)| {
                let (writer, op) = shared.author(stamp.op, stamp.version)?;
                op.state.is_open().then(|| (record.key.clone(), writer))
            });
            hiding.extend(open);
        }
        let matches = |record: &Scanned| filter.is_none_or(|filter| filter.matches(&record.document.plain()));
        let older = |record: &Scanned| record.stamp.is_none_or(|stamp| stamp.version < clear.version);
        let keys: Vec<(Key, Version)> = page
            .into_iter()
            .filter(|record| older(record) && matches(record))
            .map(|record| (record.key, record.stamp.map_or(Version(0), |stamp| stamp.version)))
            .collect();
        delete(core, lsn, clear, keys, sums).await?;
    }
}

async fn page(core: &Core, table: &Table, after: Option<&Key>, whole: bool) -> Result<Vec<Scanned>, StoreError> {
    if whole {
        return core.parts.documents.scan_documents(table, after, PAGE).await;
    }
    let page = core.parts.documents.scan(table, after, PAGE).await?;
    let plain = |(key, stamp)| Scanned { key, stamp, document: lockstep_model::Document::default() };
    Ok(page.into_iter().map(plain).collect())
}

/// Points without records, where the whole table is cleared or Qdrant alone holds it. Only those that say they are this
/// table's: others may share the collection.
async fn points(
    core: &Core,
    lsn: Lsn,
    clear: &Intent,
    table: &Table,
    filter: Option<&Filter>,
    sums: &mut Sums,
) -> Result<(), Stop> {
    let (collection, alone) = {
        let shared = core.lock();
        (shared.tables.collection(table), !shared.tables.in_surreal(table))
    };
    let Some(collection) = collection.filter(|_| alone || filter.is_none()) else { return Ok(()) };
    let qdrant = |error| Stop::Store(StoreName::Qdrant, error);
    let mut after = None;
    loop {
        let page = match core.parts.vectors.scan(&collection.name, after, PAGE).await {
            Ok(page) => page,
            // Nothing has been written there yet.
            Err(error) if error.is_no_collection() => return Ok(()),
            Err(error) => return Err(qdrant(error)),
        };
        trouble::succeeded(core, StoreName::Qdrant);
        let Some((last, _)) = page.last() else { return Ok(()) };
        after = Some(*last);
        let ours = |stamp: &lockstep_stores::PointStamp| {
            let key = stamp.key.clone().filter(|key| key.table == *table)?;
            let version = stamp.version.filter(|version| *version < clear.version)?;
            Some((key, version))
        };
        let mut keys: Vec<_> = page.iter().filter_map(|(id, stamp)| Some((*id, ours(stamp)?))).collect();
        if let Some(filter) = filter {
            let ids: Vec<_> = keys.iter().map(|(id, _)| *id).collect();
            let points = core.parts.vectors.points(&collection.name, &ids).await.map_err(qdrant)?;
            let mut fit = points.into_iter().map(|point| point.is_some_and(|point| filter.matches(&point.payload)));
            keys.retain(|_| fit.next().unwrap_or(false));
        }
        // A point whose record is there has been dealt with by its record; an orphan's key shows no version.
        let keys =
            keys.into_iter().map(|(_, (key, version))| (key, if alone { version } else { Version(0) })).collect();
        delete(core, lsn, clear, keys, sums).await?;
    }
}

/// Logs the deletes of a page, and waits until each has ended.
async fn delete(core: &Core, lsn: Lsn, clear: &Intent, keys: Vec<(Key, Version)>, sums: &mut Sums) -> Result<(), Stop> {
    let mut pending: Vec<(Key, oneshot::Receiver<Ending>)> = Vec::with_capacity(keys.len());
    for (key, seen) in keys {
        let op = Operation {
            precondition: Precondition { if_version: Some(seen), if_absent: false },
            ..Operation::plain(Action::Delete { key: key.clone() })
        };
        let taken = loop {
            match take_delete(core, &op, clear) {
                Some(Ok(taken)) => break taken,
                Some(Err(refusal)) => wait_for_room(core, lsn, &refusal).await,
                None => {
                    // It goes on at the next start.
                    core.stop.cancelled().await;
                    return Ok(());
                }
            }
        };
        let ending = take::ending(core, taken.lsn)
            .ok_or_else(|| Fatal::Lost(format!("operation {} is not known", taken.lsn)))?;
        pending.push((key, ending));
    }
    for (key, ending) in pending {
        let Ok(ending) = ending.await else { return Ok(()) };
        match (ending.state, ending.failure) {
            (State::Committed, _) => sums.removed += 1,
            (_, Some(failure)) if failure.code == lockstep_model::Code::PreconditionFailed => sums.spared += 1,
            _ => {
                sums.refused_count += 1;
                if sums.refused.len() < 10 {
                    sums.refused.push(key.to_string());
                }
            }
        }
    }
    touch(core, lsn);
    Ok(())
}

/// Logs one delete; none while the engine stops.
fn take_delete(core: &Core, op: &Operation, clear: &Intent) -> Option<Result<take::Taken, Refusal>> {
    let mut shared = core.lock();
    if shared.stopping {
        return None;
    }
    let admission = shared.tables.admit(&op.action);
    Some(admission.and_then(|admission| {
        take::append(core, &mut shared, op.clone(), clear.caller.clone(), admission, Class::Intake)
    }))
}

/// It moves: a long clear is no stall.
fn touch(core: &Core, lsn: Lsn) {
    let mut shared = core.lock();
    let now_ms = shared.now_ms();
    if let Some(op) = shared.ops.get_mut(&lsn) {
        op.moved_ms = now_ms;
    }
}

/// The log's disk is full, or something else has no room: what drains makes some.
async fn wait_for_room(core: &Core, lsn: Lsn, refusal: &Refusal) {
    tracing::debug!(%lsn, %refusal.detail, "a clear waits for room in the log");
    tokio::select! {
        () = core.room.notified() => {}
        () = sleep(std::time::Duration::from_millis(500)) => {}
    }
}

/// What a clear would remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Records; none: not known.
    pub records: Option<u64>,
    /// Points; none: not known.
    pub points: Option<u64>,
}

impl Engine {
    /// Counts what matches in both stores, now. What a store does not tell is not known, never 0 (P7).
    pub async fn count(&self, table: &Table, filter: Option<&Filter>) -> Counts {
        let core = &self.core;
        let (collection, may_have_points, in_surreal) = {
            let shared = core.lock();
            let tables = &shared.tables;
            (tables.collection(table), tables.may_have_points(table), tables.in_surreal(table))
        };
        let records = if in_surreal { count_records(core, table, filter).await } else { Some(0) };
        let points = match (collection, filter) {
            (None, _) => (!may_have_points).then_some(0),
            (Some(collection), None) => match core.parts.vectors.count(&collection.name).await {
                Ok(count) => Some(count),
                Err(error) if error.is_no_collection() => Some(0),
                Err(_) => None,
            },
            // A filter's words may stand in the record alone.
            (Some(_), Some(_)) => None,
        };
        Counts { records, points }
    }
}

async fn count_records(core: &Core, table: &Table, filter: Option<&Filter>) -> Option<u64> {
    let Some(filter) = filter else { return core.parts.documents.count(table).await.ok() };
    let mut after: Option<Key> = None;
    let mut count = 0;
    loop {
        let page = core.parts.documents.scan_documents(table, after.as_ref(), PAGE).await.ok()?;
        let Some(last) = page.last() else { return Some(count) };
        after = Some(last.key.clone());
        count += page.iter().filter(|record| filter.matches(&record.document.plain())).count() as u64;
    }
}
