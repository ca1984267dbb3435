//! Takers: open groups that take edges along with the records that they delete.
//!
//! A group stands in the lanes of its own keys, and not in those of such an edge, nor of the edge's other end: which they are is only
//! known from its image. While it is open what it took can come back. So whoever is younger and writes such an edge, or its end, waits
//! until the group has ended. Else an edge would come back to an end that was deleted and made anew meanwhile, or after it had been
//! unrelated itself. Waiting goes towards lower LSNs only, as in all lanes, so it cannot close a circle.

use std::collections::HashSet;

use lockstep_model::{Access, ActionKind, Key, LaneId, Lsn};
use lockstep_wal::ImageRecord;

use crate::core::{Core, Shared};
use crate::need::Held;
use crate::work::{Work, edges_along};

/// What an open group takes along.
#[derive(Debug)]
pub(crate) enum Along {
    /// The lanes of these edges, of their ends, and of what is between these.
    Lanes(HashSet<LaneId>),
    /// Its image was taken by an earlier process: where the edges lead is not known any more.
    Unknown,
}

/// The image of a group has just been taken: from now on it is waited for.
pub(crate) fn remember(core: &Core, work: &Work, image: &ImageRecord, held: &Held) {
    if !work.is_group() {
        return;
    }
    let mut lanes = HashSet::new();
    for edge in edges_along(image).filter_map(|edge| edge.parse::<Key>().ok()) {
        lanes.insert(edge.lane());
        if let Some(ends) = held.edges.get(&edge).and_then(|image| image.found.as_ref()?.ends.as_ref()) {
            lanes.extend([ends.from.lane(), ends.to.lane(), LaneId::of_endpoints(&edge.table, &ends.from, &ends.to)]);
        }
    }
    if !lanes.is_empty() {
        core.lock().takers.insert(work.lsn, Along::Lanes(lanes));
    }
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
