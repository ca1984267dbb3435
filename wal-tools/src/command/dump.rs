//! `wal-tools dump`

use clap::Args;
use lockstep_api::rfc3339_from_micros;
use lockstep_model::{Lsn, OpId};
use lockstep_wal::{Intent, Record};
use serde_json::{Value, json};

use crate::directory::{Directory, Look};
use crate::failure::Failure;
use crate::finding::Finding;
use crate::outcome::Outcome;
use crate::output::Output;
use crate::place::Place;
use crate::source::directory;

/// Print the operations in the log with all that they carry, oldest first, one JSON object a line
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Begin with the operation at this LSN
    #[arg(long, value_name = "LSN", default_value_t = 1)]
    from: u64,
    /// End with the operation at this LSN
    #[arg(long, value_name = "LSN", default_value_t = u64::MAX, hide_default_value = true)]
    to: u64,
    /// Only the operations, whatever became of them, as lockstep bulk takes them
    #[arg(long)]
    operations: bool,
}

const EXAMPLES: &str = "\
A line is {\"lsn\",\"op_id\",\"version\",\"state\",\"created_at\",\"uid\",\"error\",\"operation\"}. Operations that have left the
log are not in it: the stores hold them. An operation keeps its idempotency key; to send it again with other
content, take the key out, or the first answer is given again.

Examples:
  wal-tools dump > saved.ndjson
  wal-tools dump --from 40 --to 50 --operations > operations.ndjson
  wal-tools dump | jq -c 'select(.state == \"parked\") | .operation | del(.idempotency_key)' | lockstep bulk -";

impl Arguments {
    pub(crate) fn run(self, place: Place, output: &mut Output) -> Result<Outcome, Failure> {
        let mut log = directory(place, "dump", Look::Skim, output)?;
        if self.from > self.to {
            output.warning(format_args!("--from {} is behind --to {}: there is nothing between", self.from, self.to));
        }
        let mut undecodable = Vec::new();
        let range = self.from..=self.to;
        let is_asked = |lsn: Lsn, kind| kind == Record::INTENT && range.contains(&lsn.0);
        // What cannot be read is among the findings already.
        for found in log.raw.records_where(is_asked).filter_map(Result::ok) {
            match Record::decode(&found.entry) {
                Ok(Record::Intent(intent)) => {
                    let whole = || line(&log, found.lsn, &intent);
                    output.data(if self.operations { Value::Object(intent.op.to_json()) } else { whole()? })?;
                }
                Ok(_) => {}
                Err(error) => undecodable.push(Finding::of_record(&log.path, found.lsn, &error)),
            }
            if output.is_gone() {
                break;
            }
        }
        log.add_unknown(undecodable);
        log.warn_of_damage(output);
        Ok(Outcome::findings(log.worst().is_finding()))
    }
}

fn line(log: &Directory, lsn: Lsn, intent: &Intent) -> Result<Value, Failure> {
    let op_id = log.raw.id().map(|log| OpId::new(log, lsn, intent.at_us / 1_000));
    let failure = log.failure(lsn).map(serde_json::to_value).transpose()?;
    Ok(json!({
        "lsn": lsn,
        "op_id": op_id,
        "version": intent.version,
        "state": log.states.of(lsn),
        "created_at": rfc3339_from_micros(intent.at_us),
        "uid": intent.caller.uid,
        "error": failure,
        "operation": intent.op.to_json(),
    }))
}
