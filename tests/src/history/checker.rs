//! Whether any order explains what happened to one key.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Map, Value};

use crate::look::Observed;
use crate::witness::{patch_document, put_document, vector_of};

/// So far apart may a stored value be from the written one: f32, normalised.
const TOLERANCE: f32 = 1e-4;

/// What a key holds: whose put, whose patches since, and whose vector. The content follows from the tags.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Held {
    /// The tag of the put or relate, then those of the patches.
    pub tags: Vec<u64>,
    /// Whose vector the point has; none without a point.
    pub vector: Option<u64>,
}

impl Held {
    /// The document.
    #[must_use]
    pub fn document(&self) -> Map<String, Value> {
        let mut tags = self.tags.iter();
        let mut document = tags.next().map(|&tag| put_document(tag)).unwrap_or_default();
        for &tag in tags {
            for (name, value) in patch_document(tag) {
                if value.is_null() {
                    document.remove(&name);
                } else {
                    document.insert(name, value);
                }
            }
        }
        document
    }
}

/// What a call does to its key, or says of it.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// It writes the whole document.
    Put {
        /// With a vector.
        vector: bool,
        /// Only if there was nothing.
        if_absent: bool,
    },
    /// It patches what is there.
    Patch {
        /// With a vector.
        vector: bool,
    },
    /// Nothing is there afterwards.
    Remove,
    /// What was there before it was asked for is not there afterwards; what came since may be.
    Sweep,
    /// It was refused because something was there.
    WasThere,
    /// It was refused because nothing was there.
    WasNotThere,
    /// Somebody read the record.
    Read(Option<Map<String, Value>>),
    /// Both stores were read while nothing was open.
    Shown(Observed),
}

/// One call on one key.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// What its content is made of.
    pub tag: u64,
    /// The moment before it was sent.
    pub from: u64,
    /// The moment by which it had taken effect, if it ever did.
    pub to: u64,
    /// Whether it certainly did.
    pub certain: bool,
    /// What it does.
    pub effect: Effect,
}

/// No order explains the calls: as many of them as some order explains.
#[derive(Debug, Clone, PartialEq)]
pub struct Inexplicable {
    /// In that order.
    pub explained: Vec<Call>,
    /// What the key held then.
    pub held: Option<Held>,
    /// What could have come next, and cannot.
    pub stuck: Vec<Call>,
}

/// Which calls have taken effect, and what the key holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    done: Vec<u64>,
    held: Option<Held>,
}

impl World {
    fn has(&self, at: usize) -> bool {
        self.done.get(at / 64).is_some_and(|word| word & (1 << (at % 64)) != 0)
    }

    fn with(&self, at: usize, held: Option<Held>) -> Self {
        let mut done = self.done.clone();
        if let Some(word) = done.get_mut(at / 64) {
            *word |= 1 << (at % 64);
        }
        Self { done, held }
    }
}

