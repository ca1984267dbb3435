//! Lanes: for each key a reader-writer queue of its open operations, in LSN order.
//!
//! Operations enter in LSN order and start when they are granted on all their lanes, so a circle of waiting cannot form (P3). Grants
//! are always a prefix of the queue: one writer, or any number of readers.

use std::collections::{HashMap, VecDeque};

use lockstep_model::{Access, LaneId, Lsn};

/// LSN and access, packed: the low bit says write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry(u64);

impl Entry {
    const fn new(lsn: Lsn, access: Access) -> Self {
        Self(lsn.0 << 1 | matches!(access, Access::Write) as u64)
    }

    const fn writes(self) -> bool {
        self.0 & 1 == 1
    }

    const fn lsn(self) -> Lsn {
        Lsn(self.0 >> 1)
    }

    const fn access(self) -> Access {
        if self.writes() { Access::Write } else { Access::Read }
    }
}

/// A lane with company in it.
#[derive(Debug)]
struct Queue {
    entries: VecDeque<Entry>,
    /// So many at the front need not wait.
    granted: usize,
}

/// One lane. Of a million lanes nearly all hold one operation, which is granted and takes no memory of its own.
#[derive(Debug)]
enum Lane {
    One(Entry),
    More(Box<Queue>),
}

impl Lane {
    fn len(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::More(queue) => queue.entries.len(),
        }
    }

    fn entries(&self) -> Vec<Entry> {
        match self {
            Self::One(entry) => vec![*entry],
            Self::More(queue) => queue.entries.iter().copied().collect(),
        }
    }

    /// Takes one out; `granted` hears who need not wait any more. Tells whether the lane is empty now.
    fn remove(&mut self, entry: Entry, granted: &mut impl FnMut(Lsn)) -> bool {
        let queue = match self {
            Self::One(only) => return *only == entry,
            Self::More(queue) => queue,
        };
        let Some(at) = queue.entries.iter().position(|e| *e == entry) else { return false };
        queue.entries.remove(at);
        queue.granted -= usize::from(at < queue.granted);
        queue.grant(granted);
        queue.entries.is_empty()
    }

    /// Puts one before the younger ones at the end that give way; `back` hears whose grant is gone with that. Tells whether it need not wait.
    fn insert(&mut self, entry: Entry, gives_way: &impl Fn(Lsn) -> bool, back: &mut impl FnMut(Lsn)) -> bool {
        if let Self::One(first) = self {
            *self = Self::More(Box::new(Queue { entries: VecDeque::from([*first]), granted: 1 }));
        }
        let Self::More(queue) = self else { return false };
        let younger = queue.entries.iter().rev().take_while(|e| e.lsn() > entry.lsn() && gives_way(e.lsn())).count();
        let at = queue.entries.len() - younger;
        queue.entries.insert(at, entry);
        // These were granted, and stand one further on now.
        let had = at + 1..queue.granted + 1;
        queue.granted = queue.granted.min(at);
        queue.grant(&mut |_| {});
        had.filter(|place| *place >= queue.granted).for_each(|place| back(queue.entries[place].lsn()));
        queue.granted > at
    }
}

impl Queue {
    /// Lets in at the front whoever need not wait any more; `granted` hears of them.
    fn grant(&mut self, granted: &mut impl FnMut(Lsn)) {
        while let Some(&next) = self.entries.get(self.granted) {
            let reading = self.entries.front().is_some_and(|e| !e.writes());
            if self.granted > 0 && (next.writes() || !reading) {
                break;
            }
            self.granted += 1;
            granted(next.lsn());
            if next.writes() {
                break;
            }
        }
    }
}

/// All lanes that somebody waits in or holds.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    lanes: HashMap<LaneId, Lane>,
}

impl Lanes {
    /// Queues the operation in its lanes, behind whoever is there; tells in how many it has to wait.
    pub(crate) fn enter(&mut self, lsn: Lsn, wanted: &[(LaneId, Access)]) -> u32 {
        self.enter_before(lsn, wanted, |_| false).0
    }

    /// The youngest that has not begun and has one behind it in a lane that has; 0 if there is none.
    pub(crate) fn last_followed(&self, has_begun: impl Fn(Lsn) -> bool) -> Lsn {
        let followed = |lane: &Lane| {
            let entries = lane.entries();
            let last = entries.iter().rposition(|e| has_begun(e.lsn())).unwrap_or(0);
            entries.iter().take(last).map(|e| e.lsn()).filter(|lsn| !has_begun(*lsn)).max()
        };
        self.lanes.values().filter_map(followed).max().unwrap_or(Lsn(0))
    }

