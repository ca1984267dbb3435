//! What the runs came through: every transition of the model, every class of failure, every decision of recovery, and whatever
//! else they are for. A run of many seeds that misses one of these proves less than it says, and fails.

use std::collections::BTreeMap;
use std::fmt;

use lockstep_engine::OpView;
use lockstep_model::{ActionKind, Event, State, transition};
use lockstep_stores::{Class, Scope};
use lockstep_wal::Decision;

/// How often each was reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Coverage(BTreeMap<String, u64>);

/// What can come of a run besides.
const HAPPENS: [&str; 32] = [
    "a batch prepared while another was written",
    "a late transaction in surreal",
    "a late undo in surreal",
    "a late checkpoint in surreal",
    "a late upsert in qdrant",
    "a late delete in qdrant",
    "a late restore in qdrant",
    "a late collection in qdrant",
    "a repeated idempotency key",
    "a repeated idempotency key with another body",
    "an idempotency key repeated in another life",
    "a full disk refused",
    "ended while the disk was full",
    "a clock that jumped ahead",
    "a clock that jumped back",
    "a store paused",
    "a table paused",
    "verified on request",
    "a lost connection",
    "documents restored to an older copy",
    "points restored to an older copy",
    "written by somebody else",
    "removed by somebody else",
    "taken over by another log",
    "content compared where not everything is foretold",
    "a batch of points applied in part",
    "a point written by somebody else",
    "a point removed by somebody else",
    "a rotten record refused at a start",
    "a record that rotted stopped the engine",
    "killed while it recovered",
    GIVEN_UP,
];

const GIVEN_UP: &str = "attempts used up";

impl Coverage {
    pub(crate) fn reach(&mut self, what: impl Into<String>) {
        *self.0.entry(what.into()).or_default() += 1;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (what, count) in &other.0 {
            *self.0.entry(what.clone()).or_default() += count;
        }
    }

    /// A store failed so.
    pub(crate) fn failed(&mut self, store: &str, class: Class) {
        self.reach(failure(store, class));
    }

    /// Recovery decided so.
    pub(crate) fn decided(&mut self, decision: Decision) {
        self.reach(recovery(decision));
    }

    /// Takes in the way that an operation has gone.
    pub(crate) fn history(&mut self, view: &OpView) {
        let detail = view.summary.failure.as_ref().map_or("", |failure| failure.detail.as_str());
        if detail.starts_with("given up after") {
            self.reach(GIVEN_UP);
        }
        for pair in view.summary.history.windows(2) {
            let (from, to) = (pair[0].0, pair[1].0);
            let leads = |event: &Event| transition(from, *event) == Ok(to);
            let mut events: Vec<Event> = Event::ALL.into_iter().filter(leads).collect();
            if (from, to) == (State::Parked, State::Discarded) {
                let retried = detail.starts_with("logged again");
                events.retain(|event| (*event == Event::Retried) == retried);
            }
            for event in events {
                self.reach(step(from, event));
            }
        }
        if view.state() == State::Committed {
            self.reach(committed(view.summary.kind));
        }
    }

    /// What has to be reached, and was not.
    pub(crate) fn missing(&self) -> Vec<String> {
        required().into_iter().filter(|what| !self.0.contains_key(what)).collect()
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(what, count)| writeln!(f, "{count:>10}  {what}"))
    }
}

fn step(from: State, event: Event) -> String {
    format!("{from} --{event}-->")
}

fn failure(store: &str, class: Class) -> String {
    let class = match class {
        Class::Refused => "refused",
        Class::Exists => "exists",
        Class::NotApplied => "not applied",
        Class::Configuration(Scope::Table) => "configuration of a table",
        Class::Configuration(Scope::Store) => "configuration of the store",
        Class::Unknown => "unknown",
        Class::Fenced => "fenced",
    };
    format!("{store}: {class}")
}

fn recovery(decision: Decision) -> String {
    format!("recovery: {}", decision.as_str())
}

fn committed(kind: ActionKind) -> String {
    format!("{kind} committed")
}

fn required() -> Vec<String> {
    let steps = State::ALL.into_iter().flat_map(|state| Event::ALL.into_iter().map(move |event| (state, event)));
    let legal = steps.filter(|(state, event)| transition(*state, *event).is_ok());
    let classes = |store: &'static str| {
        [
            Class::Refused,
            Class::NotApplied,
            Class::Configuration(Scope::Table),
            Class::Configuration(Scope::Store),
            Class::Unknown,
        ]
        .map(|class| failure(store, class))
    };
    let decisions =
        [Decision::Redo, Decision::Undo, Decision::Verify, Decision::Overtaken, Decision::LeaveParked, Decision::Ended];
    let mut all: Vec<String> = legal.map(|(state, event)| step(state, event)).collect();
    all.extend(classes("surreal"));
    // Points are written over whatever is there, and are nobody's: neither exists in Qdrant.
    all.extend([failure("surreal", Class::Exists), failure("surreal", Class::Fenced)]);
    all.extend(classes("qdrant"));
    all.extend(decisions.map(recovery));
    all.extend(ActionKind::ALL.map(committed));
    all.extend(HAPPENS.map(str::to_owned));
    all
}

/// A list that forgets a kind of thing would be full too early.
#[test]
fn what_is_required_is_all_there_is() {
    assert_eq!(required().len(), 12 + 7 + 5 + 6 + 7 + HAPPENS.len());
    assert_eq!(Coverage::default().missing().len(), required().len());
    let mut all = Coverage::default();
    required().into_iter().for_each(|what| all.reach(what));
    assert!(all.missing().is_empty());
}
