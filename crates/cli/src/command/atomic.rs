//! `lockstep atomic`

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::value::RawValue;

use crate::failure::Failure;
use crate::json_argument::read_text;
use crate::operation::{Conditions, Operation, SendFlags};
use crate::session::Session;

/// Carry out several operations as one: all of them, or none
///
/// They are put, patch, delete, relate and unrelate, each key once. The file holds them as a JSON array, one
/// after the other (NDJSON), or as an object with "ops", which is sent as it is but for the flags here.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The operations; - for stdin
    #[arg(value_name = "FILE|-")]
    file: PathBuf,
    #[command(flatten)]
    send: SendFlags,
}

const EXAMPLES: &str = "\
Examples:
  lockstep atomic chunks.json
  lockstep atomic chunks.ndjson --idempotency-key reindex-42
  echo '[{\"op\":\"delete\",\"key\":\"chunk:1\"},{\"op\":\"put\",\"key\":\"chunk:2\",\"document\":{}}]' | lockstep atomic -

Exit codes: 0 all of it was committed (with --ack logged: is durable), 1 not so, 2 usage.";

impl Arguments {
    pub(crate) async fn run(self, session: &Session) -> Result<ExitCode, Failure> {
        let text = read_text(&self.file)?;
        let conditions = self.send.conditions();
        match Input::read(&text)? {
            Input::Group { json, named } => {
                let body = with_conditions(json, named, &conditions)?;
                self.send.send_body(session, body.into()).await
            }
            Input::Members(ops) => {
                let operation = Operation { op: "atomic", ops: Some(ops), conditions, ..Operation::default() };
                self.send.send(session, &operation).await
            }
        }
    }
}

/// What the file holds. Whether its operations are any, the daemon judges.
#[derive(Debug)]
enum Input<'a> {
    /// A whole atomic operation, and whether it says so itself.
    Group { json: &'a str, named: bool },
    /// Its members.
    Members(Box<RawValue>),
}

impl<'a> Input<'a> {
    fn read(text: &'a str) -> Result<Self, Failure> {
        let values = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
        let values: Vec<&str> = values.map(|value| value.map(RawValue::get)).collect::<Result<_, _>>().map_err(bad)?;
        match values.as_slice() {
            [] => return Err(Failure::NoOperation),
            [array] if array.starts_with('[') => return members((*array).to_owned()),
            [json] if json.starts_with('{') => {
                let fields: BTreeMap<String, &RawValue> = serde_json::from_str(json).map_err(bad)?;
                if fields.contains_key("ops") {
                    return Ok(Self::Group { json, named: fields.contains_key("op") });
                }
            }
            _ => {}
        }
        members(format!("[{}]", values.join(",")))
    }
}

fn members<'a>(array: String) -> Result<Input<'a>, Failure> {
    RawValue::from_string(array).map(Input::Members).map_err(bad)
}

fn bad(source: serde_json::Error) -> Failure {
    Failure::NotJson { argument: "FILE", source }
}

/// The group with what the flags say, and with its `op` if it lacks that. Both are put before what is there:
/// the rest stays as written, and a member that now comes twice is refused by the daemon.
fn with_conditions(group: &str, named: bool, conditions: &Conditions) -> Result<String, Failure> {
    let conditions = serde_json::to_string(conditions).map_err(Failure::Encode)?;
    let conditions = conditions.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or_default();
    let op = if named { "" } else { r#""op":"atomic""# };
    let added = [op, conditions].into_iter().filter(|part| !part.is_empty()).map(|part| format!("{part},"));
    // An object that holds "ops" is not empty: a comma may stand before its first member.
    Ok(format!("{{{}{}", added.collect::<String>(), group.strip_prefix('{').unwrap_or(group)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members_of(text: &str) -> String {
        match Input::read(text).unwrap() {
            Input::Members(ops) => ops.get().to_owned(),
            Input::Group { json, .. } => panic!("{json} is taken for a group"),
        }
    }

    #[test]
    fn members_come_as_an_array_or_line_by_line() {
        let expected = r#"[{"op":"delete","key":"a:1"},{"op":"put","key":"a:2","document":{"n":1.50}}]"#;
        assert_eq!(members_of(&format!(" {expected}\n")), expected);
        let lines =
            "{\"op\":\"delete\",\"key\":\"a:1\"}\n\n{\"op\":\"put\",\"key\":\"a:2\",\"document\":{\"n\":1.50}}\n";
        assert_eq!(members_of(lines), expected);
        assert_eq!(members_of(r#"{"op":"delete","key":"a:1"}"#), r#"[{"op":"delete","key":"a:1"}]"#);
        // The daemon says what is wrong with these.
        assert_eq!(members_of("[] []"), "[[] []]".replace("] [", "],["));
        assert_eq!(members_of("7"), "[7]");
    }

    #[test]
    fn a_group_is_sent_as_it_is_with_what_it_lacks() {
        let with = |text: &str, key: Option<&str>| {
            let Input::Group { json, named } = Input::read(text).unwrap() else { panic!("{text} is no group") };
            with_conditions(json, named, &Conditions::idempotent(key.map(str::to_owned))).unwrap()
        };
        let group = r#"{ "op":"atomic", "ops":[{"n":1.50}], "new":1 }"#;
        assert_eq!(with(group, None), group);
        assert_eq!(with(r#"{"ops":[]}"#, None), r#"{"op":"atomic","ops":[]}"#);
        assert_eq!(with(r#"{"ops":[]}"#, Some("}")), r#"{"op":"atomic","idempotency_key":"}","ops":[]}"#);
    }

    #[test]
    fn what_is_not_json_or_nothing_at_all_is_bad_usage() {
        for text in ["", " \n", "[1", "{\"op\":\"put\"}\n{", "put"] {
            assert_eq!(Input::read(text).unwrap_err().exit_code(), 2, "{text}");
        }
    }
}
