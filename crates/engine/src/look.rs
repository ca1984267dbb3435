//! Look: what is known of an operation, and what both stores show of a key.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::ops::ControlFlow;

use lockstep_model::{Access, ActionKind, Document, Key, Lsn, OpId, State, Table, Vectors, Version};
use lockstep_stores::{Class, ImageAsk, Point, StoreError, Want};
use lockstep_wal::{Failure, Summary};

use crate::checkpoint::summarise;
use crate::core::{Core, Fatal, StoreName};
use crate::engine::Engine;
use crate::learn::unheard;
use crate::op::{Op, Stage};
use crate::take::summary;

/// An operation, as it is shown.
#[derive(Debug, Clone, PartialEq)]
pub struct OpView {
    /// Its place in the log.
    pub lsn: Lsn,
    /// Its name, version, key, kind, history and failure.
    pub summary: Summary,
    /// When it is tried again, in microseconds since 1970.
    pub next_attempt_us: Option<u64>,
    /// What it waits for.
    pub waiting_for: Option<WaitingFor>,
    /// What happened last, and when: the failure that ended it, or the last one it met.
    pub error: Option<(Failure, u64)>,
}

impl OpView {
    /// Where it stands.
    #[must_use]
    pub fn state(&self) -> State {
        self.summary.history.last().map_or(State::Pending, |h| h.0)
    }
}

/// What an open operation waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WaitingFor {
    /// A store is down, paused, or still at work.
    Store(StoreName),
    /// A table is paused.
    Table(String),
    /// An older operation in its way.
    Lsn(Lsn),
    /// A human decides.
    Operator,
}

/// Which operations to list.
#[derive(Debug, Clone, Default)]
pub struct OpFilter {
    /// Only those in this state.
    pub state: Option<State>,
    /// Only those on this key.
    pub key: Option<Key>,
    /// Only those before this place.
    pub below: Option<Lsn>,
    /// At most so many.
    pub limit: usize,
}

/// What both stores show of a key, taken together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Both stores show the same version, or rightly only one shows the key.
    Consistent,
    /// The record says it has vectors, and there is no point.
    MissingVector,
    /// There is a point, and no record.
    OrphanVector,
    /// There is a point, although the last operation on the key removed it.
    DeletedPresent,
    /// Both are there, of different versions.
    Mismatch,
    /// Neither is there.
    NotFound,
    /// An operation on the key is open: what is seen may change.
    InFlight,
    /// A store did not answer.
    Unknown,
    /// There is a record that Lockstep has not written.
    Unmanaged,
    /// An edge without one of its endpoints.
    DanglingEdge,
}

impl Verdict {
    /// Its name in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Consistent => "consistent",
            Self::MissingVector => "missing_vector",
            Self::OrphanVector => "orphan_vector",
            Self::DeletedPresent => "deleted_present",
            Self::Mismatch => "mismatch",
            Self::NotFound => "not_found",
            Self::InFlight => "in_flight",
            Self::Unknown => "unknown",
            Self::Unmanaged => "unmanaged",
            Self::DanglingEdge => "dangling_edge",
        }
    }
}

/// What SurrealDB shows.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordView {
    /// Its version, if Lockstep wrote it.
    pub version: Option<Version>,
    /// What the application wrote.
    pub document: Document,
    /// Where it leads, if it is an edge.
    pub ends: Option<(Key, Key)>,
}

/// What Qdrant shows.
#[derive(Debug, Clone, PartialEq)]
pub struct PointView {
    /// Its version, if Lockstep wrote it.
    pub version: Option<Version>,
    /// Its vectors: as written where they are kept, else as Qdrant gives them back.
    pub vectors: Vectors,
    /// Its payload without `_lockstep`.
    pub payload: serde_json::Map<String, serde_json::Value>,
}

/// What both stores show of a key.
#[derive(Debug, Clone, PartialEq)]
pub struct EntityView {
    /// The key.
    pub key: Key,
    /// Taken together.
    pub verdict: Verdict,
    /// SurrealDB's half; `Err`: it did not answer.
    pub record: Result<Option<RecordView>, String>,
    /// Qdrant's half; `Err`: it did not answer.
    pub point: Result<Option<PointView>, String>,
    /// Operations on the key that have not ended.
    pub open_ops: Vec<Lsn>,
}

