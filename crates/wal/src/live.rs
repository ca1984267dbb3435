//! Which LSNs are live, and how long their payloads are: four bytes for each.

use std::collections::BTreeMap;

use lockstep_model::Lsn;

const PAGE: u64 = 512;
const SLOTS: usize = 512;

/// The live LSNs and their payload lengths, in pages, so that one old entry does not keep the room of a million.
#[derive(Debug, Clone, Default)]
pub(crate) struct Live {
    pages: BTreeMap<u64, Page>,
}

#[derive(Debug, Clone)]
struct Page {
    count: u32,
    /// Length plus one; 0 where nothing is live.
    slots: Box<[u32; SLOTS]>,
}

impl Live {
    /// Makes `lsn` live.
    pub(crate) fn insert(&mut self, lsn: Lsn, len: u32) {
        let page = self.pages.entry(lsn.0 / PAGE).or_insert_with(|| Page { count: 0, slots: Box::new([0; SLOTS]) });
        let slot = &mut page.slots[slot(lsn)];
        page.count += u32::from(*slot == 0);
        *slot = len + 1;
    }

    /// The payload length of `lsn`, if it is live.
    pub(crate) fn get(&self, lsn: Lsn) -> Option<u32> {
        self.pages.get(&(lsn.0 / PAGE))?.slots[slot(lsn)].checked_sub(1)
    }

    /// Makes `lsn` no longer live; gives its payload length if it was.
    pub(crate) fn remove(&mut self, lsn: Lsn) -> Option<u32> {
        let page = self.pages.get_mut(&(lsn.0 / PAGE))?;
        let len = page.slots[slot(lsn)].checked_sub(1)?;
        page.slots[slot(lsn)] = 0;
        page.count -= 1;
        if page.count == 0 {
            self.pages.remove(&(lsn.0 / PAGE));
        }
        Some(len)
    }

    /// The live LSNs of the first page that has any from `from` on, in order. Empty: there are none.
    pub(crate) fn page_from(&self, from: Lsn) -> Vec<Lsn> {
        for (&number, page) in self.pages.range(from.0 / PAGE..) {
            let first = number * PAGE;
            let lsns = (first..first + PAGE).zip(page.slots.iter()).filter(|(_, slot)| **slot != 0);
            let found: Vec<Lsn> = lsns.map(|(lsn, _)| Lsn(lsn)).filter(|&lsn| lsn >= from).collect();
            if !found.is_empty() {
                return found;
            }
        }
        Vec::new()
    }
}

const fn slot(lsn: Lsn) -> usize {
    (lsn.0 % PAGE) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_a_map() {
        let mut live = Live::default();
        for lsn in [1, 511, 512, 5000] {
            live.insert(Lsn(lsn), u32::try_from(lsn).unwrap() - 1);
        }
        assert_eq!(live.page_from(Lsn(0)), [Lsn(1), Lsn(511)]);
        assert_eq!(live.page_from(Lsn(512)), [Lsn(512)]);
        assert_eq!(live.page_from(Lsn(513)), [Lsn(5000)]);
        assert_eq!(live.page_from(Lsn(5001)), []);
        assert_eq!((live.get(Lsn(1)), live.get(Lsn(2))), (Some(0), None));
        assert_eq!((live.remove(Lsn(5000)), live.remove(Lsn(5000))), (Some(4999), None));
        assert_eq!(live.pages.len(), 2);
    }
}
