//! Everything that happened between two moments at which nothing was open, and its judgement.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, ensure};
use lockstep_model::{Key, OpId, State};
use serde_json::{Map, Value};
use tokio::sync::watch;

use super::change::{Change, Keys};
use super::checker::{Call, Effect, Held, Inexplicable, explain};
use crate::campaign::Broken;
use crate::look::Observed;

/// More unanswered operations on several keys than this are not told apart in every combination.
const MOST_UNANSWERED: usize = 16;

/// What a client was told.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    /// Nothing yet, or nothing at all.
    Nothing,
    /// It was not taken.
    NotTaken,
    /// It is in the log.
    Logged(OpId),
    /// It has ended.
    Ended(OpId, State, Option<String>),
}

/// An operation of a client.
#[derive(Debug, Clone)]
pub struct Asked {
    /// What its content is made of.
    pub tag: u64,
    /// What it does.
    pub change: Change,
    /// It went out under an idempotency key.
    pub repeatable: bool,
    /// The moment before it was sent.
    pub from: u64,
    /// The moment after its end was told.
    pub to: Option<u64>,
    /// What was told.
    pub told: Told,
}

/// A read of a record.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Of what.
    pub key: Key,
    /// The moment before it was asked for.
    pub from: u64,
    /// The moment after the answer came.
    pub to: u64,
    /// The answer.
    pub document: Option<Map<String, Value>>,
}

/// What clients note down. Moments are counted: one that is lower was earlier.
#[derive(Debug)]
pub struct Notes {
    moments: AtomicU64,
    tags: AtomicU64,
    asked: Mutex<Vec<Asked>>,
    seen: Mutex<Vec<Seen>>,
    faults: Mutex<Vec<String>>,
    answers: watch::Sender<u64>,
}

impl Default for Notes {
    fn default() -> Self {
        Self {
            moments: AtomicU64::default(),
            tags: AtomicU64::default(),
            asked: Mutex::default(),
            seen: Mutex::default(),
            faults: Mutex::default(),
            answers: watch::Sender::new(0),
        }
    }
}

fn lock<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Notes {
    /// Now.
    pub fn moment(&self) -> u64 {
        self.moments.fetch_add(1, Ordering::SeqCst)
    }

    /// An operation goes out. Returns its number here, and its tag.
    pub fn asks(&self, change: &Change, repeatable: bool) -> (usize, u64) {
        let tag = self.tags.fetch_add(1, Ordering::SeqCst) + 1;
        let from = self.moment();
        let mut asked = lock(&self.asked);
        asked.push(Asked { tag, change: change.clone(), repeatable, from, to: None, told: Told::Nothing });
        (asked.len() - 1, tag)
    }

    /// An answer came.
    pub fn hears(&self, number: usize, told: Told) {
        let now = self.moment();
        if let Some(asked) = lock(&self.asked).get_mut(number) {
            if matches!(told, Told::Ended(..)) {
                asked.to = Some(now);
            }
            asked.told = told;
        }
        self.answers.send_modify(|answers| *answers += 1);
    }

    /// A record was read.
    pub fn sees(&self, seen: Seen) {
        lock(&self.seen).push(seen);
    }

    /// An answer came that must not come.
    pub fn accuses(&self, fault: String) {
        lock(&self.faults).push(fault);
    }

    /// The first answer that must not have come.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        lock(&self.faults).first().cloned()
    }

    /// How many answers have come.
    #[must_use]
    pub fn answers(&self) -> watch::Receiver<u64> {
        self.answers.subscribe()
    }

    /// What was asked so far.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        lock(&self.asked).clone()
    }

    /// What was read since the last time. A new window begins.
    pub fn close(&self) -> (Vec<Asked>, Vec<Seen>) {
        (std::mem::take(&mut *lock(&self.asked)), std::mem::take(&mut *lock(&self.seen)))
    }
}

type Explained = Result<Option<Held>, Box<Inexplicable>>;

/// What each key holds.
pub type World = BTreeMap<Key, Option<Held>>;

