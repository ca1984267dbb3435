//! `lockstep bulk`

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use lockstep_api::Ack;
use serde_json::json;
use tokio::fs::File;

use crate::bulk::{Fed, Feed, Input, Progress};
use crate::failure::Failure;
use crate::output::Output;
use crate::session::Session;

/// Send a file of operations, one a line (NDJSON)
///
/// A bad line fails alone; how many failed, and the first of them, is told at the end. If the daemon goes
/// away in the middle, lockstep waits for it and goes on where it was.
///
/// Running it again is safe. Each line without an idempotency_key gets one, made of the input up to and
/// including this line. So the same file sent again, whole or after a break, gets the first answer of each
/// line again, also where that was a refusal at its turn, and nothing runs twice. A changed file runs anew
/// from the first changed line on. The daemon remembers keys for wal.keep_finished_s (24 hours, unless
/// configured otherwise); after that the whole file runs again in its order, which for put, delete, relate
/// and unrelate leads to the same state, unless others have written to these keys meanwhile. --anew runs it
/// again at once.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The operations; - for stdin
    #[arg(value_name = "FILE|-")]
    file: PathBuf,
    /// Answer each line when it is committed, or as soon as it is durably logged: then all of them are waited
    /// for at the end
    #[arg(long, value_name = "committed|logged", default_value_t)]
    ack: Ack,
    /// Run every line again, also if the same file was sent before
    #[arg(long)]
    anew: bool,
    /// Wait so long for a daemon that went away
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = humantime::parse_duration)]
    patience: Duration,
}

const EXAMPLES: &str = "\
Examples:
  lockstep bulk operations.ndjson
  zcat operations.ndjson.gz | lockstep bulk -
  lockstep --json bulk operations.ndjson --ack logged

Exit codes: 0 every line (blank ones aside) was committed, 1 not so, 2 usage.";

impl Arguments {
    pub(crate) async fn run(self, session: &Session) -> Result<ExitCode, Failure> {
        let client = session.client()?;
        let (input, bytes) = self.open().await?;
        let feed = Feed { client, ack: self.ack, patience: self.patience, input, progress: Progress::new(bytes) };
        let fed = feed.run().await;
        report(session.output, fed)
    }

    /// The input, and its length where that is known.
    async fn open(&self) -> Result<(Input, Option<u64>), Failure> {
        if self.file == Path::new("-") {
            return Ok((Input::new(tokio::io::stdin(), self.anew), None));
        }
        let unreadable = |source| Failure::Read { path: self.file.clone(), source };
        let file = File::open(&self.file).await.map_err(unreadable)?;
        let about = file.metadata().await.map_err(unreadable)?;
        let bytes = about.is_file().then_some(about.len());
        Ok((Input::new(file, self.anew), bytes))
    }
}

/// Tells what became of the lines. What went wrong with a feed as a whole is told last.
fn report(output: Output, fed: Fed) -> Result<ExitCode, Failure> {
    let Fed { tally, took, failure } = fed;
    if !output.is_json() {
        for failed in &tally.first_failures {
            output.warning(format_args!("line {}: {}: {}", failed.line, failed.code, failed.detail));
        }
    }
    let mut value = json!(tally);
    value["took_s"] = json!(took.as_secs_f64());
    output.value(&value, tally.summary(took))?;
    match failure {
        Some(failure) => Err(failure),
        None if tally.all_committed() => Ok(ExitCode::SUCCESS),
        None => Ok(ExitCode::FAILURE),
    }
}
