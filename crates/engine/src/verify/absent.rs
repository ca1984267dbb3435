//! What is not there: lost, or removed by an operation that is still open? What was removed is not written again, and what was lost is
//! not written without what it stands on.

use lockstep_model::{Access, Action, ActionKind, Key, LaneId, Lsn, UnrelateTarget};
use lockstep_wal::{Intent, Record};

use super::removed_lanes;
use crate::core::{Core, Shared, StoreName};
use crate::events;
use crate::op::Op;
use crate::work::{Work, edges_along, read, read_intent};

/// What becomes of a record that is not there, or of an edge some of whose ends are missing.
pub(super) enum Fate {
    /// It is what it was; so are its ends.
    Stands,
    /// It is what it was, and these of its ends come back with it, each as this operation wrote it.
    WithItsEnds(Vec<(Key, Lsn)>),
    /// It stays away.
    StaysAway,
    /// It stays away, and nobody else takes its point along.
    PointGoes,
    /// Its ends are being written again, or removed: that comes first. Or a group removes it without having seen it: what that gives back,
    /// should it be taken back, this is not among.
    Waits,
    /// A group that has not seen it removes an end of it: its point goes, and it is looked at once more when the group has ended.
    PointGoesAndWaits,
}

/// What takes the record along when it is removed: the record itself, or an end of the edge that it is.
struct Place {
    lane: LaneId,
    is_end: bool,
    is_there: bool,
}

/// Tells what becomes of what the operation wrote under this key. `is_there` says whether SurrealDB shows it; `ends` are an edge's, each with
/// whether SurrealDB shows it.
pub(super) fn fate(core: &Core, work: &Work, record: &Key, is_there: bool, ends: &[(&Key, bool)]) -> Fate {
    // It may have been removed, durably, since it was asked what stands.
    if let [(from, _), (to, _)] = ends
        && !is_there
    {
        let shared = core.lock();
        let lanes = [from.lane(), to.lane(), LaneId::of_endpoints(&record.table, from, to)];
        let lanes = lanes.map(|lane| (lane, Access::Read));
        if shared.last_writes.as_ref().is_some_and(|last| !last.stands(work.lsn, record.lane(), &lanes)) {
            return Fate::PointGoes;
        }
    }
    // Whoever removes an end takes the edge along; so does whoever removes all that is between them.
    let between = match ends {
        [(from, _), (to, _)] => Some(LaneId::of_endpoints(&record.table, from, to)),
        _ => None,
    };
    let itself = std::iter::once(record.lane()).chain(between);
    let itself = itself.map(|lane| Place { lane, is_end: false, is_there: false });
    let ends_of_it = ends.iter().map(|(end, is_there)| Place { lane: end.lane(), is_end: true, is_there: *is_there });
    let edge = !ends.is_empty();
    for place in itself.chain(ends_of_it).filter(|_| !is_there) {
        match (removal(core, work, record, edge, &place), place.is_there) {
            (Some(Removal::Overlooks), _) => return Fate::PointGoes,
            (Some(Removal::GroupOverlooks), _) if edge => return Fate::PointGoesAndWaits,
            (Some(Removal::GroupOverlooks), _) => return Fate::Waits,
            // The edge must not come back without its end, and its point goes with it.
            (Some(Removal::WillLook), false) => return Fate::PointGoes,
            (Some(Removal::TakesAlong), false) => return Fate::StaysAway,
            (Some(Removal::TakesAlong | Removal::WillLook), true) | (None, _) => {}
        }
    }
    let missing: Vec<&Key> = ends.iter().filter(|(_, is_there)| !is_there).map(|(end, _)| *end).collect();
    without(core, work, record, is_there, &missing)
}

/// What becomes of an edge without these of its ends.
fn without(core: &Core, work: &Work, edge: &Key, is_there: bool, missing: &[&Key]) -> Fate {
    if missing.is_empty() {
        return Fate::Stands;
    }
    let relates = |member: &Action| matches!(member, Action::Relate { key, .. } if key == edge);
    // Who relates stands in the lanes of the ends.
    let by_relate = work.intent.op.action.members().iter().any(relates);
    let mut shared = core.lock();
    let ends: Vec<LaneId> = missing.iter().map(|end| end.lane()).collect();
    for remover in removers(core, &shared, work, &ends) {
        let behind = by_relate || shared.lanes.holders(edge.lane()).iter().any(|(lsn, _)| *lsn == remover);
        let sees = shared.ops.get(&remover).and_then(Op::image).is_none_or(|image| names(core, image, edge));
        match (behind, sees) {
            // It comes when this has been looked at, and takes the edge along, or leaves it and its ends as they were.
            (true, true) => {}
            (true, false) => return Fate::PointGoes,
            // A patch stands in no lane of the ends: what becomes of them comes first.
            (false, true | false) => return Fate::Waits,
        }
    }
    // Who wrote each end last, if nothing removed it since: no removal has been then, and the ends were lost.
    let writer = |end: &&Key| Some(((*end).clone(), shared.last_writes.as_ref()?.writer(end.lane())?));
    let writers: Option<Vec<(Key, Lsn)>> = missing.iter().map(writer).collect();
    let is_looked_at = |lsn: Lsn| shared.verifying.contains(lsn) || shared.recovering.contains(lsn);
    match writers {
        // They are being written again.
        Some(writers) if writers.iter().all(|(_, lsn)| is_looked_at(*lsn)) => {
            if by_relate {
                Fate::WithItsEnds(writers)
            } else {
                Fate::Waits
            }
        }
        // Somebody else made the edge without them.
        Some(_) | None if is_there => Fate::StaysAway,
        // They have been cleared since, or what removed them is parked. Nobody writes them again, and nobody else takes the point along.
        Some(_) => Fate::PointGoes,
        None => {
            events::audit_needed(core, &mut shared, StoreName::Surreal, || {
                format!("the ends of {edge} are missing, and the log does not hold what wrote them")
            });
            Fate::PointGoes
        }
    }
}

