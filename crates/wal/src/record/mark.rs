//! Marks and failures: what operations went over to, and why one did not commit.

use lockstep_model::{Code, Lsn, State};
use serde::{Deserialize, Serialize};

use crate::asked::Declined;

/// A transition, one record for all operations of a batch that went through it together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The state they have from now on.
    pub state: State,
    /// When, in microseconds since 1970.
    pub at_us: u64,
    /// The operations.
    pub ops: Vec<Lsn>,
    /// Why, where the state is not one that was hoped for.
    pub failure: Option<Failure>,
}

/// Why an operation did not commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Where: `surreal`, `qdrant`, or `lockstep` for what Lockstep judged itself.
    pub store: String,
    /// What it means to the caller.
    pub code: Code,
    /// The store's words, or ours.
    pub detail: String,
}

// The wire forms. Order is the format.

#[derive(Serialize, Deserialize)]
pub(super) struct WireMark {
    state: u8,
    at_us: u64,
    ops: Vec<u64>,
    failure: Option<WireFailure>,
}

impl From<&Mark> for WireMark {
    fn from(m: &Mark) -> Self {
        Self {
            state: m.state.code(),
            at_us: m.at_us,
            ops: m.ops.iter().map(|l| l.0).collect(),
            failure: m.failure.as_ref().map(WireFailure::from),
        }
    }
}

impl WireMark {
    pub(super) fn into_mark(self) -> Result<Mark, String> {
        Ok(Mark {
            state: state_from(self.state)?,
            at_us: self.at_us,
            ops: self.ops.into_iter().map(Lsn).collect(),
            failure: self.failure.map(WireFailure::into_failure).transpose()?,
        })
    }
}

pub(super) fn state_from(code: u8) -> Result<State, String> {
    State::from_code(code).ok_or_else(|| format!("no state has the number {code}"))
}

#[derive(Serialize, Deserialize)]
pub(super) struct WireFailure {
    store: String,
    code: u8,
    detail: String,
}

impl From<&Failure> for WireFailure {
    fn from(f: &Failure) -> Self {
        Self { store: f.store.clone(), code: f.code.code(), detail: f.detail.clone() }
    }
}

impl WireFailure {
    pub(super) fn into_failure(self) -> Result<Failure, String> {
        let code = Code::from_code(self.code).ok_or_else(|| format!("no code has the number {}", self.code))?;
        Ok(Failure { store: self.store, code, detail: self.detail })
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct WireDeclined {
    op: u64,
    asked: u64,
    at_us: u64,
    failure: WireFailure,
}

impl From<&Declined> for WireDeclined {
    fn from(d: &Declined) -> Self {
        Self { op: d.op.0, asked: d.asked.0, at_us: d.at_us, failure: WireFailure::from(&d.failure) }
    }
}

impl WireDeclined {
    pub(super) fn into_declined(self) -> Result<Declined, String> {
        let failure = self.failure.into_failure()?;
        Ok(Declined { op: Lsn(self.op), asked: Lsn(self.asked), at_us: self.at_us, failure })
    }
}
