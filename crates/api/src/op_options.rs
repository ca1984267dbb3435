//! How an operation is sent.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// When the daemon answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ack {
    /// When the operation has ended.
    #[default]
    Committed,
    /// When it is durably logged: it will be carried out, or rolled back, whatever happens.
    Logged,
}

impl Ack {
    /// Its name in requests.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Committed => "committed",
            Self::Logged => "logged",
        }
    }
}

impl fmt::Display for Ack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Ack {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "committed" => Ok(Self::Committed),
            "logged" => Ok(Self::Logged),
            other => Err(format!("{other:?} is neither committed nor logged")),
        }
    }
}

/// The parameters of `POST /v1/ops`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OpOptions {
    /// When the daemon shall answer.
    pub ack: Ack,
    /// After this time the daemon answers with the state reached; 30 s if it is not said.
    pub timeout: Option<Duration>,
    /// Under the same key the operation runs once; sent as the header `Idempotency-Key`.
    pub idempotency_key: Option<String>,
}