/// What an open operation does to a record that is not there.
enum Removal {
    /// It may have removed it before a crash. So it is no loss, and to write it again would show it once more until its removal is
    /// carried out again. Should it be lost all the same it would go now, and nobody who is still to come would have seen it; what is
    /// taken back is in an image.
    TakesAlong,
    /// It removes an end of an edge, or all that is between its ends, did not see it when it looked, or may do so any moment, and goes forward
    /// only: nobody else takes the point along.
    Overlooks,
    /// It removes the record or an end of it, did not see it when it looked, and may be taken back.
    GroupOverlooks,
    /// It will look, and see the edge if it is there by then.
    WillLook,
}

/// What the next open operation in the lane of `place` does to the record, which may be an edge, if it removes that place.
fn removal(core: &Core, work: &Work, record: &Key, edge: bool, place: &Place) -> Option<Removal> {
    let shared = core.lock();
    let edges_have_points = shared.tables.edges_have_points();
    // Whether it goes through with it, and is about whatever is between two ends.
    let intent = |lsn: Lsn| match read_intent(core, lsn) {
        Ok(Intent { op, .. }) => {
            let between = matches!(op.action, Action::Unrelate(UnrelateTarget::Endpoints { .. }));
            (!op.is_conditional(), between)
        }
        Err(fatal) => {
            core.fail(fatal);
            (false, false)
        }
    };
    let judged = |lsn: Lsn| {
        let op = shared.ops.get(&lsn)?;
        // An unrelate refuses what is no edge.
        let removes = op.kind == ActionKind::Delete || (op.kind == ActionKind::Unrelate && edge);
        let (unconditional, between) = intent(lsn);
        match op.image() {
            Some(image) if names(core, image, record) => Some(Removal::TakesAlong),
            Some(_) if op.kind == ActionKind::Atomic => Some(Removal::GroupOverlooks),
            Some(_) if place.is_end || between => Some(Removal::Overlooks),
            Some(_) => Some(Removal::TakesAlong),
            None if !removes || !unconditional => None,
            // It takes points along, so it has removed nothing before it has an image, and has none where it finds nothing.
            None if between && op.bucket.vectors => Some(Removal::Overlooks),
            // Whoever takes points of edges along has an image of them before it removes anything.
            None if place.is_end && edges_have_points => Some(Removal::WillLook),
            None => Some(Removal::TakesAlong),
        }
    };
    // The lane of the place alone: of an end's remover the edge's lane knows nothing, and an older patch of the edge that is still
    // open does not say that the end is still there.
    let is_next = |remover: Lsn| {
        let mut older = shared.lanes.holders(place.lane).into_iter().filter(|(lsn, _)| *lsn < remover);
        older.all(|(lsn, _)| shared.ops.get(&lsn).is_none_or(|op| !op.state.is_open()))
    };
    removers(core, &shared, work, &[place.lane]).into_iter().filter(|lsn| is_next(*lsn)).find_map(judged)
}

/// Open operations, younger than this one, that remove one of these: they may have done so before a crash.
fn removers(core: &Core, shared: &Shared, work: &Work, ends: &[LaneId]) -> Vec<Lsn> {
    let removes = |end: &LaneId, lsn: Lsn| {
        let Some(op) = shared.ops.get(&lsn).filter(|op| op.state.is_open()) else { return false };
        match removed_lanes(core, lsn, op) {
            Ok(lanes) => lanes.contains(end),
            Err(fatal) => {
                // The engine stops, so nothing is decided here.
                core.fail(fatal);
                false
            }
        }
    };
    let younger = |end: &LaneId| {
        let holders = shared.lanes.holders(*end).into_iter();
        let writers = holders.filter(|(lsn, access)| *lsn > work.lsn && *access == Access::Write);
        writers.map(|(lsn, _)| lsn).collect::<Vec<_>>()
    };
    ends.iter().flat_map(|end| younger(end).into_iter().filter(move |lsn| removes(end, *lsn))).collect()
}

/// Whether a removal's image says that the edge goes along: what it does not name, the removal does not see any more.
fn names(core: &Core, image: Lsn, edge: &Key) -> bool {
    match read(core, image) {
        Ok(Record::Image(image)) => {
            let edge = edge.to_string();
            // What was not there is in an image as well.
            let before = image.before.iter().filter(|before| before.raw.is_some()).map(|before| before.key.as_str());
            before.chain(edges_along(&image)).any(|key| key == edge)
        }
        Ok(
            Record::Intent(_)
            | Record::Mark(_)
            | Record::Checkpoint(_)
            | Record::Asked(_)
            | Record::Declined(_)
            | Record::Lost(_),
        ) => false,
        Err(fatal) => {
            core.fail(fatal);
            false
        }
    }
}
