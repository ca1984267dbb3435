//! `lockstep clear`

use std::io::{self, BufRead, IsTerminal, Write};
use std::process::ExitCode;

use clap::Args;
use lockstep_api::{Answer, Client, CountAnswer, CountRequest, Error, OpAnswer};
use serde_json::json;
use serde_json::value::RawValue;

use crate::clearing::Clearing;
use crate::failure::Failure;
use crate::json_argument::read_json;
use crate::operation::{Operation, SendFlags};
use crate::session::Session;
use crate::text::known;

/// Remove every entity of a table, or those that fit a filter
///
/// Says first how much that is, and asks. It goes page by page, and once the first page has gone it only goes
/// forward; this waits until all of it has, also if the daemon is started again meanwhile. Ctrl-C ends the
/// waiting, not the clear.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, mut_arg("timeout", |timeout| {
    timeout.help("Wait at most so long; the clear goes on [default: until it has ended]")
}))]
pub(crate) struct Arguments {
    /// The table
    #[arg(required_unless_present = "all")]
    table: Option<String>,
    /// Every table that there is, one after the other, each asked for
    #[arg(long, conflicts_with_all = ["table", "filter", "idempotency_key"])]
    all: bool,
    /// Only entities that fit this filter
    #[arg(long = "where", value_name = "JSON")]
    filter: Option<String>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    send: SendFlags,
}

const EXAMPLES: &str = "\
Examples:
  lockstep clear memory --where '{\"workspace\":\"w1\"}'
  lockstep clear memory --yes
  lockstep clear --all

Filters: {\"f\":value}, {\"f\":[a,b]} (any of), {\"f\":{\"gt\",\"gte\",\"lt\",\"lte\"}}, {\"all\":[…]}, {\"any\":[…]}, {\"not\":…}

Exit codes: 0 all of it was removed, 1 not so (why is on stderr; also if you said no), 2 usage, or nobody there to ask.";

impl Arguments {
    pub(crate) async fn run(self, session: &Session) -> Result<ExitCode, Failure> {
        let filter = self.filter.as_deref().map(|text| read_json("--where", text)).transpose()?;
        let somebody_is_there = io::stdin().is_terminal() && io::stderr().is_terminal();
        if !self.yes && !somebody_is_there {
            return Err(Failure::NotConfirmed);
        }
        let client = session.client()?;
        let run = Run { session, client, yes: self.yes, filter, send: &self.send };
        match self.table {
            Some(table) => run.one(&table).await,
            None => run.all().await,
        }
    }
}

/// A clear of one table or of all.
struct Run<'a> {
    session: &'a Session,
    client: Client,
    yes: bool,
    filter: Option<Box<RawValue>>,
    send: &'a SendFlags,
}

impl Run<'_> {
    async fn one(&self, table: &str) -> Result<ExitCode, Failure> {
        let Some((_, answer)) = self.clear(table).await? else { return Ok(ExitCode::FAILURE) };
        self.send.report(self.session, &answer)
    }

    /// A table that cannot be cleared, or must not, leaves the others theirs.
    async fn all(&self) -> Result<ExitCode, Failure> {
        let tables = self.client.tables().await?.into_body().tables;
        let output = self.session.output;
        if tables.is_empty() {
            output.line("no tables")?;
        }
        let mut cleared = Vec::with_capacity(tables.len());
        let mut all = true;
        for table in tables {
            let table = table.table;
            let outcome = match self.clear(&table).await {
                Ok(Some((counts, answer))) => {
                    let ended = self.send.is_done(&answer);
                    all &= ended;
                    output.line(format_args!("{table}: {}", answer.state))?;
                    json!({ "table": table, "counted": counts, "answer": *answer })
                }
                Ok(None) => {
                    all = false;
                    json!({ "table": table, "answer": null })
                }
                Err(Failure::Api(error)) if error.problem().is_some() => {
                    all = false;
                    if !output.is_json() {
                        output.warning(format_args!("{table}: {error}"));
                    }
                    json!({ "table": table, "error": Failure::from(error).json() })
                }
                Err(failure) => return Err(failure),
            };
            cleared.push(outcome);
        }
        output.json(&json!({ "tables": cleared }))?;
        Ok(if all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// Clears a table, if that is wanted once it is known how much goes.
    async fn clear(&self, table: &str) -> Result<Option<(CountAnswer, Answer<OpAnswer>)>, Failure> {
        let request = CountRequest { table: table.to_owned(), filter: self.filter_value()? };
        let counts = count(&self.client, &request).await?;
        let what = self.told(table, &counts);
        if self.yes {
            if !self.session.output.is_json() {
                self.session.output.warning(format_args!("removing {what}"));
            }
        } else if !agreed(&what) {
            self.session.output.warning(format_args!("{table}: nothing removed"));
            return Ok(None);
        }
        let operation = Operation {
            op: "clear",
            table: Some(table.to_owned()),
            filter: self.filter.clone(),
            conditions: self.send.conditions(),
            ..Operation::default()
        };
        let clearing = Clearing { client: &self.client, send: self.send, request: &request, counted: counts.records };
        Ok(Some((counts, clearing.run(operation).await?)))
    }

    fn filter_value(&self) -> Result<Option<serde_json::Value>, Failure> {
        let value = self.filter.as_ref().map(|raw| serde_json::from_str(raw.get())).transpose();
        value.map_err(|source| Failure::NotJson { argument: "--where", source })
    }

    fn told(&self, table: &str, counts: &CountAnswer) -> String {
        let filter = self.filter.as_ref().map_or_else(String::new, |filter| format!(" where {}", filter.get()));
        format!(
            "from {table}{filter}: records in SurrealDB: {}, points in Qdrant: {}",
            known(counts.records),
            known(counts.points)
        )
    }
}

/// How much there is to remove. A daemon that cannot say so now leaves it unknown.
pub(crate) async fn count(client: &Client, request: &CountRequest) -> Result<CountAnswer, Failure> {
    match client.count(request).await {
        Ok(answer) => Ok(answer.into_body()),
        Err(error @ Error::Problem { .. }) if error.is_transient() => Ok(CountAnswer::default()),
        Err(error) => Err(error.into()),
    }
}

/// Asks on the terminal.
fn agreed(what: &str) -> bool {
    let mut said = String::new();
    let asked = write!(io::stderr(), "This removes {what}. Go on? [y/N] ").and_then(|()| io::stderr().flush());
    asked.is_ok() && io::stdin().lock().read_line(&mut said).is_ok() && matches!(said.trim(), "y" | "Y" | "yes")
}
