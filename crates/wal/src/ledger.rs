//! The rules of the sequence, without anything stored: who gets which LSN, what is live, what has left.
//!
//! Both logs keep one, so that they cannot differ in this. Every LSN up to the last is in exactly one of two places:
//! live, or in the ranges that have left. That is what "dense" means, and what an open checks.

use std::collections::HashSet;

use lockstep_model::Lsn;

use crate::error::UsageError;
use crate::live::Live;
use crate::log::{Entry, Group, Kind, MAX_PAYLOAD, MAX_SIDE, Positions};
use crate::ranges::LsnRanges;

/// The books of a log.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ledger {
    last: u64,
    live: Live,
    left: LsnRanges,
    /// The log's own live entries; they count as having left wherever callers are told.
    trim: Option<Lsn>,
    boot: Option<Lsn>,
    live_entries: u64,
    live_bytes: u64,
}

/// The places of one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Places {
    /// The first entry's, or the LSN that comes next.
    pub(crate) first: Lsn,
    /// The last LSN given, this group's or an earlier one.
    pub(crate) last: Lsn,
    /// Where the log's own TRIM entry stands, if anything leaves.
    pub(crate) trim: Option<Lsn>,
    /// What leaves, with its payload length.
    pub(crate) leaving: Vec<(Lsn, u32)>,
}

impl Ledger {
    /// Whether the group keeps the rules. Nothing changes.
    pub(crate) fn check(&self, group: &Group) -> Result<(), UsageError> {
        for entry in &group.entries {
            if !entry.kind.is_free_to_use() {
                return Err(UsageError::Kind(entry.kind.0));
            }
            if entry.payload.len() > MAX_PAYLOAD {
                return Err(UsageError::Payload(entry.payload.len()));
            }
        }
        for value in group.side.iter().filter_map(|(_, value)| value.as_ref()) {
            if value.len() > MAX_SIDE {
                return Err(UsageError::Side(value.len()));
            }
        }
        let mut seen = HashSet::with_capacity(group.remove.len());
        for &lsn in &group.remove {
            let own = self.trim == Some(lsn) || self.boot == Some(lsn);
            if own || self.live.get(lsn).is_none() || !seen.insert(lsn) {
                return Err(UsageError::NotLive(lsn));
            }
        }
        Ok(())
    }

    /// Gives places to a group that [`Self::check`] let through, or to one of the log's own.
    pub(crate) fn take(&mut self, entries: &[Entry], remove: &[Lsn]) -> Places {
        let first = Lsn(self.last + 1);
        // The old BOOT entry leaves before the new one comes: there is one at a time.
        let leaving = remove.iter().filter_map(|&lsn| Some((lsn, self.leave(lsn)?))).collect();
        for entry in entries {
            self.last += 1;
            self.record(Lsn(self.last), entry.kind, payload_len(entry));
        }
        let trim = (!remove.is_empty()).then(|| {
            self.last += 1;
            let lsn = Lsn(self.last);
            if let Some(former) = self.trim {
                self.leave(former);
            }
            self.record(lsn, Kind::TRIM, 0);
            lsn
        });
        Places { first, last: Lsn(self.last), trim, leaving }
    }

    /// Enters what an open found live at `lsn`.
    pub(crate) fn record(&mut self, lsn: Lsn, kind: Kind, len: u32) {
        self.last = self.last.max(lsn.0);
        self.live.insert(lsn, len);
        match kind {
            Kind::TRIM => self.trim = Some(lsn),
            Kind::BOOT => self.boot = Some(lsn),
            _ => {
                self.live_entries += 1;
                self.live_bytes += u64::from(len);
            }
        }
    }

    /// Enters the ranges that an open found to have left.
    pub(crate) fn set_left(&mut self, left: LsnRanges) {
        if let Some((_, last)) = left.iter().last() {
            self.last = self.last.max(last.0);
        }
        self.left = left;
    }

    fn leave(&mut self, lsn: Lsn) -> Option<u32> {
        let len = self.live.remove(lsn)?;
        self.left.insert(lsn);
        if self.trim == Some(lsn) {
            self.trim = None;
        } else if self.boot == Some(lsn) {
            self.boot = None;
        } else {
            self.live_entries -= 1;
            self.live_bytes -= u64::from(len);
        }
        Some(len)
    }

    /// Whether anything from `first` to `last` is live.
    pub(crate) fn has_live_in(&self, first: Lsn, last: Lsn) -> bool {
        self.live.page_from(first).first().is_some_and(|&lsn| lsn <= last)
    }

    /// The payload length of a live entry, the log's own included.
    pub(crate) fn live_len(&self, lsn: Lsn) -> Option<u32> {
        self.live.get(lsn)
    }

    /// The next live LSNs from `from` on, some hundreds at a time, without the log's own. `None`: there are no more.
    pub(crate) fn next_live(&self, from: Lsn) -> Option<Vec<Lsn>> {
        let page = self.live.page_from(from);
        (!page.is_empty()).then_some(page)
    }

    /// Whether the entry at `lsn` is the log's own.
    pub(crate) fn is_own(&self, lsn: Lsn) -> bool {
        self.trim == Some(lsn) || self.boot == Some(lsn)
    }

    /// The live BOOT entry.
    pub(crate) const fn boot(&self) -> Option<Lsn> {
        self.boot
    }

    /// The live TRIM entry.
    pub(crate) const fn trim(&self) -> Option<Lsn> {
        self.trim
    }

    /// What has left.
    pub(crate) const fn left(&self) -> &LsnRanges {
        &self.left
    }

    /// The last LSN given.
    pub(crate) const fn last(&self) -> Lsn {
        Lsn(self.last)
    }

    /// LSNs up to `to` that are neither live nor have left.
    pub(crate) fn missing(&self, to: Lsn) -> LsnRanges {
        let mut missing = LsnRanges::default();
        let mut at = Lsn(1);
        while at <= to {
            let page = self.live.page_from(at);
            // Everything before the next live one must have left; behind the last, everything up to `to`.
            for live in page.iter().copied().chain(page.is_empty().then(|| to.next())) {
                let mut gap = self.left.next_gap(at);
                while gap < live && gap <= to {
                    let end = self.left.first_from(gap).map_or(live, |left| left.min(live)).min(to.next());
                    missing.insert_range(gap, Lsn(end.0 - 1));
                    gap = self.left.next_gap(end);
                }
                at = live.next();
            }
        }
        missing
    }

    /// How many of callers' entries are live, and the bytes of their payloads.
    pub(crate) const fn size(&self) -> (u64, u64) {
        (self.live_entries, self.live_bytes)
    }

    /// The positions that callers are told.
    pub(crate) fn positions(&self, durable: Lsn) -> Positions {
        let mut first = Lsn(1);
        loop {
            let next = self.left.next_gap(first);
            if next.0 <= self.last && self.is_own(next) {
                first = next.next();
            } else {
                break Positions { first: next, appended: self.last(), durable, trimmed_below: next };
            }
        }
    }
}

/// The length of an entry's payload, which [`Ledger::check`] has bounded.
pub(crate) fn payload_len(entry: &Entry) -> u32 {
    u32::try_from(entry.payload.len()).unwrap_or(u32::MAX - 1)
}
