//! Images of records, and what goes back to them: the part of the document store that takes back.

use lockstep_model::{Document, Key};
use lockstep_stores::{Found, Image, ImageAsk, Undo, UndoTo, Undone, Want, Wrote};

use crate::documents::{Disk, SimRecord};

impl Disk {
    pub(crate) fn image(&mut self, ask: &ImageAsk) -> Image {
        let found = self.records.get(&ask.key).cloned().map(|record| {
            let whole = ask.want == Want::Whole;
            let raw = if whole {
                let mut images = self.images.lock().unwrap();
                images.push(record.clone());
                (images.len() as u64 - 1).to_le_bytes().to_vec()
            } else {
                Vec::new()
            };
            Found {
                stamp: record.stamp,
                ends: record.ends.clone(),
                document: if whole { record.document.clone() } else { Document::default() },
                kept: record.kept.clone().filter(|_| whole),
                has_vectors: record.has_vectors,
                raw,
            }
        });
        let touches = |r: &SimRecord| r.ends.as_ref().is_some_and(|e| e.from == ask.key || e.to == ask.key);
        let edges = if ask.edges {
            self.records.iter().filter(|(_, r)| touches(r)).map(|(key, _)| key.clone()).collect()
        } else {
            Vec::new()
        };
        Image { key: ask.key.clone(), found, edges, unkeyed_edges: 0 }
    }

    /// All of them, or none.
    pub(crate) fn undo_all(&mut self, undos: &[Undo]) -> Undone {
        let mut next = self.clone();
        let mut all = Undone::AlreadyThere;
        // Edges that were made go before the records that they hang on, and records come back before their edges.
        let is_edge = |undo: &&Undo| self.records.get(&undo.key).is_some_and(|r| r.ends.is_some());
        let (edges, others): (Vec<_>, Vec<_>) = undos.iter().partition(is_edge);
        let comes_back = |undo: &&Undo| matches!(undo.wrote, Wrote::Removed);
        let (back, rest): (Vec<_>, Vec<_>) = others.into_iter().partition(comes_back);
        for undo in edges.into_iter().chain(rest).chain(back) {
            match next.undo(undo, undos) {
                Undone::AlreadyThere => {}
                Undone::Restored => all = Undone::Restored,
                blocked @ Undone::Blocked(_) => return blocked,
            }
        }
        *self = next;
        all
    }

    fn undo(&mut self, undo: &Undo, together: &[Undo]) -> Undone {
        let now = self.records.get(&undo.key);
        let now_version = now.and_then(|r| r.stamp).map(|s| s.version);
        let written = match &undo.wrote {
            Wrote::Put(document) => document,
            Wrote::Removed => {
                let UndoTo::Image { raw, version } = &undo.to else { return Undone::AlreadyThere };
                return match now {
                    Some(_) if now_version == *version => Undone::AlreadyThere,
                    Some(_) => Undone::Blocked(format!("version {now_version:?}")),
                    None => {
                        // An edge comes back between records that are there, or come back with it; else it would have gone with its end.
                        let comes = |end: &Key| together.iter().any(|undo| undo.key == *end);
                        let missing = |end: &&Key| !self.records.contains_key(*end) && !comes(end);
                        if self.imaged(raw).ends.is_some_and(|ends| [&ends.from, &ends.to].iter().any(missing)) {
                            return Undone::AlreadyThere;
                        }
                        self.put_back(&undo.key, raw);
                        Undone::Restored
                    }
                };
            }
        };
        let own = now_version == Some(undo.version);
        match &undo.to {
            UndoTo::Absent => match now {
                None => Undone::AlreadyThere,
                Some(record) if own && record.document == *written => {
                    if self
                        .records
                        .values()
                        .any(|r| r.ends.as_ref().is_some_and(|e| e.from == undo.key || e.to == undo.key))
                    {
                        return Undone::Blocked("edges have come".into());
                    }
                    self.records.remove(&undo.key);
                    Undone::Restored
                }
                Some(_) => Undone::Blocked(format!("version {now_version:?}")),
            },
            UndoTo::Image { raw, version } => {
                if now.is_some() && now_version == *version {
                    return Undone::AlreadyThere;
                }
                if !own || now.is_none_or(|r| r.document != *written) {
                    return Undone::Blocked(format!("version {now_version:?}"));
                }
                self.put_back(&undo.key, raw);
                Undone::Restored
            }
        }
    }

    fn put_back(&mut self, key: &Key, raw: &[u8]) {
        self.records.insert(key.clone(), self.imaged(raw));
    }

    fn imaged(&self, raw: &[u8]) -> SimRecord {
        let at = u64::from_le_bytes(raw.try_into().unwrap());
        self.images.lock().unwrap()[usize::try_from(at).unwrap()].clone()
    }
}
