//! `lockstep clear`

use std::io::{self, BufRead, IsTerminal, Write};
use std::process::ExitCode;

use clap::Args;

use crate::failure::Failure;
use crate::json_argument::read_json;
use crate::operation::{Operation, SendFlags};
use crate::session::Session;

/// Remove every entity of a table, or those that fit a filter
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The table
    table: String,
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

Filters: {\"f\":value}, {\"f\":[a,b]} (any of), {\"f\":{\"gt\",\"gte\",\"lt\",\"lte\"}}, {\"all\":[…]}, {\"any\":[…]}, {\"not\":…}";

impl Arguments {
    pub(crate) async fn run(self, session: &Session) -> Result<ExitCode, Failure> {
        let filter = self.filter.as_deref().map(|text| read_json("--where", text)).transpose()?;
        if !self.yes && !confirmed(&self.table) {
            return Err(Failure::NotConfirmed { table: self.table });
        }
        let operation = Operation {
            op: "clear",
            table: Some(self.table),
            filter,
            conditions: self.send.conditions(),
            ..Operation::default()
        };
        self.send.send(session, &operation).await
    }
}

/// Asks on the terminal; without one nobody can say yes.
fn confirmed(table: &str) -> bool {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return false;
    }
    let mut said = String::new();
    let asked =
        write!(io::stderr(), "Remove every entity of {table} that fits? [y/N] ").and_then(|()| io::stderr().flush());
    asked.is_ok() && io::stdin().lock().read_line(&mut said).is_ok() && matches!(said.trim(), "y" | "Y" | "yes")
}
