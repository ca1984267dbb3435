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

    /// The first LSN from `from` on that is in the set.
    pub(crate) fn first_from(&self, from: Lsn) -> Option<Lsn> {
        if self.contains(from) {
            return Some(from);
        }
        self.ranges.range(from.0..).next().map(|(&first, _)| Lsn(first))
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

    /// What is in this set and not in `other`.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        let mut rest = Self::default();
        for (mut first, last) in self.iter() {
            let start = other.ranges.range(..=first.0).next_back().map_or(first.0, |(&start, _)| start);
            for (&cut_first, &cut_last) in other.ranges.range(start..=last.0) {
                if cut_first > first.0 {
                    rest.insert_range(first, Lsn(cut_first - 1));
                }
                first = first.max(Lsn(cut_last.saturating_add(1)));
            }
            rest.insert_range(first, last);
        }
        rest
    }

    /// The set as bytes: for each range the distance from the end of the one before and the length, as LEB128.
    #[must_use]
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.ranges.len() * 4);
        let mut end = 0;
        for (&first, &last) in &self.ranges {
            put_number(&mut bytes, first - end);
            put_number(&mut bytes, last - first);
            end = last;
        }
        bytes
    }

    /// The set that [`Self::to_bytes`] wrote; `None` for anything else.
    #[must_use]
    pub(crate) fn from_bytes(mut bytes: &[u8]) -> Option<Self> {
        let mut ranges = BTreeMap::new();
        let mut end = 0_u64;
        while !bytes.is_empty() {
            let gap = take_number(&mut bytes)?;
            // Ranges that touch would be one; the first may begin at 1.
            if gap == 0 || (gap == 1 && end != 0) {
                return None;
            }
            let first = end.checked_add(gap)?;
            end = first.checked_add(take_number(&mut bytes)?)?;
            ranges.insert(first, end);
        }
        Some(Self { ranges })
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

fn put_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(0x80 | number.to_le_bytes()[0]);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
}

fn take_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let low = u64::from(byte & 0x7f);
        if low << shift >> shift != low {
            return None;
        }
        number |= low << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn shows_ranges() {
        let mut set = LsnRanges::default();
        assert_eq!(set.to_string(), "none");
        for lsn in [1, 2, 4, 3, 9] {
            assert!(set.insert(Lsn(lsn)));
        }
        assert!(!set.insert(Lsn(2)));
        assert_eq!(set.to_string(), "1-4, 9");
        assert_eq!(set.next_gap(Lsn(2)), Lsn(5));
    }

    proptest! {
        #[test]
        fn is_a_set(inserts in prop::collection::vec((1_u64..60, 0_u64..6), 0..40)) {
            let mut set = LsnRanges::default();
            let mut model = BTreeSet::new();
            for (first, more) in inserts {
                set.insert_range(Lsn(first), Lsn(first + more));
                model.extend(first..=first + more);
            }
            prop_assert_eq!(set.count(), model.len() as u64);
            for lsn in 0..70 {
                prop_assert_eq!(set.contains(Lsn(lsn)), model.contains(&lsn));
            }
            let spans: Vec<_> = set.iter().collect();
            prop_assert!(spans.windows(2).all(|pair| pair[0].1.0 + 1 < pair[1].0.0));
            prop_assert_eq!(LsnRanges::from_bytes(&set.to_bytes()), Some(set));
        }

        #[test]
        fn loses_another_set(
            ours in prop::collection::vec((1_u64..60, 0_u64..6), 0..20),
            theirs in prop::collection::vec((1_u64..60, 0_u64..6), 0..20),
        ) {
            let collect = |spans: Vec<(u64, u64)>| {
                let mut set = LsnRanges::default();
                spans.into_iter().for_each(|(first, more)| set.insert_range(Lsn(first), Lsn(first + more)));
                set
            };
            let (ours, theirs) = (collect(ours), collect(theirs));
            let rest = ours.without(&theirs);
            for lsn in (0..70).map(Lsn) {
                prop_assert_eq!(rest.contains(lsn), ours.contains(lsn) && !theirs.contains(lsn));
            }
        }

        #[test]
        fn any_bytes_are_a_set_or_nothing(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Some(set) = LsnRanges::from_bytes(&bytes) {
                prop_assert_eq!(LsnRanges::from_bytes(&set.to_bytes()), Some(set));
            }
        }
    }
}
