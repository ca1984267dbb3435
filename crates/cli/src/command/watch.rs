//! `lockstep watch`

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use lockstep_api::{Client, Event, OpView};
use serde_json::json;

use crate::failure::{Failure, chain};
use crate::output::Output;
use crate::session::Session;

/// Print events as they happen: what becomes of operations, stores that go and come back
///
/// It does not end by itself. If the daemon goes away, it waits for it and goes on where it was: an event may
/// then come twice, and where the log no longer has what was missed, a gap is told.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Begin behind this event, named by the id that --json prints [default: with what happens from now on]
    #[arg(long, value_name = "ID")]
    after: Option<String>,
}

const EXAMPLES: &str = "\
Examples:
  lockstep watch
  lockstep --json watch | jq 'select(.event == \"parked\")'
  lockstep --json watch --after \"$last\"";

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

impl Arguments {
    pub(crate) async fn run(self, session: &Session) -> Result<ExitCode, Failure> {
        let client = session.client()?;
        let mut watch = Watch { client, output: session.output, last: self.after, reached: false };
        let mut pause = FIRST_PAUSE;
        loop {
            let seen = watch.last.clone();
            let away = match watch.leg().await {
                Ok(Leg::NobodyReads) => return Ok(ExitCode::SUCCESS),
                Ok(Leg::Stopped) => "lockstepd stops".to_owned(),
                // A daemon that never was there is not waited for.
                Err(Failure::Api(error)) if error.is_transient() && watch.reached => chain(&error),
                Err(failure) => return Err(failure),
            };
            if !session.output.is_json() && pause == FIRST_PAUSE {
                session.output.warning(format_args!("{away}; going on as soon as it is back"));
            }
            tokio::time::sleep(pause).await;
            pause = if watch.last == seen { (pause * 2).min(LONGEST_PAUSE) } else { FIRST_PAUSE };
        }
    }
}

/// Why one connection's events ended.
enum Leg {
    Stopped,
    NobodyReads,
}

/// A watch over as many connections as it takes.
struct Watch {
    client: Client,
    output: Output,
    /// The last event that was printed.
    last: Option<String>,
    reached: bool,
}

impl Watch {
    async fn leg(&mut self) -> Result<Leg, Failure> {
        let mut events = self.client.events(self.last.as_deref()).await?;
        self.reached = true;
        while let Some(event) = events.next().await? {
            if !self.output.row(&json!({ "id": event.id, "event": event.event, "data": event.data }), told(&event))? {
                return Ok(Leg::NobodyReads);
            }
            self.last = Some(event.id);
        }
        Ok(Leg::Stopped)
    }
}

fn told(event: &Event) -> String {
    let Event { id, event: what, data } = event;
    if let Some(view) = event.op() {
        return told_op(what, &view);
    }
    let text = |name: &str| data.get(name).and_then(|value| value.as_str());
    let at = text("at").unwrap_or("-");
    match (text("store"), text("from"), text("to")) {
        (Some(store), ..) => {
            let detail = text("detail").map_or_else(String::new, |detail| format!(": {detail}"));
            format!("{at:<27}  {what:<11}  {store}{detail}")
        }
        (None, Some(from), Some(to)) => {
            format!("{at:<27}  {what:<11}  the log no longer has what happened from {from} to {to}")
        }
        _ => format!("{at:<27}  {what:<11}  {id} {data}"),
    }
}

fn told_op(what: &str, view: &OpView) -> String {
    let OpView { op_id, lsn, key, op, updated_at, created_at, error, .. } = view;
    let at = updated_at.as_ref().or(created_at.as_ref()).map_or("-", String::as_str);
    let key = key.as_deref().unwrap_or("-");
    let error = error.as_ref().map_or_else(String::new, |error| format!("  {}: {}", error.code, error.detail));
    format!("{at:<27}  {what:<11}  {op:<8}  {key}  lsn {lsn}  op {op_id}{error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(event: &str, data: &str) -> String {
        told(&Event { id: "7-1".to_owned(), event: event.to_owned(), data: serde_json::from_str(data).unwrap() })
    }

    #[test]
    fn each_kind_of_event_is_a_line() {
        let op = r#"{"op_id":"0193b2c4-0000-7000-8000-00000000002a","lsn":42,"key":"memory:01","op":"put","state":"rolled_back",
            "created_at":"2026-01-29T00:00:00.000000Z","updated_at":"2026-01-29T00:00:01.000000Z","error":{"code":"not_found","detail":"gone"}}"#;
        let expected = "2026-01-29T00:00:01.000000Z  rolled_back  put       memory:01  lsn 42  op 0193b2c4-0000-7000-8000-00000000002a  not_found: gone";
        assert_eq!(line("rolled_back", op), expected);
        let store = r#"{"store":"qdrant","state":"down","at":"2026-01-29T00:00:00.000000Z","detail":"refused"}"#;
        assert_eq!(line("store_down", store), "2026-01-29T00:00:00.000000Z  store_down   qdrant: refused");
        let gap = "-                            gap          the log no longer has what happened from 3 to 9";
        assert_eq!(line("gap", r#"{"from":"3","to":"9"}"#), gap);
        assert_eq!(line("new_kind", r#"{"n":1}"#), "-                            new_kind     7-1 {\"n\":1}");
    }
}
