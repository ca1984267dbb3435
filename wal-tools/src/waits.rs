//! Which open operations wait for which.

use std::collections::HashMap;

use lockstep_model::{Access, LaneId, Lsn};

/// The last to enter a lane.
#[derive(Debug, Clone, Copy)]
struct Last {
    any: Lsn,
    writer: Option<Lsn>,
}

/// Some lanes, which open operations enter in LSN order.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    lanes: HashMap<LaneId, Option<Last>>,
}

impl Waits {
    /// These lanes, empty. Others are not kept account of: there may be millions.
    pub(crate) fn on(lanes: impl IntoIterator<Item = LaneId>) -> Self {
        Self { lanes: lanes.into_iter().map(|lane| (lane, None)).collect() }
    }

    /// The operation enters those of its lanes that are kept account of; gives the youngest older one in its way there.
    pub(crate) fn enter(&mut self, lsn: Lsn, lanes: &[(LaneId, Access)]) -> Option<Lsn> {
        let mut ahead = None;
        for &(lane, access) in lanes {
            let Some(last) = self.lanes.get_mut(&lane) else { continue };
            ahead = ahead.max(match access {
                Access::Write => last.map(|last| last.any),
                Access::Read => last.and_then(|last| last.writer),
            });
            let writer = if access == Access::Write { Some(lsn) } else { last.and_then(|last| last.writer) };
            *last = Some(Last { any: lsn, writer });
        }
        ahead
    }
}

/// Whether of two operations with these lanes the younger waits for the older: they share a lane, and one of them writes it.
pub(crate) fn meet(one: &[(LaneId, Access)], other: &[(LaneId, Access)]) -> bool {
    one.iter().any(|(lane, access)| {
        other.iter().any(|(same, theirs)| lane == same && (*access == Access::Write || *theirs == Access::Write))
    })
}

#[cfg(test)]
mod tests {
    use lockstep_model::Access::{Read, Write};

    use super::*;

    const LANES: [&[(u64, Access)]; 5] =
        [&[(1, Write)], &[(1, Read), (2, Read)], &[(2, Read)], &[(2, Write)], &[(3, Write)]];

    fn lanes(of: &[(u64, Access)]) -> Vec<(LaneId, Access)> {
        of.iter().map(|&(lane, access)| (LaneId(lane), access)).collect()
    }

    #[test]
    fn readers_run_side_by_side_and_writers_wait_for_all_before_them() {
        let mut waits = Waits::on([LaneId(1), LaneId(2), LaneId(3)]);
        let ahead = LANES.iter().zip(1..).map(|(of, lsn)| waits.enter(Lsn(lsn), &lanes(of)));
        assert_eq!(ahead.collect::<Vec<_>>(), [None, Some(Lsn(1)), None, Some(Lsn(3)), None]);
    }

    #[test]
    fn only_the_lanes_that_are_asked_for_are_kept() {
        let mut waits = Waits::on([LaneId(2)]);
        for (of, lsn) in LANES.iter().zip(1..) {
            waits.enter(Lsn(lsn), &lanes(of));
        }
        assert_eq!(waits.lanes.len(), 1);
        assert_eq!(waits.enter(Lsn(9), &lanes(&[(2, Read)])), Some(Lsn(4)));
    }

    #[test]
    fn two_meet_where_one_of_them_writes() {
        let meets = |one: usize, other: usize| meet(&lanes(LANES[one]), &lanes(LANES[other]));
        assert!(meets(0, 1) && meets(1, 3) && meets(3, 2));
        assert!(!meets(1, 2) && !meets(0, 3) && !meets(4, 0));
    }
}
