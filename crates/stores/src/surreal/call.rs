//! One call: a text, its parameters, one answer a statement.
//!
//! A RETURN at the top of a transaction ends it: what follows is skipped without an error, and COMMIT is done. So the
//! texts here never use one; an expression by itself is a statement, too, and answers.

use surrealdb::types as db;

use crate::surreal::class::{Signal, Stage, classify, is_echo, signal_of};
use crate::surreal::link::{Broken, Link, Results};
use crate::{Class, StoreError};

/// Parameters by name.
#[derive(Debug, Default, Clone)]
pub(super) struct Params(db::Object);

impl Params {
    /// Adds one.
    pub(super) fn bind(&mut self, name: &str, value: impl db::SurrealValue) {
        self.0.insert(name, value);
    }

    /// Adds one that is a list.
    pub(super) fn bind_list(&mut self, name: &str, values: Vec<db::Value>) {
        self.0.insert(name, db::Value::Array(values.into()));
    }
}

/// The answers of a call, by statement.
#[derive(Debug)]
pub(super) struct Answers(Vec<db::Value>);

impl Answers {
    /// Takes the answer of the statement at `place`.
    pub(super) fn take(&mut self, place: usize) -> db::Value {
        self.0.get_mut(place).map(std::mem::take).unwrap_or_default()
    }

    /// Takes the answer at `place` as rows.
    pub(super) fn rows(&mut self, place: usize) -> Vec<db::Object> {
        let answer = self.take(place);
        if let db::Value::Object(object) = answer {
            return vec![object];
        }
        into_array(answer).into_iter().filter_map(into_object).collect()
    }

    /// Takes the last answer but `back`; a transaction's very last is that of COMMIT.
    pub(super) fn take_from_end(&mut self, back: usize) -> db::Value {
        match self.0.len().checked_sub(back + 1) {
            Some(place) => self.take(place),
            None => db::Value::None,
        }
    }
}

/// The object in a value.
pub(super) fn into_object(value: db::Value) -> Option<db::Object> {
    if let db::Value::Object(object) = value { Some(object) } else { None }
}

/// The items of an array; none of anything else.
pub(super) fn into_array(value: db::Value) -> Vec<db::Value> {
    if let db::Value::Array(items) = value { items.into_vec() } else { Vec::new() }
}

/// What a text does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It only reads, or defines what may be defined again.
    Read,
    /// It is one transaction that ends in COMMIT.
    Transaction,
}

/// A call that failed.
#[derive(Debug)]
pub(super) struct Failed {
    /// For the caller.
    pub(super) error: StoreError,
    /// What one of our own THROWs says.
    pub(super) signal: Option<Signal>,
    /// The store does not let this session do it.
    pub(super) denied: bool,
}

impl Failed {
    /// A failure that is nothing but its error.
    pub(super) const fn plain(error: StoreError) -> Self {
        Self { error, signal: None, denied: false }
    }
}

impl From<Failed> for StoreError {
    fn from(failed: Failed) -> Self {
        failed.error
    }
}

/// Runs a text. If a statement failed, all errors are looked at: the first that is more than the echo of
/// another is the cause. A link on which a call was lost, or a write has an unknown outcome, is given up, also if the
/// caller stops waiting.
pub(super) async fn run(link: &Link, text: &str, params: Params, kind: Kind) -> Result<Answers, Failed> {
    let mut waiting = Waiting { link, writes: kind == Kind::Transaction };
    let sent = link.query(text, params.0).await;
    waiting.writes = false;
    let outcome = match sent {
        Ok(results) => digest(results, kind),
        Err(broken) => {
            if matches!(broken, Broken::Lost(_)) {
                link.give_up();
            }
            Err(failed(broken, kind))
        }
    };
    match &outcome {
        Ok(_) => link.prove(),
        Err(failed) if failed.error.class == Class::Unknown => link.give_up(),
        // The session may have run out: the next call signs in anew.
        Err(failed) if failed.denied && link.is_served() => link.give_up(),
        Err(_) => {}
    }
    outcome
}

/// Gives the link up if the caller goes away while a write is under way: nobody would know what became of it.
struct Waiting<'a> {
    link: &'a Link,
    writes: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.writes {
            self.link.give_up();
        }
    }
}

fn failed(broken: Broken, kind: Kind) -> Failed {
    let plain = |class, words: String| Failed::plain(StoreError::new(super::STORE, class, words));
    match broken {
        Broken::NotSent(words) => plain(Class::NotApplied, words),
        Broken::TooLarge(words) => plain(Class::Refused, words),
        // What only reads has no effect to wonder about.
        Broken::Lost(words) => plain(if kind == Kind::Read { Class::NotApplied } else { Class::Unknown }, words),
        Broken::Answered(error) => of_error(
            &error,
            match kind {
                Kind::Read => Stage::RolledBack,
                Kind::Transaction => Stage::Whole,
            },
        ),
    }
}

fn of_error(error: &surrealdb::Error, stage: Stage) -> Failed {
    let denied = error.is_not_allowed();
    Failed { error: classify(error, stage), signal: signal_of(error), denied }
}

fn digest(results: Results, kind: Kind) -> Result<Answers, Failed> {
    let count = results.len();
    let errors = || results.iter().enumerate().filter_map(|(place, result)| Some((place, result.as_ref().err()?)));
    let cause = errors().find(|(_, error)| !is_echo(error)).or_else(|| errors().last());
    if let Some((place, error)) = cause {
        let stage = match kind {
            Kind::Transaction if place + 1 >= count => Stage::Committing,
            Kind::Transaction | Kind::Read => Stage::RolledBack,
        };
        return Err(of_error(error, stage));
    }
    Ok(Answers(results.into_iter().filter_map(Result::ok).collect()))
}