/// Looks for an order in which every certain call takes effect between its two moments, and each of the others does or never does.
/// Returns what the key holds at its end. `told` says by which moment the writer with a tag had certainly written.
///
/// # Errors
/// If there is none.
pub fn explain(
    before: Option<&Held>,
    calls: &[Call],
    told: &BTreeMap<u64, u64>,
) -> Result<Option<Held>, Box<Inexplicable>> {
    // What was answered first is tried first: the last that is put down is the first that is taken up.
    let mut calls: Vec<&Call> = calls.iter().collect();
    calls.sort_by_key(|call| std::cmp::Reverse((call.to, call.from)));
    let first = World { done: vec![0; calls.len().div_ceil(64)], held: before.cloned() };
    let mut known = HashSet::from([first.clone()]);
    let mut paths: Vec<(World, Vec<usize>)> = vec![(first, Vec::new())];
    let mut farthest: (usize, Option<(World, Vec<usize>)>) = (0, None);
    while let Some((world, path)) = paths.pop() {
        let open = || calls.iter().enumerate().filter(|(at, _)| !world.has(*at));
        let Some(bound) = open().filter(|(_, call)| call.certain).map(|(_, call)| call.to).min() else {
            return Ok(world.held);
        };
        // Whoever was sent after another was answered comes after it.
        let next = open().filter(|(_, call)| call.from <= bound);
        for (at, call) in next {
            for held in after(world.held.as_ref(), call, told) {
                let next = world.with(at, held);
                if known.insert(next.clone()) {
                    let mut path = path.clone();
                    path.push(at);
                    paths.push((next, path));
                }
            }
        }
        if farthest.1.is_none() || path.len() > farthest.0 {
            farthest = (path.len(), Some((world, path)));
        }
    }
    let (world, path) = farthest.1.unwrap_or_else(|| (World { done: Vec::new(), held: None }, Vec::new()));
    let open = || calls.iter().enumerate().filter(|(at, _)| !world.has(*at)).map(|(_, call)| *call);
    let bound = open().filter(|call| call.certain).map(|call| call.to).min().unwrap_or(0);
    Err(Box::new(Inexplicable {
        explained: path.iter().filter_map(|at| calls.get(*at).copied().cloned()).collect(),
        stuck: open().filter(|call| call.from <= bound).cloned().collect(),
        held: world.held,
    }))
}

/// What the key may hold after the call, if the call can have taken effect here.
fn after(held: Option<&Held>, call: &Call, told: &BTreeMap<u64, u64>) -> Vec<Option<Held>> {
    let stays = || held.cloned();
    match (&call.effect, held) {
        (Effect::Put { if_absent: true, .. } | Effect::WasNotThere, Some(_))
        | (Effect::Patch { .. } | Effect::WasThere, None) => Vec::new(),
        (Effect::Put { vector, .. }, _) => {
            vec![Some(Held { tags: vec![call.tag], vector: vector.then_some(call.tag) })]
        }
        (Effect::Patch { vector }, Some(before)) => {
            let mut tags = before.tags.clone();
            tags.push(call.tag);
            vec![Some(Held { tags, vector: if *vector { Some(call.tag) } else { before.vector } })]
        }
        (Effect::Remove, _) => vec![None],
        (Effect::Sweep, None) => vec![None],
        (Effect::Sweep, Some(there)) => {
            let writer = there.tags.last().and_then(|tag| told.get(tag));
            if writer.is_some_and(|told| *told < call.from) { vec![None] } else { vec![None, stays()] }
        }
        (Effect::WasThere, Some(_)) | (Effect::WasNotThere, None) => vec![stays()],
        (Effect::Read(seen), _) if *seen == held.map(Held::document) => vec![stays()],
        (Effect::Shown(seen), _) if is_shown(held, seen) => vec![stays()],
        (Effect::Read(_) | Effect::Shown(_), _) => Vec::new(),
    }
}

/// Both stores show the same, and just this: both or neither (P2).
fn is_shown(held: Option<&Held>, seen: &Observed) -> bool {
    match (held, &seen.record, &seen.point) {
        (None, None, None) => true,
        (Some(held), Some(record), None) => held.vector.is_none() && record.document == held.document(),
        (Some(held), Some(record), Some(point)) => {
            record.document == held.document()
                && record.version == point.version
                && point.payload == record.document
                && held.vector.is_some_and(|tag| is_vector_of(tag, &point.vector))
        }
        (None | Some(_), _, _) => false,
    }
}

