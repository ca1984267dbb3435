//! Operations, as the commands that write send them.

use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use lockstep_api::{Ack, Answer, OpAnswer, OpOptions};
use lockstep_model::State;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::failure::Failure;
use crate::json_argument::{read_json, read_vector};
use crate::session::Session;

/// The body of one operation. What is not said is left out.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Operation {
    pub(crate) op: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) edge: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) to: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) table: Option<String>,
    #[serde(rename = "where", skip_serializing_if = "Option::is_none")]
    pub(crate) filter: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ops: Option<Box<RawValue>>,
    #[serde(flatten)]
    pub(crate) content: Content,
    #[serde(flatten)]
    pub(crate) conditions: Conditions,
}

/// What an entity or an edge shall hold.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Content {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) document: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) vector: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) vectors: Option<Box<RawValue>>,
}

/// When the operation shall take effect at all.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Conditions {
    #[serde(skip_serializing_if = "Option::is_none")]
    if_version: Option<u64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    if_absent: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    idempotency_key: Option<String>,
}

impl Conditions {
    /// That the operation runs once under this key, if there is one.
    pub(crate) fn idempotent(key: Option<String>) -> Self {
        Self { idempotency_key: key, ..Self::default() }
    }

    /// That it runs once, if need be under a key that `make` makes.
    pub(crate) fn or_idempotent(&mut self, make: impl FnOnce() -> String) {
        self.idempotency_key.get_or_insert_with(make);
    }
}

/// The flags that say what an entity or an edge shall hold. Each command says in its own words what its
/// document is, and whether there must be one.
#[derive(Debug, Args)]
pub(crate) struct ContentFlags {
    /// The document: a JSON object, @FILE, or - for stdin
    #[arg(long, value_name = "JSON|@FILE|-")]
    document: Option<String>,
    /// The vector: JSON numbers, base64 of little-endian f32, or @FILE with either
    #[arg(long, value_name = "JSON|BASE64|@FILE", conflicts_with = "vectors")]
    vector: Option<String>,
    /// Several vectors by name, as a JSON object
    #[arg(long, value_name = "JSON")]
    vectors: Option<String>,
}

impl ContentFlags {
    /// The content that they name.
    pub(crate) fn content(&self) -> Result<Content, Failure> {
        Ok(Content {
            document: self.document.as_deref().map(|text| read_json("--document", text)).transpose()?,
            vector: self.vector.as_deref().map(|text| read_vector("--vector", text)).transpose()?,
            vectors: self.vectors.as_deref().map(|text| read_json("--vectors", text)).transpose()?,
        })
    }
}

/// Which edges: those of a kind between two entities.
#[derive(Debug, Args)]
pub(crate) struct EdgeArguments {
    /// The edge's table
    pub(crate) edge: String,
    /// table:id
    pub(crate) from: String,
    /// table:id
    pub(crate) to: String,
}

/// The flags of every command that writes one key.
#[derive(Debug, Args)]
pub(crate) struct WriteFlags {
    #[command(flatten)]
    send: SendFlags,
    /// Only if the key has this version now
    #[arg(long, value_name = "N")]
    if_version: Option<u64>,
    /// Only if there is nothing under the key
    #[arg(long)]
    if_absent: bool,
}

impl WriteFlags {
    /// The part of the flags that the operation carries.
    pub(crate) fn conditions(&self) -> Conditions {
        Conditions { if_version: self.if_version, if_absent: self.if_absent, ..self.send.conditions() }
    }

    /// Sends an operation and prints the answer.
    pub(crate) async fn send(&self, session: &Session, operation: &Operation) -> Result<ExitCode, Failure> {
        self.send.send(session, operation).await
    }
}

/// The flags of every command that writes.
#[derive(Debug, Args)]
pub(crate) struct SendFlags {
    /// Answer when the operation is committed, or as soon as it is durably logged
    #[arg(long, value_name = "committed|logged", default_value_t)]
    ack: Ack,
    /// Answer after this time, however far the operation has come; it goes on [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    timeout: Option<Duration>,
    /// Under the same idempotency key the operation runs once, however often it is sent
    #[arg(long, value_name = "K")]
    idempotency_key: Option<String>,
}

impl SendFlags {
    /// The part of the flags that the operation carries.
    pub(crate) fn conditions(&self) -> Conditions {
        Conditions::idempotent(self.idempotency_key.clone())
    }

    /// Sends an operation and prints the answer. The exit code is 0 if what was to be waited for is so.
    pub(crate) async fn send(&self, session: &Session, operation: &Operation) -> Result<ExitCode, Failure> {
        let body = serde_json::to_vec(operation).map_err(Failure::Encode)?;
        self.send_body(session, body.into()).await
    }

    /// The same for an operation that was written elsewhere.
    pub(crate) async fn send_body(&self, session: &Session, body: Bytes) -> Result<ExitCode, Failure> {
        let options = OpOptions { ack: self.ack, timeout: self.timeout, idempotency_key: None };
        let answer = session.client()?.op(body, &options).await?;
        self.report(session, &answer)
    }

    /// Prints an answer. The exit code is 0 if what was to be waited for is so.
    pub(crate) fn report(&self, session: &Session, answer: &Answer<OpAnswer>) -> Result<ExitCode, Failure> {
        session.output.answer(answer, told)?;
        if self.is_done(answer) {
            return Ok(ExitCode::SUCCESS);
        }
        session.output.warning(format_args!(
            "not committed yet, but {}: it stands in the log and goes on; `lockstep wait` waits for it",
            answer.state
        ));
        Ok(ExitCode::FAILURE)
    }

    /// Whether what was to be waited for is so.
    pub(crate) fn is_done(&self, answer: &OpAnswer) -> bool {
        self.ack == Ack::Logged || answer.state == State::Committed
    }

    /// When the daemon shall answer.
    pub(crate) const fn ack(&self) -> Ack {
        self.ack
    }

    /// How long it shall be waited for, if that is said.
    pub(crate) const fn timeout(&self) -> Option<Duration> {
        self.timeout
    }
}

fn told(answer: &OpAnswer) -> String {
    let OpAnswer { op_id, lsn, version, state, key, keys } = answer;
    let keys: String = key.iter().chain(keys.iter().flatten()).map(|key| format!(" {key}")).collect();
    format!("{state}{keys}  version {version}  lsn {lsn}  op {op_id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_left_out() {
        let operation = Operation { op: "delete", key: Some("memory:1".to_owned()), ..Operation::default() };
        assert_eq!(serde_json::to_string(&operation).unwrap(), r#"{"op":"delete","key":"memory:1"}"#);
    }

    #[test]
    fn documents_are_passed_on_as_written() {
        let flags =
            ContentFlags { document: Some(r#"{"n":1.50}"#.to_owned()), vector: Some("[1]".to_owned()), vectors: None };
        let operation = Operation { op: "put", content: flags.content().unwrap(), ..Operation::default() };
        assert_eq!(serde_json::to_string(&operation).unwrap(), r#"{"op":"put","document":{"n":1.50},"vector":[1]}"#);
    }
}
