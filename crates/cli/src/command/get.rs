//! `lockstep get`

use std::process::ExitCode;

use clap::Args;
use lockstep_api::Entity;
use lockstep_model::Version;
use serde_json::Value;

use crate::failure::Failure;
use crate::session::Session;

/// Show what both stores hold under a key, and whether they agree
///
/// Also when there is nothing (verdict not_found). Vectors are shown by their size; --json has their values.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// table:id
    key: String,
}

const EXAMPLES: &str = "\
Examples:
  lockstep get memory:01
  lockstep --json get memory:01 | jq .surreal.document";

impl Arguments {
    pub(crate) async fn run(self, session: &Session) -> Result<ExitCode, Failure> {
        let answer = session.client()?.entity(&self.key).await?;
        session.output.answer(&answer, told)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn told(entity: &Entity) -> String {
    let Entity { key, verdict, surreal, qdrant, open_ops } = entity;
    let mut lines = vec![
        format!("{key}  {verdict}"),
        format!("surreal  {}", side(surreal.found, surreal.version, surreal.hash.as_deref(), surreal.error.as_deref())),
        format!("qdrant   {}", side(qdrant.found, qdrant.version, qdrant.hash.as_deref(), qdrant.error.as_deref())),
    ];
    for (name, vector) in qdrant.vectors.iter().flatten() {
        lines.push(format!("vector   {name} {vector}"));
    }
    if !open_ops.is_empty() {
        let lsns: Vec<String> = open_ops.iter().map(ToString::to_string).collect();
        lines.push(format!("open     lsn {}", lsns.join(", ")));
    }
    lines.extend(surreal.document.as_ref().map(|document| format!("document {}", pretty(document))));
    lines.extend(qdrant.payload.as_ref().map(|payload| format!("payload  {}", pretty(payload))));
    lines.join("\n")
}

fn side(found: Option<bool>, version: Option<Version>, hash: Option<&str>, error: Option<&str>) -> String {
    let Some(found) = found else {
        return error.map_or_else(|| "not known".to_owned(), |error| format!("not known: {error}"));
    };
    if !found {
        return "nothing".to_owned();
    }
    let version = version.map_or_else(|| "without a version".to_owned(), |version| format!("version {version}"));
    hash.map_or_else(|| version.clone(), |hash| format!("{version}  hash {hash}"))
}

fn pretty(value: &Value) -> String {
    format!("{value:#}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_are_shortened_and_nothing_is_called_nothing() {
        let vector = vec!["0.5"; 384].join(",");
        let text = format!(
            r#"{{"key":"memory:01","verdict":"orphan_vector","surreal":{{"found":false}},
                "qdrant":{{"found":true,"version":5,"vectors":{{"default":[{vector}]}}}},"open_ops":[41]}}"#
        );
        let told = told(&serde_json::from_str(&text).unwrap());
        let expected = "memory:01  orphan_vector\nsurreal  nothing\nqdrant   version 5\nvector   default [384 f32]\nopen     lsn 41";
        assert_eq!(told, expected);
    }

    #[test]
    fn a_store_that_could_not_be_asked_says_why() {
        let of = |surreal: &str, qdrant: &str| {
            let text = format!(r#"{{"key":"memory:01","verdict":"unknown","surreal":{surreal},"qdrant":{qdrant}}}"#);
            told(&serde_json::from_str(&text).unwrap())
        };
        let (silent, refused) = (r#"{"found":null}"#, r#"{"found":null,"error":"no answer"}"#);
        assert_eq!(of(silent, refused), "memory:01  unknown\nsurreal  not known\nqdrant   not known: no answer");
        assert_eq!(of(refused, silent), "memory:01  unknown\nsurreal  not known: no answer\nqdrant   not known");
    }
}
