//! `lockstep tables`

use std::process::ExitCode;

use clap::Args;
use lockstep_api::{TableView, TablesAnswer};

use crate::failure::Failure;
use crate::session::Session;
use crate::text::{aligned, known};

/// List the tables that the daemon knows, and how much is in them
///
/// They are those of the configuration and those that operations have made. What cannot be counted now, as a
/// store that is down, is unknown.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {}

const EXAMPLES: &str = "\
Examples:
  lockstep tables
  lockstep --json tables | jq '.tables[] | select(.records != .points)'";

impl Arguments {
    pub(crate) async fn run(self, session: &Session) -> Result<ExitCode, Failure> {
        let answer = session.client()?.tables().await?;
        session.output.answer(&answer, told)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn told(answer: &TablesAnswer) -> String {
    if answer.tables.is_empty() {
        return "no tables".to_owned();
    }
    let head = ["TABLE", "STORES", "RECORDS", "POINTS", "COLLECTION", "POINT ID", "VECTORS"].map(str::to_owned);
    let rows = std::iter::once(head).chain(answer.tables.iter().map(row));
    let mut lines = aligned(&rows.collect::<Vec<_>>());
    for table in &answer.tables {
        lines.extend(table.paused.as_ref().map(|why| format!("{} is paused: {why}", table.table)));
    }
    lines.join("\n")
}

fn row(view: &TableView) -> [String; 7] {
    // What a store does not hold is not unknown.
    let counted = |number, without: &str| if view.stores == without { "-".to_owned() } else { known(number) };
    let vectors: Vec<String> = view
        .vectors
        .iter()
        .map(|(name, spec)| {
            let size = spec.size.map_or_else(String::new, |size| format!(" {size}"));
            let required = if spec.required { " required" } else { "" };
            // Sparse vectors have one way to be compared.
            let distance = if spec.kind == "sparse" { String::new() } else { format!(" {}", spec.distance) };
            format!("{name} {}{size}{distance}{required}", spec.kind)
        })
        .collect();
    [
        view.table.clone(),
        view.stores.clone(),
        counted(view.records, "qdrant"),
        counted(view.points, "surreal"),
        view.collection.clone().unwrap_or_else(|| "-".to_owned()),
        view.point_id.clone(),
        if vectors.is_empty() { "none yet".to_owned() } else { vectors.join(", ") },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_unknown_and_what_is_not_held_is_not_counted() {
        let text = r#"{"tables":[
            {"table":"memory","stores":"both","collection":"memory","point_id":"hashed","records":12911,"points":null,
             "vectors":{"body":{"kind":"sparse","distance":"dot"},"default":{"kind":"dense","size":384,"distance":"cosine","required":true}},
             "paused":"the collection memory is missing"},
            {"table":"log","stores":"surreal","point_id":"hashed","records":0,"points":null}]}"#;
        let told = told(&serde_json::from_str(text).unwrap());
        let expected = "\
TABLE   STORES   RECORDS  POINTS   COLLECTION  POINT ID  VECTORS
memory  both     12,911   unknown  memory      hashed    body sparse, default dense 384 cosine required
log     surreal  0        -        -           hashed    none yet
memory is paused: the collection memory is missing";
        assert_eq!(told, expected);
        assert_eq!(super::told(&TablesAnswer::default()), "no tables");
    }
}