fn is_vector_of(tag: u64, vector: &[f32]) -> bool {
    let sent = vector_of(tag);
    vector.len() == sent.len() && vector.iter().zip(sent).all(|(seen, sent)| (seen - sent).abs() < TOLERANCE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(tag: u64, from: u64, to: u64, effect: Effect) -> Call {
        Call { tag, from, to, certain: true, effect }
    }

    fn put(tag: u64, from: u64, to: u64) -> Call {
        call(tag, from, to, Effect::Put { vector: true, if_absent: false })
    }

    fn read(of: Option<&[u64]>, from: u64, to: u64) -> Call {
        let held = of.map(|tags| Held { tags: tags.to_vec(), vector: None });
        call(0, from, to, Effect::Read(held.map(|held| held.document())))
    }

    fn is_explained(calls: &[Call]) -> bool {
        let told = calls.iter().filter(|call| call.certain).map(|call| (call.tag, call.to)).collect();
        explain(None, calls, &told).is_ok()
    }

    #[test]
    fn what_overlaps_may_come_in_either_order() {
        for seen in [1, 2] {
            assert!(is_explained(&[put(1, 1, 4), put(2, 2, 3), read(Some(&[seen]), 5, 6)]));
        }
    }

    #[test]
    fn a_stale_read_is_not_explained() {
        assert!(!is_explained(&[put(1, 1, 2), put(2, 3, 4), read(Some(&[1]), 5, 6)]));
        assert!(!is_explained(&[put(1, 1, 2), read(None, 3, 4)]));
        // Two reads one after the other see the two puts the wrong way round.
        let both =
            [put(1, 1, 10), put(2, 1, 10), read(Some(&[1]), 2, 3), read(Some(&[2]), 4, 5), read(Some(&[1]), 6, 7)];
        assert!(!is_explained(&both));
        assert!(is_explained(both.get(..4).unwrap()));
    }

    #[test]
    fn what_got_no_answer_may_be_there_or_not_but_not_come_and_go() {
        let lost = Call { certain: false, ..put(2, 3, 9) };
        let base = [put(1, 1, 2), lost];
        for seen in [1, 2] {
            let mut calls = base.to_vec();
            calls.push(read(Some(&[seen]), 10, 11));
            assert!(is_explained(&calls), "{seen}");
        }
        let mut calls = base.to_vec();
        calls.extend([read(Some(&[2]), 4, 5), read(Some(&[1]), 6, 7)]);
        assert!(!is_explained(&calls), "it was there, and a later read does not see it");
    }

    #[test]
    fn a_repeated_operation_that_takes_effect_twice_is_not_explained() {
        assert!(!is_explained(&[put(1, 1, 2), put(2, 3, 4), read(Some(&[2]), 5, 6), read(Some(&[1]), 7, 8)]));
    }

    #[test]
    fn refusals_say_what_was_there() {
        let absent = call(2, 3, 4, Effect::Put { vector: false, if_absent: true });
        assert!(!is_explained(&[put(1, 1, 2), absent.clone()]));
        assert!(is_explained(&[put(1, 1, 5), absent]));
        assert!(is_explained(&[put(1, 1, 2), call(2, 3, 4, Effect::WasThere)]));
        assert!(!is_explained(&[put(1, 1, 2), call(2, 3, 4, Effect::WasNotThere)]));
        assert!(!is_explained(&[call(2, 3, 4, Effect::Patch { vector: false })]));
        let patched = [put(1, 1, 2), call(2, 3, 4, Effect::Patch { vector: true }), read(Some(&[1, 2]), 5, 6)];
        assert!(is_explained(&patched));
        assert_eq!(explain(None, &patched, &BTreeMap::new()).unwrap().unwrap().vector, Some(2));
    }

    #[test]
    fn a_clear_takes_what_was_there_before_and_may_leave_what_came_since() {
        let sweep = call(9, 3, 8, Effect::Sweep);
        assert!(!is_explained(&[put(1, 1, 2), sweep.clone(), read(Some(&[1]), 9, 10)]));
        for seen in [Some(&[2_u64][..]), None] {
            assert!(is_explained(&[put(1, 1, 2), sweep.clone(), put(2, 4, 5), read(seen, 9, 10)]));
        }
    }

    #[test]
    fn many_calls_are_no_trouble() {
        let mut calls = Vec::new();
        for n in 0..300_u64 {
            calls.push(put(n + 1, n * 10, n * 10 + 35));
        }
        calls.push(read(Some(&[300]), 4000, 4001));
        assert!(is_explained(&calls));
        calls.push(read(Some(&[7]), 4002, 4003));
        let wrong = explain(None, &calls, &BTreeMap::new()).unwrap_err();
        assert!(wrong.explained.len() >= 300, "{}", wrong.explained.len());
    }
}