/// What was asked cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// A store did not answer.
    #[error("{} does not answer", .0.as_str())]
    Store(StoreName, #[source] StoreError),
    /// The log cannot be read.
    #[error("the log cannot be read")]
    Log(#[source] Fatal),
}

impl Engine {
    /// What is known of the operation; `None` if the log knows no such operation, or no longer.
    ///
    /// # Errors
    /// [`LookError::Log`]
    pub fn op(&self, op_id: OpId) -> Result<Option<OpView>, LookError> {
        let view = view(&self.core, op_id.lsn(), &mut HashMap::new())?;
        Ok(view.filter(|view| view.summary.op_id == op_id))
    }

    /// What is known of the operation at a place.
    ///
    /// # Errors
    /// [`LookError::Log`]
    pub fn op_at(&self, lsn: Lsn) -> Result<Option<OpView>, LookError> {
        view(&self.core, lsn, &mut HashMap::new())
    }

    /// Operations, newest first, and the place to go on from.
    ///
    /// # Errors
    /// [`LookError::Log`]
    pub fn ops(&self, filter: &OpFilter) -> Result<(Vec<OpView>, Option<Lsn>), LookError> {
        let core = &self.core;
        let below = filter.below.unwrap_or(Lsn(u64::MAX));
        let wanted_lane = filter.key.as_ref().map(Key::lane);
        let found: Vec<Lsn> = {
            let shared = core.lock();
            let fits = |op: &Op| filter.state.is_none_or(|s| s == op.state);
            // Its lanes tell at no cost which keys it writes; whether it is about the key its intent does, below.
            let may = |op: &Op| wanted_lane.is_none_or(|lane| op.lanes.as_slice().is_empty() || op.writes(lane));
            shared.ops.newest_below(below).filter(|(_, op)| fits(op) && may(op)).map(|(lsn, _)| lsn).collect()
        };
        let mut left = Vec::new();
        let stands = |s: &Summary| filter.state.is_none_or(|state| s.history.last().is_some_and(|h| h.0 == state));
        let is_about = |s: &Summary| filter.key.as_ref().is_none_or(|key| s.key.as_ref() == Some(key));
        core.parts
            .log
            .scan_summaries(below, &mut |lsn, bytes| {
                if let Ok(summary) = Summary::decode(&bytes)
                    && stands(&summary)
                    && is_about(&summary)
                {
                    left.push((lsn, summary));
                }
                if left.len() > filter.limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
            .map_err(|e| LookError::Log(Fatal::Log(e.into())))?;
        let mut views = BTreeMap::new();
        let mut marks = HashMap::new();
        for lsn in found {
            if let Some(op) = view(core, lsn, &mut marks)?
                && stands(&op.summary)
                // A group is about each of the keys that it writes, and its lanes have told them.
                && (is_about(&op.summary) || op.summary.kind == ActionKind::Atomic)
            {
                views.insert(lsn, op);
            }
            if views.len() > filter.limit {
                break;
            }
        }
        for (lsn, summary) in left {
            views.entry(lsn).or_insert_with(|| finished(lsn, summary));
        }
        let mut ops: Vec<OpView> = views.into_values().rev().collect();
        let next = (ops.len() > filter.limit).then(|| {
            ops.truncate(filter.limit);
            ops.last().map(|op| op.lsn)
        });
        Ok((ops, next.flatten()))
    }

    /// What both stores show of the key. Reads twice if an operation came between.
    pub async fn entity(&self, key: &Key) -> EntityView {
        let mut view = entity(&self.core, key).await;
        if view.verdict == Verdict::OrphanVector && self.was_removed(key) {
            view.verdict = Verdict::DeletedPresent;
        }
        view
    }

    /// The last that the log knows of the key is that it was removed.
    fn was_removed(&self, key: &Key) -> bool {
        let last = self.ops(&OpFilter { key: Some(key.clone()), limit: 1, ..OpFilter::default() });
        let removes = |kind| matches!(kind, ActionKind::Delete | ActionKind::Unrelate);
        last.is_ok_and(|(ops, _)| {
            ops.first().is_some_and(|op| op.state() == State::Committed && removes(op.summary.kind))
        })
    }
}

fn finished(lsn: Lsn, summary: Summary) -> OpView {
    let at = summary.history.last().map_or(0, |h| h.1);
    let error = summary.failure.clone().map(|f| (f, at));
    OpView { lsn, summary, next_attempt_us: None, waiting_for: None, error }
}

pub(crate) fn view(
    core: &Core,
    lsn: Lsn,
    marks: &mut HashMap<Lsn, lockstep_wal::Mark>,
) -> Result<Option<OpView>, LookError> {
    if !core.lock().ops.contains_key(&lsn) {
        return Ok(summary(core, lsn).map(|s| finished(lsn, s)));
    }
    let mut summary = match summarise(core, lsn, marks) {
        Ok(summary) => summary,
        // It left between the two looks.
        Err(_) if !core.lock().ops.contains_key(&lsn) => return Ok(summary(core, lsn).map(|s| finished(lsn, s))),
        Err(fatal) => return Err(LookError::Log(fatal)),
    };
    let shared = core.lock();
    let Some(op) = shared.ops.get(&lsn) else { return Ok(Some(finished(lsn, summary))) };
    // An end that is not durable yet is not told.
    if !op.settled {
        // Only what is durably parked is decided about: while it is taken back, and until that has ended, it is parked.
        let decided = shared.asked.contains_key(&lsn);
        if summary.history.last().is_some_and(|(s, _)| s.is_final() || (*s == State::Parked && !decided)) {
            summary.history.pop();
        }
    }
    let now = tokio::time::Instant::now();
    let waiting_for = if op.state == State::Parked {
        Some(WaitingFor::Operator)
    } else if op.settled {
        None
    } else if let Some(ahead) = shared.lanes.ahead(lsn, op.lanes.as_slice()).or_else(|| shared.behind_whom(lsn)) {
        Some(WaitingFor::Lsn(ahead))
    } else if let Some((name, _)) =
        shared.tables.numbered(op.bucket.table).find(|(_, info)| info.standstill().is_some())
    {
        Some(WaitingFor::Table(name.to_string()))
    } else {
        let next = if op.stage == Stage::Qdrant { StoreName::Qdrant } else { StoreName::Surreal };
        let barred = |store: StoreName| !shared.breakers[store as usize].allows(now);
        let other = op.bucket.vectors && op.stage == Stage::Surreal && barred(StoreName::Qdrant);
        Some(WaitingFor::Store(if other && !barred(StoreName::Surreal) { StoreName::Qdrant } else { next }))
    };
    // What a later look at the stores met says nothing of how it ended.
    let trouble = op.trouble.as_ref().filter(|_| !op.state.is_final() || !op.settled);
    let error = trouble.and_then(|t| t.last.clone());
    let error = error.or_else(|| summary.failure.clone().zip(summary.history.last().map(|h| h.1)));
    Ok(Some(OpView {
        lsn,
        next_attempt_us: trouble.and_then(|t| t.next_attempt).map(|(_, at)| at),
        waiting_for,
        error,
        summary,
    }))
}

async fn entity(core: &Core, key: &Key) -> EntityView {
    // Those that are open, and the newest version of an earlier run that still has to be looked at in the stores.
    let writers = || -> (Vec<Lsn>, Option<Version>) {
        let shared = core.lock();
        let holders = shared.lanes.holders(key.lane()).into_iter().filter(|(_, access)| *access == Access::Write);
        let (open, ended): (Vec<Lsn>, Vec<Lsn>) =
            holders.map(|(lsn, _)| lsn).partition(|lsn| shared.open.contains(*lsn));
        let unseen = ended.iter().filter(|lsn| shared.recovering.contains(**lsn));
        (open, unseen.filter_map(|lsn| shared.ops.get(lsn).map(|op| op.version)).max())
    };
    let (before, unseen_before) = writers();
    let record = record(core, key).await;
    let point = point(core, key, &record).await;
    let (mut open_ops, unseen) = writers();
    open_ops.extend(before);
    open_ops.sort_unstable();
    open_ops.dedup();

    let seen = verdict(core, &key.table, &record, &point, !open_ops.is_empty()).await;
    let of_record = record.as_ref().ok().and_then(|r| r.as_ref()).and_then(|f| f.stamp).map(|stamp| stamp.version);
    let of_point = || point.as_ref().ok()?.as_ref()?.stamp.version;
    let version = of_record.or_else(of_point);
    // What a start still has to look at may be written again; if both stores show it, nothing will be.
    let unseen = unseen_before.max(unseen);
    let shown = seen == Verdict::Unknown || (seen == Verdict::Consistent && version >= unseen);
    let verdict = if unseen.is_some() && !shown { Verdict::InFlight } else { seen };
    let kept = record.as_ref().ok().and_then(|r| r.as_ref()).and_then(|f| f.kept.clone());
    EntityView {
        key: key.clone(),
        verdict,
        record: record
            .map(|found| {
                found.map(|f| RecordView {
                    version: f.stamp.map(|s| s.version),
                    document: f.document,
                    ends: f.ends.map(|e| (e.from, e.to)),
                })
            })
            .map_err(|e| e.to_string()),
        point: point
            .map(|point| {
                point.map(|p| PointView {
                    version: p.stamp.version,
                    vectors: kept
                        .filter(|k| k.vectors.0.keys().eq(p.vectors.0.keys()))
                        .map_or(p.vectors, |k| k.vectors),
                    payload: p.payload,
                })
            })
            .map_err(|e| e.to_string()),
        open_ops,
    }
}

async fn record(core: &Core, key: &Key) -> Result<Option<lockstep_stores::Found>, StoreError> {
    if !core.lock().tables.in_surreal(&key.table) {
        return Ok(None);
    }
    let ask = ImageAsk { key: key.clone(), want: Want::Whole, edges: false };
    let images = core.parts.documents.images(&[ask]).await?;
    Ok(images.into_iter().next().and_then(|image| image.found))
}

async fn point(
    core: &Core,
    key: &Key,
    record: &Result<Option<lockstep_stores::Found>, StoreError>,
) -> Result<Option<Point>, StoreError> {
    let place = {
        let shared = core.lock();
        if shared.tables.may_have_points(&key.table) {
            return Err(unheard());
        }
        match record {
            Ok(Some(found)) => shared.tables.point_of(key, &found.document),
            Ok(None) | Err(_) if shared.tables.point_field(&key.table).is_some() => {
                let why = "only its record says which point is its own, and SurrealDB does not show it";
                return Err(StoreError::new("qdrant", Class::NotApplied, why));
            }
            Ok(None) | Err(_) => shared.tables.point(key),
        }
    };
    let Some((collection, id)) = place else { return Ok(None) };
    match core.parts.vectors.points(&collection, &[id]).await {
        Ok(points) => Ok(points.into_iter().next().flatten()),
        // No collection yet: no point.
        Err(error) if error.is_no_collection() => Ok(None),
        Err(error) => Err(error),
    }
}

async fn verdict(
    core: &Core,
    table: &Table,
    record: &Result<Option<lockstep_stores::Found>, StoreError>,
    point: &Result<Option<Point>, StoreError>,
    open: bool,
) -> Verdict {
    let (Ok(record), Ok(point)) = (record, point) else { return Verdict::Unknown };
    if open {
        return Verdict::InFlight;
    }
    match (record, point) {
        (None, None) => Verdict::NotFound,
        // Where Qdrant alone holds the table the point is all there is.
        (None, Some(_)) if !core.lock().tables.in_surreal(table) => Verdict::Consistent,
        (None, Some(_)) => Verdict::OrphanVector,
        (Some(found), point) => {
            let Some(stamp) = found.stamp else { return Verdict::Unmanaged };
            if let Some(ends) = &found.ends {
                let ask = |key: &Key| ImageAsk { key: key.clone(), want: Want::Stamp, edges: false };
                match core.parts.documents.images(&[ask(&ends.from), ask(&ends.to)]).await {
                    Ok(images) if images.iter().any(|i| i.found.is_none()) => return Verdict::DanglingEdge,
                    Ok(_) => {}
                    Err(_) => return Verdict::Unknown,
                }
            }
            match (point, found.has_vectors) {
                (None, true) => Verdict::MissingVector,
                (None, false) => Verdict::Consistent,
                (Some(point), _) if point.stamp.version == Some(stamp.version) => Verdict::Consistent,
                (Some(_), _) => Verdict::Mismatch,
            }
        }
    }
}
