//! What stands between [`append`](crate::Log::append) and the log thread: groups in order, visible to readers already.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use lockstep_model::Lsn;

use crate::ledger::{Ledger, Places, payload_len};
use crate::log::{Durability, Entry, Group, Positions, SideKey};
use crate::sync::Instant;
use crate::ticket::{Ticket, Waiter};

/// Groups wait for company only this long if none of them asks for a flush.
const LAZY: Duration = Duration::from_millis(20);
/// One write takes about so many bytes; a larger group goes alone.
const WRITE_BYTES: u64 = 4 << 20;
/// One write takes so many groups: it bounds what a crash can take back at once.
const WRITE_GROUPS: usize = 4096;

/// A value beside the sequence, or its removal.
pub(crate) type SideValue = Option<Arc<Vec<u8>>>;

/// A group in the queue.
pub(crate) struct Queued {
    pub(crate) turn: u64,
    pub(crate) places: Places,
    pub(crate) entries: Vec<Arc<Entry>>,
    pub(crate) side: Vec<(SideKey, SideValue)>,
    bytes: u64,
}

/// The log's books and its queue.
#[derive(Default)]
pub(crate) struct Queue {
    pub(crate) ledger: Ledger,
    durable: u64,
    turn: u64,
    waiting: VecDeque<Queued>,
    waiting_bytes: u64,
    /// How many of `waiting` ask for a flush, and since when the first of the others waits.
    flushes: usize,
    lazy_since: Option<Instant>,
    /// Entries that are not in sled yet.
    entries: HashMap<Lsn, Arc<Entry>>,
    /// Side values that are not in sled yet, each with the turn that wrote it.
    side: BTreeMap<SideKey, (u64, SideValue)>,
    tickets: VecDeque<(u64, Waiter)>,
}

/// What the log thread is to do.
pub(crate) enum Next {
    /// Write this.
    Write(Vec<Queued>),
    /// Wait for a call, or for so long.
    Wait(Option<Duration>),
}

impl Queue {
    /// A queue behind the books of an opened log, all of which is durable.
    pub(crate) fn new(ledger: Ledger) -> Self {
        Self { durable: ledger.last().0, ledger, ..Self::default() }
    }

    /// Puts a checked group at the end: its LSNs are taken, readers see it.
    pub(crate) fn push(&mut self, group: Group) -> (Lsn, Ticket) {
        let places = self.ledger.take(&group.entries, &group.remove);
        let (waiter, ticket) = Ticket::new();
        let first = places.first;
        self.turn += 1;
        let turn = self.turn;
        self.tickets.push_back((turn, waiter));
        let mut bytes = 0;
        let mut lsn = first;
        let mut entries = Vec::with_capacity(group.entries.len());
        for entry in group.entries {
            bytes += u64::from(payload_len(&entry));
            let entry = Arc::new(entry);
            self.entries.insert(lsn, Arc::clone(&entry));
            entries.push(entry);
            lsn = lsn.next();
        }
        let mut side = Vec::with_capacity(group.side.len());
        for (key, value) in group.side {
            bytes += value.as_ref().map_or(0, |value| value.len() as u64);
            let value = value.map(Arc::new);
            self.side.insert(key, (turn, value.clone()));
            side.push((key, value));
        }
        for (lsn, _) in &places.leaving {
            self.entries.remove(lsn);
        }
        match group.durability {
            Durability::Flush => self.flushes += 1,
            Durability::Lazy => self.lazy_since = self.lazy_since.or_else(|| Some(Instant::now())),
        }
        self.waiting_bytes += bytes;
        self.waiting.push_back(Queued { turn, places, entries, side, bytes });
        (first, ticket)
    }

    /// What to do now; `closing`: nobody will come to keep lazy groups company.
    pub(crate) fn next(&mut self, closing: bool) -> Next {
        let lazy_for = self.lazy_since.map(|since| since.elapsed());
        let due = self.flushes > 0
            || self.waiting_bytes >= WRITE_BYTES
            || self.waiting.len() >= WRITE_GROUPS
            || lazy_for.is_some_and(|waited| closing || waited >= LAZY);
        if !due || self.waiting.is_empty() {
            return Next::Wait(lazy_for.map(|waited| LAZY.saturating_sub(waited)));
        }
        let mut taken = Vec::new();
        let mut bytes = 0;
        while let Some(group) = self.waiting.front() {
            bytes += group.bytes;
            if !taken.is_empty() && (bytes > WRITE_BYTES || taken.len() >= WRITE_GROUPS) {
                break;
            }
            taken.extend(self.waiting.pop_front());
        }
        if self.waiting.is_empty() {
            self.flushes = 0;
            self.lazy_since = None;
        }
        Next::Write(taken)
    }

    /// The groups are durable. Gives the tickets to resolve.
    pub(crate) fn written(&mut self, groups: &[Queued]) -> Vec<Waiter> {
        let Some(last) = groups.last() else { return Vec::new() };
        for group in groups {
            self.waiting_bytes -= group.bytes;
            let lsns = group.places.first.0..;
            for lsn in lsns.take(group.entries.len()) {
                self.entries.remove(&Lsn(lsn));
            }
            for (key, _) in &group.side {
                if self.side.get(key).is_some_and(|(turn, _)| *turn <= last.turn) {
                    self.side.remove(key);
                }
            }
        }
        self.durable = last.places.last.0;
        let told = self.tickets.partition_point(|(turn, _)| *turn <= last.turn);
        self.tickets.drain(..told).map(|(_, waiter)| waiter).collect()
    }

    /// Nothing more will be durable. Gives all tickets.
    pub(crate) fn abandon(&mut self) -> Vec<Waiter> {
        self.waiting.clear();
        self.waiting_bytes = 0;
        self.entries.clear();
        self.side.clear();
        self.tickets.drain(..).map(|(_, waiter)| waiter).collect()
    }

    /// How far the log is.
    pub(crate) fn positions(&self) -> Positions {
        self.ledger.positions(Lsn(self.durable))
    }

    /// Whether nothing waits to be written.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Bytes appended and not yet durable.
    pub(crate) const fn bytes(&self) -> u64 {
        self.waiting_bytes
    }

    /// An entry that is not in sled yet.
    pub(crate) fn entry(&self, lsn: Lsn) -> Option<Arc<Entry>> {
        self.entries.get(&lsn).cloned()
    }

    /// What the queue will do to a side value; outer `None`: nothing.
    pub(crate) fn side(&self, key: &SideKey) -> Option<SideValue> {
        self.side.get(key).map(|(_, value)| value.clone())
    }

    /// What the queue will do to summaries below `below`, the newest first.
    pub(crate) fn summaries_below(&self, below: Lsn) -> Vec<(Lsn, SideValue)> {
        let range = SideKey::Summary(Lsn(0))..SideKey::Summary(below);
        let found = self.side.range(range).rev();
        found
            .filter_map(|(key, (_, value))| match key {
                SideKey::Summary(lsn) => Some((*lsn, value.clone())),
                SideKey::Idempotency(_) | SideKey::Note(_) => None,
            })
            .collect()
    }
}