/// Judges a window that began with `before` and ended, at the moment `end`, with the stores as `stores` has them. Returns what
/// each key holds then.
///
/// # Errors
/// [`Broken`] if no order explains it, or the stores differ.
pub fn judge(
    keys: &Keys,
    before: &World,
    (asked, seen): &(Vec<Asked>, Vec<Seen>),
    stores: &BTreeMap<Key, Observed>,
    end: u64,
) -> Result<World> {
    ensure!(keys.all().iter().all(|key| stores.contains_key(key)), "not every key was read");
    let told: BTreeMap<u64, u64> = asked.iter().filter_map(|asked| Some((asked.tag, asked.to?))).collect();
    let calls = calls_by_key(keys, asked, seen, stores, end);
    // What got no answer and concerns several keys happened to all of them or to none.
    let open: Vec<usize> =
        asked.iter().enumerate().filter(|(_, asked)| is_open_group(keys, asked)).map(|(n, _)| n).collect();
    if open.len() > MOST_UNANSWERED {
        anyhow::bail!("{} unanswered operations on several keys: too many to judge", open.len());
    }
    let mut known: HashMap<(Key, Vec<usize>), Explained> = HashMap::new();
    let mut worst = None;
    'choices: for choice in 0..1_u64 << open.len() {
        let mut world = World::new();
        for key in keys.all() {
            let held = before.get(&key).cloned().flatten();
            let Some(all) = calls.get(&key) else {
                world.insert(key, held);
                continue;
            };
            let carried_out: Vec<usize> = (open.iter().enumerate())
                .filter(|(bit, number)| choice & (1 << bit) != 0 && all.iter().any(|(of, _)| of == &Some(**number)))
                .map(|(_, number)| *number)
                .collect();
            let answer = known.entry((key.clone(), carried_out.clone())).or_insert_with(|| {
                let calls: Vec<Call> =
                    all.iter().filter_map(|(of, call)| chosen(call, *of, &open, &carried_out)).collect();
                explain(held.as_ref(), &calls, &told)
            });
            match answer {
                Ok(held) => drop(world.insert(key, held.clone())),
                Err(why) => {
                    worst = Some((key, held, why.clone()));
                    continue 'choices;
                }
            }
        }
        no_edge_dangles(keys, &world)?;
        return Ok(world);
    }
    let (key, held, why) = worst.context("nothing was judged")?;
    Err(Broken(format!(
        "no order explains what happened to {key}, which held {held:?}; this much can be explained:\n  {}\nthen it holds {:?}, and none of these can come next:\n  {}",
        lines(&why.explained),
        why.held,
        lines(&why.stuck)
    ))
    .into())
}

fn lines(calls: &[Call]) -> String {
    calls.iter().map(|call| format!("{call:?}")).collect::<Vec<_>>().join("\n  ")
}

/// A group that got no answer is there with all its members, or not at all.
fn chosen(call: &Call, of: Option<usize>, open: &[usize], carried_out: &[usize]) -> Option<Call> {
    match of {
        Some(number) if open.contains(&number) => {
            carried_out.contains(&number).then(|| Call { certain: true, ..call.clone() })
        }
        _ => Some(call.clone()),
    }
}

fn is_open_group(keys: &Keys, asked: &Asked) -> bool {
    let several = asked.change != Change::Clear && keys.effects(&asked.change).len() > 1;
    several && !matches!(asked.told, Told::NotTaken | Told::Ended(..))
}

/// The calls on each key, each with the number of its operation; reads have none.
fn calls_by_key(
    keys: &Keys,
    asked: &[Asked],
    seen: &[Seen],
    stores: &BTreeMap<Key, Observed>,
    end: u64,
) -> BTreeMap<Key, Vec<(Option<usize>, Call)>> {
    let mut all: BTreeMap<Key, Vec<(Option<usize>, Call)>> = BTreeMap::new();
    for (number, asked) in asked.iter().enumerate() {
        let effects = match &asked.told {
            Told::NotTaken => Vec::new(),
            Told::Ended(_, State::Committed, _) | Told::Nothing | Told::Logged(_) => keys.effects(&asked.change),
            Told::Ended(..) => asked.change.refused().into_iter().collect(),
        };
        let certain = matches!(asked.told, Told::Ended(..));
        for (key, effect) in effects {
            let call = Call { tag: asked.tag, from: asked.from, to: asked.to.unwrap_or(end), certain, effect };
            all.entry(key).or_default().push((Some(number), call));
        }
    }
    for seen in seen {
        let call =
            Call { tag: 0, from: seen.from, to: seen.to, certain: true, effect: Effect::Read(seen.document.clone()) };
        all.entry(seen.key.clone()).or_default().push((None, call));
    }
    // What the stores hold in the end comes after everything.
    for (key, observed) in stores {
        let effect = Effect::Shown(observed.clone());
        let call = Call { tag: 0, from: end + 1, to: end + 2, certain: true, effect };
        all.entry(key.clone()).or_default().push((None, call));
    }
    all
}

