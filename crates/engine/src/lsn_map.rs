//! Maps and sets of LSNs. They come densely, a million at a time, and leave in any order: a page holds neighbours, a bit or a
//! slot each, where a tree of single entries would be half empty.

use std::collections::BTreeMap;

use lockstep_model::Lsn;

const SLOTS: u64 = 32;

#[derive(Debug)]
struct Page<T> {
    count: u32,
    slots: Vec<Option<T>>,
}

/// A map from LSNs.
#[derive(Debug)]
pub(crate) struct LsnMap<T> {
    pages: BTreeMap<u64, Page<T>>,
}

impl<T> Default for LsnMap<T> {
    fn default() -> Self {
        Self { pages: BTreeMap::new() }
    }
}

const fn slot(lsn: Lsn) -> usize {
    (lsn.0 % SLOTS) as usize
}

impl<T> LsnMap<T> {
    pub(crate) fn insert(&mut self, lsn: Lsn, value: T) {
        let page = self.pages.entry(lsn.0 / SLOTS).or_insert_with(|| Page {
            count: 0,
            slots: std::iter::repeat_with(|| None).take(slot(Lsn(SLOTS - 1)) + 1).collect(),
        });
        if let Some(place) = page.slots.get_mut(slot(lsn)) {
            page.count += u32::from(place.replace(value).is_none());
        }
    }

    pub(crate) fn get(&self, lsn: &Lsn) -> Option<&T> {
        self.pages.get(&(lsn.0 / SLOTS))?.slots.get(slot(*lsn))?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, lsn: &Lsn) -> Option<&mut T> {
        self.pages.get_mut(&(lsn.0 / SLOTS))?.slots.get_mut(slot(*lsn))?.as_mut()
    }

    pub(crate) fn contains_key(&self, lsn: &Lsn) -> bool {
        self.get(lsn).is_some()
    }

    pub(crate) fn remove(&mut self, lsn: &Lsn) -> Option<T> {
        let page = self.pages.get_mut(&(lsn.0 / SLOTS))?;
        let value = page.slots.get_mut(slot(*lsn))?.take()?;
        page.count -= 1;
        if page.count == 0 {
            self.pages.remove(&(lsn.0 / SLOTS));
        }
        Some(value)
    }

    /// All of them, in order.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (Lsn, &T)> {
        self.pages.iter().flat_map(|(page, Page { slots, .. })| {
            let first = page * SLOTS;
            slots.iter().enumerate().filter_map(move |(at, value)| Some((Lsn(first + at as u64), value.as_ref()?)))
        })
    }

    /// Those below `below`, the newest first.
    pub(crate) fn newest_below(&self, below: Lsn) -> impl Iterator<Item = (Lsn, &T)> {
        self.pages.range(..=below.0 / SLOTS).rev().flat_map(move |(page, Page { slots, .. })| {
            let first = page * SLOTS;
            let in_page = move |(at, value): (usize, _)| Some((Lsn(first + at as u64), Option::as_ref(value)?));
            slots.iter().enumerate().rev().filter_map(in_page).filter(move |(lsn, _)| *lsn < below)
        })
    }
}

/// A set of LSNs.
#[derive(Debug, Default)]
pub(crate) struct LsnSet {
    pages: BTreeMap<u64, u64>,
    count: usize,
}

impl LsnSet {
    pub(crate) fn insert(&mut self, lsn: Lsn) {
        let page = self.pages.entry(lsn.0 / 64).or_default();
        let bit = 1 << (lsn.0 % 64);
        self.count += usize::from(*page & bit == 0);
        *page |= bit;
    }

    /// Takes it out; tells whether it was there.
    pub(crate) fn remove(&mut self, lsn: Lsn) -> bool {
        let Some(page) = self.pages.get_mut(&(lsn.0 / 64)) else { return false };
        let bit = 1 << (lsn.0 % 64);
        let was_there = *page & bit != 0;
        self.count -= usize::from(was_there);
        *page &= !bit;
        if *page == 0 {
            self.pages.remove(&(lsn.0 / 64));
        }
        was_there
    }

    pub(crate) fn contains(&self, lsn: Lsn) -> bool {
        self.pages.get(&(lsn.0 / 64)).is_some_and(|page| page & (1 << (lsn.0 % 64)) != 0)
    }

    pub(crate) fn first(&self) -> Option<Lsn> {
        self.pages.first_key_value().map(|(page, bits)| Lsn(page * 64 + u64::from(bits.trailing_zeros())))
    }

    pub(crate) const fn len(&self) -> usize {
        self.count
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// All of them, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Lsn> {
        self.pages.iter().flat_map(|(page, bits)| {
            (0..64).filter(move |bit| bits & (1 << bit) != 0).map(move |bit| Lsn(page * 64 + bit))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    #[test]
    fn they_do_what_a_tree_does() {
        let mut rng = StdRng::seed_from_u64(3);
        let (mut map, mut set, mut tree) = (LsnMap::default(), LsnSet::default(), BTreeMap::new());
        for n in 0..20_000_u32 {
            let lsn = Lsn(rng.random_range(0..500));
            if rng.random_bool(0.5) {
                map.insert(lsn, n);
                set.insert(lsn);
                tree.insert(lsn, n);
            } else {
                assert_eq!(map.remove(&lsn), tree.remove(&lsn));
                set.remove(lsn);
            }
            assert_eq!((map.get(&lsn), set.contains(lsn)), (tree.get(&lsn), tree.contains_key(&lsn)));
            assert_eq!(
                (set.len(), set.is_empty(), set.first()),
                (tree.len(), tree.is_empty(), tree.keys().next().copied())
            );
            if n % 500 == 0 {
                assert!(map.iter().eq(tree.iter().map(|(l, v)| (*l, v))));
                assert!(map.newest_below(lsn).eq(tree.range(..lsn).rev().map(|(l, v)| (*l, v))));
                assert!(set.iter().eq(tree.keys().copied()));
            }
        }
        for lsn in tree.keys() {
            map.remove(lsn);
            set.remove(*lsn);
        }
        assert!(map.pages.is_empty() && set.pages.is_empty());
    }
}
