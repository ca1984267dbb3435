//! A set of LSNs as few ranges: what has left the log, or what is missing from it.

use std::collections::BTreeMap;
use std::fmt;

use lockstep_model::Lsn;

/// A set of LSNs, kept as disjoint ranges that do not touch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LsnRanges {
    /// First LSN to last LSN, both in the set.
    ranges: BTreeMap<u64, u64>,
}

impl LsnRanges {
    /// Whether nothing is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// How many LSNs are in the set.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.ranges.iter().map(|(first, last)| last - first + 1).sum()
    }

    /// The ranges in order: first and last LSN, both in the set.
    pub fn iter(&self) -> impl Iterator<Item = (Lsn, Lsn)> + '_ {
        self.ranges.iter().map(|(&first, &last)| (Lsn(first), Lsn(last)))
    }

    /// Whether `lsn` is in the set.
    #[must_use]
    pub fn contains(&self, lsn: Lsn) -> bool {
        self.end_of(lsn.0).is_some()
    }

    /// The first LSN from `from` on that is not in the set.
    #[must_use]
    pub fn next_gap(&self, from: Lsn) -> Lsn {
        self.end_of(from.0).map_or(from, |last| Lsn(last.saturating_add(1)))
    }

    /// Puts `lsn` into the set; `false` if it was there.
    pub fn insert(&mut self, lsn: Lsn) -> bool {
        if self.contains(lsn) {
            return false;
        }
        self.insert_range(lsn, lsn);
        true
    }

    /// Puts everything from `first` to `last` into the set, whether it was there or not.
    pub fn insert_range(&mut self, first: Lsn, last: Lsn) {
        if first > last {
            return;
        }
        let (mut first, mut last) = (first.0, last.0);
        // Whatever overlaps or touches on the left is at most one range; on the right there may be several.
        if let Some((&start, &end)) = self.ranges.range(..=first).next_back()
            && end.saturating_add(1) >= first
        {
            first = start;
            last = last.max(end);
        }
        while let Some((&start, &end)) = self.ranges.range(first..=last.saturating_add(1)).next() {
            last = last.max(end);
            self.ranges.remove(&start);
        }
        self.ranges.insert(first, last);
    }

    fn end_of(&self, lsn: u64) -> Option<u64> {
        self.ranges.range(..=lsn).next_back().map(|(_, &last)| last).filter(|&last| last >= lsn)
    }
}

impl fmt::Display for LsnRanges {
    /// At most ten ranges, then how many more: `1-4, 9, 12-40`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 10;
        if self.is_empty() {
            return f.write_str("none");
        }
        for (i, (first, last)) in self.iter().take(SHOWN).enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            if first == last {
                write!(f, "{comma}{first}")?;
            } else {
                write!(f, "{comma}{first}-{last}")?;
            }
        }
        match self.ranges.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, " and {more} ranges more"),
        }
    }
}
