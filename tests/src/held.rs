//! What a key may hold after what was sent: the promises P1 to P4 as one function.
//!
//! Answered operations have their place in the log's order. One whose answer never came was in flight when the daemon
//! was killed: it may have been carried out after everything that had been answered before it was sent, or not at all.

use lockstep_model::{State, Version};
use serde_json::{Map, Value};

use crate::look::Observed;
use crate::witness::{End, Sent, Told, What, patch_document, put_document, vector_of};

/// So far apart may a stored value be from the written one: f32, normalised.
const TOLERANCE: f32 = 1e-4;

/// What a key holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    /// Document and vector; none if there is no such key.
    pub content: Option<Content>,
    /// Of which version it is.
    pub age: Age,
}

/// A document, and whose vector stands beside it.
#[derive(Debug, Clone, PartialEq)]
pub struct Content {
    /// The document.
    pub document: Map<String, Value>,
    /// The tag of the operation whose vector the point has; none without a point.
    pub vector: Option<u64>,
}

/// What is known of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Age {
    /// The operation that wrote it was answered.
    Exactly(Version),
    /// It was not: its version is above all that were answered before.
    Above(Version),
}

impl Age {
    const fn version(self) -> Version {
        match self {
            Self::Exactly(version) | Self::Above(version) => version,
        }
    }
}

impl Held {
    /// Nothing, as at the beginning.
    #[must_use]
    pub const fn nothing() -> Self {
        Self { content: None, age: Age::Above(Version(0)) }
    }

    /// Whether both stores show just this.
    #[must_use]
    pub fn is_shown_by(&self, seen: &Observed) -> bool {
        let (Some(content), Some(record)) = (&self.content, &seen.record) else {
            return self.content.is_none() && seen.record.is_none() && seen.point.is_none();
        };
        let right_age = match self.age {
            Age::Exactly(version) => record.version == version,
            Age::Above(version) => record.version > version,
        };
        let right_point = match (content.vector, &seen.point) {
            (None, None) => true,
            (Some(tag), Some(point)) => {
                point.version == record.version
                    && point.payload == content.document
                    && point.vector.len() == 4
                    && point.vector.iter().zip(vector_of(tag)).all(|(seen, sent)| (seen - sent).abs() < TOLERANCE)
            }
            (None, Some(_)) | (Some(_), None) => false,
        };
        right_age && right_point && record.document == content.document
    }

    /// What it is after `sent`; none if that cannot have been carried out here.
    fn after(&self, sent: &Sent, version: Option<Version>) -> Option<Self> {
        let tag = sent.tag;
        let vector = |with: bool| with.then_some(tag);
        let content = match (&sent.what, &self.content) {
            (What::Put { if_absent: true, .. }, Some(_)) | (What::Patch { .. }, None) => return None,
            (What::Put { vector: with, .. } | What::Relate { vector: with, .. }, _) => {
                Some(Content { document: put_document(tag), vector: vector(*with) })
            }
            (What::Patch { vector: with, .. }, Some(before)) => {
                let mut document = before.document.clone();
                for (name, value) in patch_document(tag) {
                    if value.is_null() {
                        document.remove(&name);
                    } else {
                        document.insert(name, value);
                    }
                }
                Some(Content { document, vector: vector(*with).or(before.vector) })
            }
            (What::Delete { .. } | What::Unrelate { .. }, _) => None,
        };
        let age = version.map_or(Age::Above(self.age.version()), Age::Exactly);
        Some(Self { content, age })
    }

    /// Whether the refusal of `sent` is true here.
    fn refuses(&self, sent: &Sent) -> bool {
        match &sent.what {
            What::Put { .. } => self.content.is_some(),
            What::Patch { .. } => self.content.is_none(),
            // The endpoints are not looked at here.
            What::Relate { .. } => true,
            What::Delete { .. } | What::Unrelate { .. } => false,
        }
    }
}

/// Everything that a key may hold that held `before`, after these operations on it.
#[must_use]
pub fn possible(before: &Held, sent: &[&Sent]) -> Vec<Held> {
    let mut ended: Vec<(&Sent, &End)> = Vec::new();
    let mut unknown: Vec<&Sent> = Vec::new();
    for &sent in sent {
        match &sent.told {
            Told::Ended(end) => ended.push((sent, end)),
            // Whoever judges has asked how the logged ones ended: what is left ended without a word.
            Told::Nothing | Told::Logged { .. } => unknown.push(sent),
            Told::NotTaken => {}
        }
    }
    ended.sort_by_key(|(_, end)| end.lsn);
    let spans: Vec<(usize, usize)> =
        unknown.iter().map(|late| (first_place(late, &ended), last_place(late, &ended))).collect();

    let mut worlds = vec![(0_u64, before.clone())];
    for place in 0..=ended.len() {
        let mut at = 0;
        while let Some((done, held)) = worlds.get(at).cloned() {
            at += 1;
            for (number, late) in unknown.iter().enumerate() {
                let bit = 1 << number;
                let here = spans.get(number).is_some_and(|(first, last)| (*first..=*last).contains(&place));
                if done & bit != 0 || !here {
                    continue;
                }
                let world = held.after(late, None).map(|held| (done | bit, held));
                worlds.extend(world.filter(|world| !worlds.contains(world)));
            }
        }
        let Some((sent, end)) = ended.get(place) else { break };
        worlds = worlds
            .into_iter()
            .filter_map(|(done, held)| {
                if end.state == State::Committed {
                    return held.after(sent, end.version).map(|held| (done, held));
                }
                held.refuses(sent).then_some((done, held))
            })
            .collect();
    }
    let mut possible: Vec<Held> = Vec::new();
    for (_, held) in worlds {
        if !possible.contains(&held) {
            possible.push(held);
        }
    }
    possible
}

