//! Lanes: the queues that keep the order of a key's open operations.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::action::{Action, UnrelateTarget};
use crate::key::{Key, Table};

/// The name of a lane: the first 8 bytes (little-endian) of BLAKE3 of what it is the lane of.
///
/// Two keys may share a name by chance. That only makes them wait for each other; nothing is decided by
/// a lane but the order of starting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LaneId(pub u64);

impl LaneId {
    /// The lane of all edges of one table between one pair of endpoints, whatever their ids.
    ///
    /// What is hashed begins with a zero byte, which no key contains: it is never a key's lane but by chance.
    #[must_use]
    pub fn of_endpoints(edge: &Table, from: &Key, to: &Key) -> Self {
        Self::of_bytes(format!("\0endpoints\0{edge}\0{from}\0{to}").as_bytes())
    }

    fn of_bytes(bytes: &[u8]) -> Self {
        let [a, b, c, d, e, f, g, h, ..] = *blake3::hash(bytes).as_bytes();
        Self(u64::from_le_bytes([a, b, c, d, e, f, g, h]))
    }
}

impl fmt::Display for LaneId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Key {
    /// The lane of this key.
    #[must_use]
    pub fn lane(&self) -> LaneId {
        LaneId::of_bytes(self.to_string().as_bytes())
    }
}

/// How an operation uses a lane. Readers of one lane run side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Access {
    /// The key must stay as it is: an edge's endpoint.
    Read,
    /// The key changes.
    Write,
}

impl Action {
    /// The lanes this action stands in, each once and in order of their names; a write covers a read.
    ///
    /// `clear` stands in none: it is carried out as pages of logged deletes, which stand in theirs.
    #[must_use]
    pub fn lanes(&self) -> Vec<(LaneId, Access)> {
        let mut lanes = BTreeMap::new();
        self.collect_lanes(&mut lanes);
        lanes.into_iter().collect()
    }

    /// The lanes among [`Action::lanes`] in which it leaves nothing: what was there before it must not be written again.
    #[must_use]
    pub fn removed_lanes(&self) -> Vec<LaneId> {
        let mut lanes = Vec::new();
        for member in self.members() {
            match member {
                Self::Delete { key } | Self::Unrelate(UnrelateTarget::Key(key)) => lanes.push(key.lane()),
                Self::Unrelate(UnrelateTarget::Endpoints { edge, from, to }) => {
                    lanes.push(LaneId::of_endpoints(edge, from, to));
                    lanes.push(Key::edge(edge, from, to).lane());
                }
                Self::Put { .. } | Self::Patch { .. } | Self::Relate { .. } | Self::Atomic(_) | Self::Clear { .. } => {}
            }
        }
        lanes
    }

    fn collect_lanes(&self, lanes: &mut BTreeMap<LaneId, Access>) {
        let mut enter = |lane, access| {
            let held = lanes.entry(lane).or_insert(access);
            *held = access.max(*held);
        };
        match self {
            Self::Put { key, .. } | Self::Patch { key, .. } | Self::Delete { key } => enter(key.lane(), Access::Write),
            Self::Relate { key, from, to, .. } => {
                enter(key.lane(), Access::Write);
                enter(LaneId::of_endpoints(&key.table, from, to), Access::Write);
                enter(from.lane(), Access::Read);
                enter(to.lane(), Access::Read);
            }
            Self::Unrelate(UnrelateTarget::Key(key)) => enter(key.lane(), Access::Write),
            Self::Unrelate(UnrelateTarget::Endpoints { edge, from, to }) => {
                enter(LaneId::of_endpoints(edge, from, to), Access::Write);
                enter(Key::edge(edge, from, to).lane(), Access::Write);
                // A delete of an endpoint takes the edges along: it comes before or after, as in the log.
                enter(from.lane(), Access::Read);
                enter(to.lane(), Access::Read);
            }
            Self::Atomic(members) => {
                for member in members {
                    member.collect_lanes(lanes);
                }
            }
            Self::Clear { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Document;
    use crate::vector::Vectors;

    fn key(text: &str) -> Key {
        text.parse().unwrap()
    }

    fn put(text: &str) -> Action {
        Action::Put { key: key(text), document: Document::default(), vectors: Vectors::default() }
    }

    fn relate(edge: &str, from: &str, to: &str) -> Action {
        let (from, to) = (key(from), key(to));
        let key = Key::edge(&Table::new(edge).unwrap(), &from, &to);
        Action::Relate { key, from, to, document: Document::default(), vectors: Vectors::default() }
    }

    #[test]
    fn golden_lanes() {
        let edge = Table::new("mentions").unwrap();
        assert_eq!(key("memory:01").lane().to_string(), "72ca8bea11fd2755");
        let between = LaneId::of_endpoints(&edge, &key("memory:01"), &key("person:7"));
        assert_eq!(between.to_string(), "2fde0281de94f427");
    }

    #[test]
    fn an_edge_reads_its_endpoints_and_writes_itself() {
        let action = relate("mentions", "memory:01", "person:7");
        let lanes: BTreeMap<_, _> = action.lanes().into_iter().collect();
        assert_eq!(lanes.len(), 4);
        assert_eq!(lanes[&key("memory:01").lane()], Access::Read);
        assert_eq!(lanes[&key("person:7").lane()], Access::Read);
        assert_eq!(lanes[&action.key().unwrap().lane()], Access::Write);
    }

    #[test]
    fn unrelate_by_endpoints_excludes_every_relate_between_them() {
        let edge = Table::new("mentions").unwrap();
        let (from, to) = (key("memory:01"), key("person:7"));
        let between = (LaneId::of_endpoints(&edge, &from, &to), Access::Write);
        let named = Action::Relate {
            key: key("mentions:mine"),
            from: from.clone(),
            to: to.clone(),
            document: Document::default(),
            vectors: Vectors::default(),
        };
        let unrelate = Action::Unrelate(UnrelateTarget::Endpoints { edge, from, to });
        assert!(named.lanes().contains(&between));
        assert!(unrelate.lanes().contains(&between));
        assert_eq!(unrelate.lanes().len(), 4);
    }

    #[test]
    fn in_a_group_write_covers_read() {
        let group = Action::Atomic(vec![relate("mentions", "memory:01", "person:7"), put("memory:01")]);
        let lanes: BTreeMap<_, _> = group.lanes().into_iter().collect();
        assert_eq!(lanes.len(), 4);
        assert_eq!(lanes[&key("memory:01").lane()], Access::Write);
        assert_eq!(lanes[&key("person:7").lane()], Access::Read);
    }

    #[test]
    fn clear_stands_in_no_lane() {
        assert!(Action::Clear { table: Table::new("memory").unwrap(), filter: None }.lanes().is_empty());
    }
}