    /// Queues the operation in its lanes, before the younger ones at the end that give way. Tells in how many it has to wait, and who has to wait
    /// once more, once for each lane.
    pub(crate) fn enter_before(
        &mut self,
        lsn: Lsn,
        wanted: &[(LaneId, Access)],
        gives_way: impl Fn(Lsn) -> bool,
    ) -> (u32, Vec<Lsn>) {
        let mut waits = 0;
        let mut back = Vec::new();
        for &(id, access) in wanted {
            let entry = Entry::new(lsn, access);
            match self.lanes.entry(id) {
                std::collections::hash_map::Entry::Vacant(free) => {
                    free.insert(Lane::One(entry));
                }
                std::collections::hash_map::Entry::Occupied(mut lane) => {
                    waits += u32::from(!lane.get_mut().insert(entry, &gives_way, &mut |lsn| back.push(lsn)));
                }
            }
        }
        (waits, back)
    }

    /// Takes the operation out of its lanes; `granted` hears, once for each lane, who need not wait in it any more.
    pub(crate) fn leave(&mut self, lsn: Lsn, wanted: &[(LaneId, Access)], mut granted: impl FnMut(Lsn)) {
        for &(id, access) in wanted {
            if let Some(lane) = self.lanes.get_mut(&id)
                && lane.remove(Entry::new(lsn, access), &mut granted)
            {
                self.lanes.remove(&id);
            }
        }
    }

    /// How many operations hold or wait for the lane.
    pub(crate) fn depth(&self, id: LaneId) -> usize {
        self.lanes.get(&id).map_or(0, Lane::len)
    }

    /// The youngest operation that this one waits for.
    pub(crate) fn ahead(&self, lsn: Lsn, wanted: &[(LaneId, Access)]) -> Option<Lsn> {
        let in_lane = |&(id, access): &(LaneId, Access)| {
            let Some(Lane::More(queue)) = self.lanes.get(&id) else { return None };
            let at = queue.entries.iter().position(|e| e.lsn() == lsn)?;
            let in_the_way = |e: &&Entry| access == Access::Write || e.writes();
            (at >= queue.granted).then(|| queue.entries.range(..at).rev().find(in_the_way).map(|e| e.lsn()))?
        };
        wanted.iter().filter_map(in_lane).max()
    }

    /// The open operations of a lane, oldest first.
    pub(crate) fn holders(&self, id: LaneId) -> Vec<(Lsn, Access)> {
        let entries = self.lanes.get(&id).map_or_else(Vec::new, Lane::entries);
        entries.into_iter().map(|e| (e.lsn(), e.access())).collect()
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
    fn an_older_one_that_comes_again_goes_before_what_gives_way() {
        let (r, w) = ([(A, Access::Read)], [(A, Access::Write)]);
        let mut lanes = Lanes::default();
        lanes.enter(Lsn(5), &w);
        lanes.enter(Lsn(6), &w);
        assert_eq!(lanes.enter_before(Lsn(2), &w, |_| true), (0, vec![Lsn(5)]), "whoever was granted waits once more");
        assert_eq!(leave(&mut lanes, 2, &w), [5]);
        assert_eq!(lanes.enter_before(Lsn(3), &w, |lsn| lsn != Lsn(5)), (1, Vec::new()), "behind what has begun");
        assert_eq!(lanes.holders(A).iter().map(|(lsn, _)| lsn.0).collect::<Vec<_>>(), [5, 3, 6]);
        assert_eq!(leave(&mut lanes, 5, &w), [3]);
        assert_eq!(leave(&mut lanes, 3, &w), [6]);
        // Nobody passes an older one, and readers stay together.
        assert_eq!(lanes.enter_before(Lsn(9), &w, |_| true), (1, Vec::new()));
        assert_eq!(leave(&mut lanes, 6, &w), [9]);
        assert_eq!(leave(&mut lanes, 9, &w), [0; 0]);
        for reader in [11, 12] {
            lanes.enter(Lsn(reader), &r);
        }
        assert_eq!(lanes.enter_before(Lsn(10), &r, |_| true), (0, Vec::new()));
        assert_eq!(lanes.enter_before(Lsn(4), &w, |_| true), (0, vec![Lsn(10), Lsn(11), Lsn(12)]));
        assert_eq!(leave(&mut lanes, 4, &w), [10, 11, 12]);
    }

    #[test]
    fn who_is_waited_for_is_told() {
        let mut lanes = Lanes::default();
        for (lsn, lane) in [(4, A), (5, A), (7, A), (6, B), (8, B)] {
            lanes.enter(Lsn(lsn), &[(lane, Access::Write)]);
        }
        assert_eq!(lanes.last_followed(|lsn| lsn == Lsn(7)), Lsn(5));
        assert_eq!(lanes.last_followed(|lsn| lsn == Lsn(8)), Lsn(6));
        assert_eq!(lanes.last_followed(|lsn| [Lsn(4), Lsn(6)].contains(&lsn)), Lsn(0));
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
