//! `lockstep search`

use std::process::ExitCode;

use clap::Args;
use lockstep_api::{SearchAnswer, SearchRequest};
use serde_json::value::RawValue;

use crate::failure::Failure;
use crate::json_argument::{read_json, read_vector};
use crate::session::Session;
use crate::text::counted;

/// Find the nearest neighbours of a vector
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The table to search
    table: String,
    /// The vector: JSON numbers, base64 of little-endian f32, or @FILE with either
    #[arg(long, value_name = "JSON|BASE64|@FILE")]
    vector: String,
    /// At most so many hits
    #[arg(long, value_name = "N")]
    limit: Option<u32>,
    /// Only entities whose payload fits this filter
    #[arg(long, value_name = "JSON")]
    filter: Option<String>,
    /// The name of the stored vector to compare with
    #[arg(long, value_name = "NAME")]
    using: Option<String>,
}

const EXAMPLES: &str = "\
Examples:
  lockstep search memory --vector '[0.1,0.2]' --limit 5
  lockstep search memory --vector @query.vector --filter '{\"workspace\":[\"w1\",\"w2\"]}'

Filters: {\"f\":value}, {\"f\":[a,b]} (any of), {\"f\":{\"gt\",\"gte\",\"lt\",\"lte\"}}, {\"all\":[…]}, {\"any\":[…]}, {\"not\":…}";

impl Arguments {
    pub(crate) async fn run(self, session: &Session) -> Result<ExitCode, Failure> {
        let value = |argument, raw: &RawValue| {
            serde_json::from_str(raw.get()).map_err(|source| Failure::NotJson { argument, source })
        };
        let filter = self.filter.as_deref().map(|text| read_json("--filter", text)).transpose()?;
        let request = SearchRequest {
            table: self.table,
            vector: value("--vector", &read_vector("--vector", &self.vector)?)?,
            using: self.using,
            limit: self.limit,
            filter: filter.map(|raw| value("--filter", &raw)).transpose()?,
            with_document: false,
        };
        let answer = session.client()?.search(&request).await?;
        session.output.answer(&answer, told)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn told(answer: &SearchAnswer) -> String {
    let mut lines: Vec<String> = answer.hits.iter().map(|hit| format!("{:>9.5}  {}", hit.score, hit.key)).collect();
    if lines.is_empty() {
        lines.push("nothing found".to_owned());
    }
    if answer.dropped > 0 {
        lines.push(format!("({} passed over: the document is gone or being written)", counted(answer.dropped, "hit")));
    }
    lines.join("\n")
}
