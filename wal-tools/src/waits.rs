//! Which open operations wait for which.

use std::collections::HashMap;

use lockstep_model::{Access, LaneId, Lsn};
use lockstep_wal::OpHead;

/// The last to enter a lane.
#[derive(Debug, Clone, Copy)]
struct Last {
    any: Lsn,
    writer: Option<Lsn>,
}

/// For each open operation that has to wait, the youngest older one in its way. `heads` come in LSN order.
pub(crate) fn waits<'a>(heads: impl IntoIterator<Item = (Lsn, &'a OpHead)>) -> HashMap<Lsn, Lsn> {
    let mut lanes: HashMap<LaneId, Last> = HashMap::new();
    let mut waits = HashMap::new();
    for (lsn, head) in heads.into_iter().filter(|(_, head)| head.state.is_open()) {
        let mut ahead: Option<Lsn> = None;
        for &(lane, access) in &head.lanes {
            let last = lanes.get(&lane).copied();
            ahead = ahead.max(match access {
                Access::Write => last.map(|last| last.any),
                Access::Read => last.and_then(|last| last.writer),
            });
            let writer = if access == Access::Write { Some(lsn) } else { last.and_then(|last| last.writer) };
            lanes.insert(lane, Last { any: lsn, writer });
        }
        if let Some(ahead) = ahead {
            waits.insert(lsn, ahead);
        }
    }
    waits
}

#[cfg(test)]
mod tests {
    use lockstep_model::State;

    use super::*;

    fn head(state: State, lanes: &[(u64, Access)]) -> OpHead {
        let lanes = lanes.iter().map(|&(lane, access)| (LaneId(lane), access)).collect();
        OpHead { state, lanes, ..OpHead::default() }
    }

    #[test]
    fn readers_run_side_by_side_and_writers_wait_for_all_before_them() {
        use Access::{Read, Write};
        let heads = [
            head(State::Pending, &[(1, Write)]),
            head(State::Pending, &[(1, Read), (2, Read)]),
            head(State::Compensating, &[(2, Read)]),
            head(State::Committed, &[(2, Write)]),
            head(State::Parked, &[(2, Write)]),
            head(State::Pending, &[(2, Write)]),
            head(State::Pending, &[(3, Write)]),
        ];
        let waits = waits(heads.iter().zip(1..).map(|(head, lsn)| (Lsn(lsn), head)));
        assert_eq!(waits, HashMap::from([(Lsn(2), Lsn(1)), (Lsn(6), Lsn(3))]));
    }
}
