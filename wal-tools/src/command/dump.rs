//! `wal-tools dump`

use clap::Args;
use lockstep_api::rfc3339_from_micros;
use lockstep_model::Lsn;
use lockstep_wal::{Intent, Record};
use serde_json::{Value, json};

use crate::directory::Directory;
use crate::failure::Failure;
use crate::op::ShownOp;
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
  wal-tools dump | jq -c 'select(.state == \"parked\") | .operation' | lockstep bulk -";

impl Arguments {
    pub(crate) fn run(self, place: Place, output: &mut Output) -> Result<Outcome, Failure> {
        let log = directory(place, "dump", output)?;
        for found in log.raw.records() {
            // What cannot be read is among the findings already.
            let Ok(found) = found else { continue };
            if !(self.from..=self.to).contains(&found.lsn.0) || found.entry.kind != Record::INTENT {
                continue;
            }
            if let Ok(Record::Intent(intent)) = Record::decode(&found.entry) {
                let line =
                    if self.operations { Value::Object(intent.op.to_json()) } else { line(&log, found.lsn, &intent) };
                output.line(line)?;
            }
            if output.is_gone() {
                break;
            }
        }
        log.warn_of_damage(output);
        Ok(Outcome::findings(log.worst().is_finding()))
    }
}

fn line(log: &Directory, lsn: Lsn, intent: &Intent) -> Value {
    let shown = log.fold.ops.get(&lsn).map(|head| ShownOp::of_head(log.raw.id(), lsn, head, None));
    json!({
        "lsn": lsn,
        "op_id": shown.as_ref().and_then(ShownOp::op_id),
        "version": intent.version,
        "state": shown.as_ref().map(|shown| shown.view.state),
        "created_at": rfc3339_from_micros(intent.at_us),
        "uid": intent.caller.uid,
        "error": shown.and_then(|shown| shown.view.error),
        "operation": intent.op.to_json(),
    })
}
