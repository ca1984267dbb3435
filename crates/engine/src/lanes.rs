//! Lanes: for each key a reader-writer queue of its open operations, in LSN order.
//!
//! Operations enter in LSN order and start when they are granted on all their lanes, so a circle of waiting cannot form (P3). Grants
//! are always a prefix of the queue: one writer, or any number of readers.

use std::collections::{HashMap, VecDeque};

use lockstep_model::{Access, LaneId, Lsn};

#[derive(Debug, Default)]
struct Lane {
    /// LSN and access, packed: the low bit says write. A million lanes of one entry stay small.
    queue: VecDeque<u64>,
    granted: u32,
}

const fn pack(lsn: Lsn, access: Access) -> u64 {
    lsn.0 << 1 | matches!(access, Access::Write) as u64
}

const fn is_write(entry: u64) -> bool {
    entry & 1 == 1
}

const fn lsn_of(entry: u64) -> Lsn {
    Lsn(entry >> 1)
}

/// All lanes that somebody waits in or holds.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    lanes: HashMap<LaneId, Lane>,
}

impl Lanes {
    /// Queues the operation in its lanes; tells in how many it has to wait.
    pub(crate) fn enter(&mut self, lsn: Lsn, wanted: &[(LaneId, Access)]) -> u32 {
        let mut waits = 0;
        for &(id, access) in wanted {
            let lane = self.lanes.entry(id).or_insert_with(|| Lane { queue: VecDeque::with_capacity(1), granted: 0 });
            debug_assert!(lane.queue.back().is_none_or(|&e| lsn_of(e) < lsn), "lanes are entered in LSN order");
            let at = lane.queue.len();
            lane.queue.push_back(pack(lsn, access));
            let free = lane.granted as usize == at
                && (at == 0 || (access == Access::Read && lane.queue.front().is_some_and(|&e| !is_write(e))));
            if free {
                lane.granted += 1;
            } else {
                waits += 1;
            }
        }
        waits
    }

    /// Takes the operation out of its lanes; `granted` hears, once for each lane, who need not wait in it any more.
    pub(crate) fn leave(&mut self, lsn: Lsn, wanted: &[(LaneId, Access)], mut granted: impl FnMut(Lsn)) {
        for &(id, access) in wanted {
            let Some(lane) = self.lanes.get_mut(&id) else { continue };
            let Some(at) = lane.queue.iter().position(|&e| e == pack(lsn, access)) else { continue };
            lane.queue.remove(at);
            if at < lane.granted as usize {
                lane.granted -= 1;
            }
            if lane.queue.is_empty() {
                self.lanes.remove(&id);
                continue;
            }
            while let Some(&next) = lane.queue.get(lane.granted as usize) {
                let free = lane.granted == 0 || (!is_write(next) && lane.queue.front().is_some_and(|&e| !is_write(e)));
                if !free {
                    break;
                }
                lane.granted += 1;
                granted(lsn_of(next));
                if is_write(next) {
                    break;
                }
            }
        }
    }

    /// How many operations hold or wait for the lane.
    pub(crate) fn depth(&self, id: LaneId) -> usize {
        self.lanes.get(&id).map_or(0, |l| l.queue.len())
    }

    /// Who is in the lane before the operation: the youngest one that it waits for.
    pub(crate) fn ahead(&self, lsn: Lsn, wanted: &[(LaneId, Access)]) -> Option<Lsn> {
        wanted
            .iter()
            .filter_map(|&(id, access)| {
                let lane = self.lanes.get(&id)?;
                let at = lane.queue.iter().position(|&e| lsn_of(e) == lsn)?;
                let blocks = |&&e: &&u64| access == Access::Write || is_write(e);
                (at >= lane.granted as usize).then(|| lane.queue.range(..at).rev().find(blocks).map(|&e| lsn_of(e)))?
            })
            .max()
    }

    /// The open operations of a lane, oldest first.
    pub(crate) fn holders(&self, id: LaneId) -> Vec<(Lsn, Access)> {
        self.lanes.get(&id).map_or_else(Vec::new, |lane| {
            lane.queue.iter().map(|&e| (lsn_of(e), if is_write(e) { Access::Write } else { Access::Read })).collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: LaneId = LaneId(1);
    const B: LaneId = LaneId(2);

    fn leave(lanes: &mut Lanes, lsn: u64, wanted: &[(LaneId, Access)]) -> Vec<u64> {
        let mut out = Vec::new();
        lanes.leave(Lsn(lsn), wanted, |l| out.push(l.0));
        out
    }

    #[test]
    fn writers_go_one_by_one() {
        let mut lanes = Lanes::default();
        assert_eq!(lanes.enter(Lsn(1), &[(A, Access::Write)]), 0);
        assert_eq!(lanes.enter(Lsn(2), &[(A, Access::Write)]), 1);
        assert_eq!(lanes.enter(Lsn(3), &[(A, Access::Write)]), 1);
        assert_eq!(lanes.ahead(Lsn(3), &[(A, Access::Write)]), Some(Lsn(2)));
        assert_eq!(leave(&mut lanes, 1, &[(A, Access::Write)]), [2]);
        assert_eq!(leave(&mut lanes, 2, &[(A, Access::Write)]), [3]);
        assert_eq!(leave(&mut lanes, 3, &[(A, Access::Write)]), [0; 0]);
        assert_eq!(lanes.depth(A), 0);
    }

    #[test]
    fn readers_go_together_and_do_not_pass_a_writer() {
        let mut lanes = Lanes::default();
        let (r, w) = ([(A, Access::Read)], [(A, Access::Write)]);
        assert_eq!(lanes.enter(Lsn(1), &r), 0);
        assert_eq!(lanes.enter(Lsn(2), &r), 0);
        assert_eq!(lanes.enter(Lsn(3), &w), 1);
        assert_eq!(lanes.enter(Lsn(4), &r), 1);
        assert_eq!(lanes.enter(Lsn(5), &r), 1);
        assert_eq!(leave(&mut lanes, 2, &r), [0; 0]);
        assert_eq!(leave(&mut lanes, 1, &r), [3]);
        assert_eq!(leave(&mut lanes, 3, &w), [4, 5]);
        assert_eq!(lanes.enter(Lsn(6), &r), 0);
    }

    #[test]
    fn an_operation_waits_in_each_lane_for_itself() {
        let mut lanes = Lanes::default();
        assert_eq!(lanes.enter(Lsn(1), &[(A, Access::Write)]), 0);
        assert_eq!(lanes.enter(Lsn(2), &[(B, Access::Write)]), 0);
        assert_eq!(lanes.enter(Lsn(3), &[(A, Access::Write), (B, Access::Read)]), 2);
        assert_eq!(leave(&mut lanes, 2, &[(B, Access::Write)]), [3]);
        assert_eq!(leave(&mut lanes, 1, &[(A, Access::Write)]), [3]);
    }

    #[test]
    fn one_that_waits_can_leave_without_harm() {
        let mut lanes = Lanes::default();
        let w = [(A, Access::Write)];
        lanes.enter(Lsn(1), &w);
        lanes.enter(Lsn(2), &w);
        lanes.enter(Lsn(3), &w);
        assert_eq!(leave(&mut lanes, 2, &w), [0; 0]);
        assert_eq!(leave(&mut lanes, 1, &w), [3]);
    }
}
