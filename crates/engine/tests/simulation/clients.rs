//! Clients: what they asked for, and what they were promised.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use lockstep_engine::{Decision, Ending};
use lockstep_model::{Key, Lsn, Operation, Version};

/// One operation as its client saw it.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) op: Operation,
    /// It was acknowledged as logged.
    pub(crate) logged: bool,
    /// How it ended, if the client heard.
    pub(crate) ending: Option<Ending>,
    /// What an operator decided of it, as far as was asked.
    pub(crate) decided: Vec<Decision>,
    /// In which life of the machine it was asked for.
    pub(crate) life: u64,
}

/// Everything that clients asked for, by place and version: a place that was lost in a crash is given again.
pub(crate) type History = Arc<Mutex<BTreeMap<(Lsn, Version), Asked>>>;

pub(crate) fn key(text: &str) -> Key {
    text.parse().unwrap()
}

/// What clients ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// What the log orders fully: every answer can be foretold.
    Ordered,
    /// Also edges by their key alone, which stand in no lane of their endpoints: only what is structural must hold.
    Anything,
}

/// The table whose refused operations are parked for an operator.
pub(crate) const PARKS: &str = "p";