fn no_edge_dangles(keys: &Keys, world: &World) -> Result<()> {
    let there = |key: &Key| world.get(key).is_some_and(Option::is_some);
    for (edge, from, to) in keys.edges() {
        if there(edge) && !(there(from) && there(to)) {
            return Err(Broken(format!("the edge {edge} leads from {from} to {to}, and one of them is gone")).into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use lockstep_model::{LogId, Lsn, Version};

    use super::*;
    use crate::look::{ObservedPoint, ObservedRecord};
    use crate::witness::vector_of;

    fn observed(held: Option<&Held>) -> Observed {
        let Some(held) = held else { return Observed::default() };
        let record = ObservedRecord { version: Version(1), document: held.document() };
        let point = held.vector.map(|tag| ObservedPoint {
            version: Version(1),
            vector: vector_of(tag).to_vec(),
            payload: held.document(),
        });
        Observed { record: Some(record), point }
    }

    fn put(key: &Key) -> Change {
        Change::Put { key: key.clone(), vector: true, if_absent: false }
    }

    struct Case {
        keys: Keys,
        notes: Notes,
        stores: BTreeMap<Key, Observed>,
    }

    impl Case {
        fn new() -> Self {
            let keys = Keys::new(3, 2).unwrap();
            let stores = keys.all().into_iter().map(|key| (key, Observed::default())).collect();
            Self { keys, notes: Notes::default(), stores }
        }

        fn asks(&self, change: &Change, committed: bool) -> u64 {
            let (number, tag) = self.notes.asks(change, false);
            if committed {
                let op_id = OpId::new(LogId(uuid::Uuid::nil()), Lsn(tag), tag);
                self.notes.hears(number, Told::Ended(op_id, State::Committed, None));
            }
            tag
        }

        fn shows(&mut self, key: &Key, tag: u64) {
            self.stores.insert(key.clone(), observed(Some(&Held { tags: vec![tag], vector: Some(tag) })));
        }

        fn is_right(&self) -> bool {
            let end = self.notes.moment();
            judge(&self.keys, &World::new(), &self.notes.close(), &self.stores, end).is_ok()
        }
    }

    #[test]
    fn an_unanswered_group_is_there_whole_or_not_at_all() {
        for (shown, right) in [(vec![0, 1], true), (vec![], true), (vec![0], false), (vec![1], false)] {
            let mut case = Case::new();
            let keys = case.keys.all();
            let (one, other) = (keys.first().unwrap().clone(), keys.get(3).unwrap().clone());
            let tag = case.asks(&Change::Group(vec![put(&one), put(&other)]), false);
            for place in &shown {
                case.shows(if *place == 0 { &one } else { &other }, tag);
            }
            assert_eq!(case.is_right(), right, "{shown:?}");
        }
    }

    #[test]
    fn both_stores_must_show_it() {
        let wrong = |change: &dyn Fn(&mut Observed)| {
            let mut case = Case::new();
            let key = case.keys.all().remove(0);
            let tag = case.asks(&put(&key), true);
            case.shows(&key, tag);
            change(case.stores.get_mut(&key).unwrap());
            !case.is_right()
        };
        assert!(!wrong(&|_| {}));
        assert!(wrong(&|seen| seen.point = None));
        assert!(wrong(&|seen| seen.record = None));
        assert!(wrong(&|seen| *seen = Observed::default()), "a committed put is lost");
        assert!(wrong(&|seen| seen.point.as_mut().unwrap().version = Version(2)));
        assert!(wrong(&|seen| seen.point.as_mut().unwrap().vector = vector_of(77).to_vec()));
    }

    #[test]
    fn a_delete_takes_its_edges_along() {
        let mut case = Case::new();
        let (edge, from, to) = case.keys.edges().first().unwrap().clone();
        let (a, b) = (case.asks(&put(&from), true), case.asks(&put(&to), true));
        let relate = Change::Relate { edge: edge.clone(), from: from.clone(), to: to.clone(), vector: true };
        let tag = case.asks(&relate, true);
        case.shows(&from, a);
        case.shows(&to, b);
        case.shows(&edge, tag);
        let (asked, seen) = case.notes.close();
        let end = case.notes.moment();
        let world = judge(&case.keys, &World::new(), &(asked, seen), &case.stores, end).unwrap();
        case.asks(&Change::Delete { key: to.clone() }, true);
        case.stores.insert(to, Observed::default());
        let window = case.notes.close();
        let end = case.notes.moment();
        assert!(judge(&case.keys, &world, &window, &case.stores, end).is_err(), "the edge is still there");
        case.stores.insert(edge, Observed::default());
        assert!(judge(&case.keys, &world, &window, &case.stores, end).is_ok());
    }
}