/// Before how many of the ended operations, in log order, `late` can stand at the earliest.
fn first_place(late: &Sent, ended: &[(&Sent, &End)]) -> usize {
    let before = |sent: &Sent| sent.told_at.is_some_and(|told_at| told_at < late.sent_at);
    ended.iter().rposition(|(sent, _)| before(sent)).map_or(0, |place| place + 1)
}

/// Before how many of them it stands at the latest: what was sent after its connection was lost came after it.
fn last_place(late: &Sent, ended: &[(&Sent, &End)]) -> usize {
    let after = |sent: &Sent| late.told_at.is_some_and(|lost_at| lost_at < sent.sent_at);
    ended.iter().position(|(sent, _)| after(sent)).unwrap_or(ended.len())
}

#[cfg(test)]
mod tests {
    use lockstep_model::{LogId, Lsn, OpId};

    use super::*;
    use crate::look::{ObservedPoint, ObservedRecord};

    fn put(vector: bool) -> What {
        What::Put { key: "memory:1".into(), vector, if_absent: false }
    }

    fn sent(tag: u64, what: What, at: (u64, u64), told: Told) -> Sent {
        Sent { tag, what, repeatable: false, sent_at: at.0, told_at: Some(at.1), told }
    }

    fn ended(tag: u64, what: What, at: (u64, u64), state: State) -> Sent {
        let op_id = OpId::new(LogId(uuid::Uuid::nil()), Lsn(tag), tag);
        sent(tag, what, at, Told::Ended(End { op_id, lsn: Lsn(tag), version: Some(Version(tag)), state, code: None }))
    }

    fn tags(before: &Held, all: &[Sent]) -> Vec<Option<u64>> {
        let shown = |held: Held| held.content.and_then(|content| content.document.get("put")?.as_u64());
        possible(before, &all.iter().collect::<Vec<_>>()).into_iter().map(shown).collect()
    }

    #[test]
    fn the_last_in_log_order_counts_and_not_the_last_that_was_answered() {
        let all = [
            ended(2, put(true), (1, 3), State::Committed),
            ended(1, put(true), (2, 4), State::Committed),
            ended(3, What::Patch { key: "memory:9".into(), vector: false }, (5, 6), State::Committed),
        ];
        assert_eq!(tags(&Held::nothing(), all.get(..2).unwrap()), [Some(2)]);
        assert_eq!(tags(&Held::nothing(), &all), [Some(2)]);
    }

    #[test]
    fn a_patch_of_nothing_cannot_have_been_carried_out() {
        let patch = || What::Patch { key: "memory:1".into(), vector: false };
        assert_eq!(tags(&Held::nothing(), &[ended(1, patch(), (1, 2), State::Committed)]), []);
        assert_eq!(tags(&Held::nothing(), &[ended(1, patch(), (1, 2), State::RolledBack)]), [None]);
    }

    #[test]
    fn what_was_in_flight_may_be_there_or_not_but_not_before_what_was_answered_first() {
        let one = ended(1, put(true), (1, 2), State::Committed);
        let lost = sent(7, put(false), (3, 9), Told::Nothing);
        assert_eq!(tags(&Held::nothing(), &[one.clone(), lost.clone()]), [Some(1), Some(7)]);
        let concurrent = ended(2, put(true), (4, 8), State::Committed);
        assert_eq!(tags(&Held::nothing(), &[one.clone(), lost.clone(), concurrent]), [Some(2), Some(7)]);
        let later = ended(2, put(true), (10, 11), State::Committed);
        assert_eq!(tags(&Held::nothing(), &[one, lost, later]), [Some(2)]);
    }

    #[test]
    fn both_stores_must_show_the_same_version_and_content() {
        let held = possible(&Held::nothing(), &[&ended(5, put(true), (1, 2), State::Committed)]).remove(0);
        let record = ObservedRecord { version: Version(5), document: put_document(5) };
        let point = ObservedPoint { version: Version(5), vector: vector_of(5).to_vec(), payload: put_document(5) };
        let right = Observed { record: Some(record), point: Some(point) };
        assert!(held.is_shown_by(&right));
        let wrong = |change: &dyn Fn(&mut ObservedRecord, &mut ObservedPoint)| {
            let mut seen = right.clone();
            if let (Some(record), Some(point)) = (&mut seen.record, &mut seen.point) {
                change(record, point);
            }
            !held.is_shown_by(&seen)
        };
        assert!(wrong(&|record, _| record.version = Version(4)));
        assert!(wrong(&|_, point| point.version = Version(4)));
        assert!(wrong(&|_, point| point.vector = vector_of(6).to_vec()));
        assert!(wrong(&|_, point| drop(point.payload.remove("put"))));
        assert!(wrong(&|record, _| drop(record.document.remove("put"))));
        assert!(!held.is_shown_by(&Observed { point: None, ..right.clone() }));
        assert!(!held.is_shown_by(&Observed::default()));
    }
}
