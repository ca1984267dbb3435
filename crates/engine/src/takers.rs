//! Takers: open groups that take edges along with the records that they delete.
//!
//! A group stands in the lanes of its own keys, and not in those of such an edge, nor of the edge's other end: which they are is only
//! known from its image. While it is open what it took can come back. So whoever is younger and stands in one of their lanes to write waits
//! until the group has ended. And the group waits for who is older and does (`image.rs`): what that removes must not come back either. Else an edge would come back to an end that was deleted and made anew meanwhile, or after it had been
//! unrelated itself. Waiting goes towards lower LSNs only, as in all lanes, so it cannot close a circle.

use std::collections::{HashMap, HashSet};

use lockstep_model::{Access, Action, ActionKind, Key, LaneId, Lsn, UnrelateTarget};
use lockstep_stores::{EdgeEnds, Image};
use lockstep_wal::Record;

use crate::core::{Core, Fatal, Shared};
use crate::need::{Held, Need};
use crate::op::Op;
use crate::work::{Work, edges_along, read, read_intent};

/// What an open group takes along.
#[derive(Debug)]
pub(crate) enum Along {
    /// The lanes of these edges, of their ends, and of what is between these.
    Lanes(HashSet<LaneId>),
    /// Its image was taken by an earlier process: it names the edges, and only the store can read in it where they lead.
    Unknown,
}

/// The lanes of the edges that a group removes, of their ends, and of what is between these.
pub(crate) fn lanes(work: &Work, needs: &[Need], held: &Held) -> HashSet<LaneId> {
    let mut lanes = HashSet::new();
    if !work.is_group() {
        return lanes;
    }
    let mut take = |edge: &Key, ends: Option<&EdgeEnds>| {
        lanes.insert(edge.lane());
        if let Some(ends) = ends {
            lanes.extend([ends.from.lane(), ends.to.lane(), LaneId::of_endpoints(&edge.table, &ends.from, &ends.to)]);
        }
    };
    for (place, need) in needs.iter().enumerate() {
        held.taken_along(work.lsn, place, need).for_each(|edge| take(edge, ends_in(&held.edges, edge)));
    }
    // An edge that is removed by its own key.
    for edge in work.intent.op.action.members().iter().filter_map(removed_by_key) {
        if let ends @ Some(_) = ends_in(&held.records, edge) {
            take(edge, ends);
        }
    }
    lanes
}

/// The image of a group has just been taken: from now on it is waited for.
pub(crate) fn remember(core: &Core, lsn: Lsn, lanes: HashSet<LaneId>) {
    if !lanes.is_empty() {
        core.lock().takers.insert(lsn, Along::Lanes(lanes));
    }
}

fn ends_in<'a>(images: &'a HashMap<Key, Image>, edge: &Key) -> Option<&'a EdgeEnds> {
    images.get(edge)?.found.as_ref()?.ends.as_ref()
}

/// The record that a member removes and names.
const fn removed_by_key(member: &Action) -> Option<&Key> {
    match member {
        Action::Delete { key } | Action::Unrelate(UnrelateTarget::Key(key)) => Some(key),
        Action::Put { .. }
        | Action::Patch { .. }
        | Action::Relate { .. }
        | Action::Unrelate(UnrelateTarget::Endpoints { .. })
        | Action::Clear { .. }
        | Action::Atomic(_) => None,
    }
}

/// Of the groups that a start has found, those that took no edges along hold nobody back.
pub(crate) fn recall(core: &Core) -> Result<(), Fatal> {
    let found: Vec<(Lsn, Option<Lsn>)> = {
        let shared = core.lock();
        shared.takers.keys().map(|&lsn| (lsn, shared.ops.get(&lsn).and_then(Op::image))).collect()
    };
    for (lsn, image) in found {
        let along = match image.map(|image| read(core, image)).transpose()? {
            Some(Record::Image(image)) => edges_along(&image).next().is_some(),
            _ => true,
        };
        let intent = read_intent(core, lsn)?;
        let mut shared = core.lock();
        let by_key = |key: &Key| shared.tables.get(&key.table).is_none_or(|info| info.edges);
        if !along && !intent.op.action.members().iter().filter_map(removed_by_key).any(by_key) {
            shared.takers.remove(&lsn);
        }
    }
    Ok(())
}

/// The youngest of the older groups that the operation waits for.
pub(crate) fn older(shared: &Shared, lsn: Lsn) -> Option<Lsn> {
    let op = shared.ops.get(&lsn)?;
    let meets = |along: &Along| match (along, op.kind) {
        (Along::Lanes(lanes), _) => {
            op.lanes.as_slice().iter().any(|(lane, access)| *access == Access::Write && lanes.contains(lane))
        }
        // A put makes nothing of what came along, and removes nothing.
        (Along::Unknown, ActionKind::Put | ActionKind::Clear) => false,
        (
            Along::Unknown,
            ActionKind::Patch | ActionKind::Relate | ActionKind::Delete | ActionKind::Unrelate | ActionKind::Atomic,
        ) => true,
    };
    shared.takers.range(..lsn).rev().find(|(_, along)| meets(along)).map(|(taker, _)| *taker)
}
