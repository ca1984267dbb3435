//! `wal-tools show`

use std::collections::BTreeSet;

use clap::Args;
use lockstep_model::{Access, LaneId, Lsn, Version};
use lockstep_wal::{Before, ImageRecord, Intent, Irregular, MemberOutcome, Outcome as ImageOutcome, RawLog, Record};
use serde_json::{Map, Value, json};

use crate::daemon::Daemon;
use crate::directory::Directory;
use crate::failure::Failure;
use crate::finding::Severity;
use crate::op::ShownOp;
use crate::outcome::Outcome;
use crate::output::Output;
use crate::place::Place;
use crate::show_text;
use crate::source::Source;
use crate::target::Target;

/// Show one operation whole: its history, what went wrong, what it carries, and its records in the log
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Its place in the log, or its id
    #[arg(value_name = "LSN|OP_ID")]
    target: Target,
    /// Do not cut its document (vectors stay short; --json has them)
    #[arg(long)]
    full: bool,
}

const EXAMPLES: &str = "\
Examples:
  wal-tools show 42
  wal-tools show 0193b2c4-0000-7000-8000-00000000002a --full
  wal-tools --json show 42 | jq .operation";

/// All that is known of one operation.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) op: ShownOp,
    /// What was asked, if its intent could be read.
    pub(crate) intent: Option<Intent>,
    pub(crate) image: Option<(Lsn, ImageRecord)>,
    pub(crate) lanes: Vec<(LaneId, Access)>,
    /// Its records in the log, and what they are.
    pub(crate) records: Vec<(Lsn, String)>,
}

impl Arguments {
    pub(crate) fn run(self, place: Place, output: &mut Output) -> Result<Outcome, Failure> {
        let dir = if let Place::Directory(dir) = &place { Some(dir.clone()) } else { None };
        match Source::find(place, output)? {
            Source::Directory(log) => {
                log.warn_of_damage(output);
                let whole = in_directory(&log, self.target)?;
                let named = format!("directory {}", log.path.display());
                self.print(&whole, "directory", &named, None, output)?;
                let is_parked = whole.op.view.waiting_for.as_deref() == Some("operator");
                Ok(Outcome::findings(is_parked || log.worst() == Severity::Damage))
            }
            Source::Daemon(daemon) => {
                let answer = daemon.op(self.target)?;
                let mut whole = Whole::of(ShownOp::of_daemon(answer.body.clone()));
                // The daemon tells how it stands; what it carries never changes, so the directory may tell that.
                if let Some(raw) = dir.and_then(|dir| RawLog::read(&dir).ok()) {
                    whole.intent = intent_of(&raw, &whole.op);
                    whole.op.left = has_left(&raw, whole.op.view.lsn);
                }
                let said: Value = serde_json::from_slice(&answer.json)?;
                self.print(&whole, "daemon", &named(&daemon), said.as_object(), output)?;
                Ok(Outcome::findings(answer.state == lockstep_model::State::Parked))
            }
        }
    }

    /// `said` is the daemon's answer: programs get all of it, also what this version does not know.
    fn print(
        &self,
        whole: &Whole,
        source: &str,
        named: &str,
        said: Option<&Map<String, Value>>,
        output: &mut Output,
    ) -> Result<(), Failure> {
        if output.is_json() {
            let mut members = said.cloned().unwrap_or_default();
            members.extend(whole.to_json(source)?);
            return output.line(Value::Object(members));
        }
        for line in show_text::lines(whole, named, self.full) {
            output.line(line)?;
        }
        Ok(())
    }
}

pub(crate) fn named(daemon: &Daemon) -> String {
    format!("daemon at {}", daemon.socket().display())
}

/// All that the directory tells of an operation.
pub(crate) fn in_directory(log: &Directory, target: Target) -> Result<Whole, Failure> {
    let lsn = target.lsn();
    let fold = log.fold(Some(&BTreeSet::from([lsn])));
    let whole = if let Some(head) = fold.ops.get(&lsn) {
        let waits = log.waits(&fold);
        let op = ShownOp::of_head(log.raw.id(), lsn, head, waits.get(&lsn).copied());
        let mut whole = Whole::of(op);
        whole.lanes = head.lanes.to_vec();
        for at in std::iter::once(lsn).chain(head.records.iter().copied()) {
            let record = log.raw.record(at).ok().flatten().and_then(|found| Record::decode(&found.entry).ok());
            whole.take(at, record);
        }
        whole
    } else {
        let left = log.summary(lsn).map(|summary| ShownOp::of_summary(lsn, &summary));
        Whole::of(left.ok_or_else(|| match instead(log, lsn) {
            Some(hint) => Failure::NotAnOperation { target, hint },
            None => Failure::NotFound(target),
        })?)
    };
    if target.is(whole.op.op_id()) { Ok(whole) } else { Err(Failure::NotFound(target)) }
}

/// What is at the place where no operation is.
fn instead(log: &Directory, lsn: Lsn) -> Option<String> {
    let of: Vec<String> = log
        .states
        .irregular
        .iter()
        .filter_map(|found| match found {
            Irregular::Stray { record, op } if *op == lsn => Some(record.to_string()),
            Irregular::Stray { .. } | Irregular::Illegal { .. } => None,
        })
        .collect();
    if let Some(found) = log.findings.iter().find(|found| found.lsn == Some(lsn) && found.severity == Severity::Damage)
    {
        let of = if of.is_empty() { String::new() } else { format!("; of it speak records {}", of.join(", ")) };
        return Some(format!("{}{of}", found.what));
    }
    let found = log.raw.record(lsn).ok()??;
    Some(match Record::decode(&found.entry) {
        Ok(Record::Image(image)) => format!("record {lsn} is the image of operation {}", image.op),
        Ok(Record::Mark(mark)) => {
            let ops: Vec<String> = mark.ops.iter().take(5).map(ToString::to_string).collect();
            let more = if mark.ops.len() > ops.len() { ", …" } else { "" };
            format!("record {lsn} says {} of {}{more}", mark.state, ops.join(", "))
        }
        Ok(Record::Checkpoint(_)) => format!("record {lsn} is a checkpoint"),
        Ok(Record::Asked(asked)) => format!("record {lsn} is a decision about operation {}", asked.op),
        Ok(Record::Declined(declined)) => {
            format!("record {lsn} says why a decision about operation {} was not carried out", declined.op)
        }
        Ok(Record::Lost(lost)) if lost.last == lsn => format!("record {lsn} was lost; a repair has noted it"),
        Ok(Record::Lost(lost)) => format!("records {lsn} to {} were lost; a repair has noted it", lost.last),
        Ok(Record::Intent(_)) | Err(_) => return None,
    })
}

/// The intent of an operation that the daemon told of, if this directory holds the very same.
fn intent_of(raw: &RawLog, op: &ShownOp) -> Option<Intent> {
    let found = raw.record(op.view.lsn).ok()??;
    match Record::decode(&found.entry) {
        Ok(Record::Intent(intent)) if Some(intent.version) == op.view.version => Some(*intent),
        Ok(_) | Err(_) => None,
    }
}

/// Whether the operation that the daemon told of has left this log, which is the daemon's: none if it stands in it, or came after it was read.
pub(crate) fn has_left(raw: &RawLog, lsn: Lsn) -> Option<bool> {
    raw.trimmed().contains(lsn).then_some(true)
}

impl Whole {
    pub(crate) const fn of(op: ShownOp) -> Self {
        Self { op, intent: None, image: None, lanes: Vec::new(), records: Vec::new() }
    }

    fn take(&mut self, lsn: Lsn, record: Option<Record>) {
        let kind = match record {
            Some(Record::Intent(intent)) => {
                self.intent = Some(*intent);
                "intent".to_owned()
            }
            Some(Record::Image(image)) => {
                self.image = Some((lsn, *image));
                "image".to_owned()
            }
            Some(Record::Mark(mark)) => format!("mark {}", mark.state),
            Some(Record::Checkpoint(_)) => "checkpoint".to_owned(),
            Some(Record::Asked(asked)) => asked.words(),
            Some(Record::Declined(declined)) => format!("declined: {}", declined.failure.detail),
            Some(Record::Lost(_)) => "lost".to_owned(),
            None => "unreadable".to_owned(),
        };
        self.records.push((lsn, kind));
    }

    pub(crate) fn to_json(&self, source: &str) -> Result<Map<String, Value>, serde_json::Error> {
        let mut members = self.op.to_json(source)?;
        let intent = self.intent.as_ref();
        let mut add = |name: &str, value: Value| members.insert(name.to_owned(), value);
        add("operation", intent.map_or(Value::Null, |intent| Value::Object(intent.op.to_json())));
        add("uid", intent.and_then(|intent| intent.caller.uid).into());
        add("wants_vectors", intent.map(|intent| intent.wants_vectors).into());
        add("image", self.image.as_ref().map_or(Value::Null, |(lsn, image)| image_json(*lsn, image)));
        let lanes = self.lanes.iter().map(|(lane, access)| json!({"lane": lane.to_string(), "access": name(*access)}));
        add("lanes", lanes.collect());
        add("records", self.records.iter().map(|(lsn, kind)| json!({"lsn": lsn, "kind": kind})).collect());
        Ok(members)
    }
}

/// What the stores held before: that there is an image, and of what; its bytes are the store's own.
fn image_json(lsn: Lsn, image: &ImageRecord) -> Value {
    let before = image.before.iter().map(|Before { key, raw, version }| {
        json!({"key": key, "found": raw.is_some(), "version": version, "bytes": raw.as_ref().map(Vec::len)})
    });
    let gone = |edges: &[(String, Option<Version>)]| -> Vec<Value> {
        edges.iter().map(|(key, version)| json!({"key": key, "version": version})).collect()
    };
    let (outcome, edges) = match &image.outcome {
        ImageOutcome::AsAsked => ("as_asked", Vec::new()),
        ImageOutcome::Resolved { .. } => ("resolved", Vec::new()),
        ImageOutcome::Removes { edges } | ImageOutcome::RemovesPoint { edges, .. } => ("removes", gone(edges)),
        ImageOutcome::Group { members, .. } => {
            let edges = members.iter().flat_map(|member| match member {
                MemberOutcome::AsAsked | MemberOutcome::Resolved { .. } => Vec::new(),
                MemberOutcome::Removes { edges } | MemberOutcome::RemovesPoint { edges, .. } => gone(edges),
            });
            ("group", edges.collect())
        }
    };
    json!({"lsn": lsn, "before": before.collect::<Vec<_>>(), "outcome": outcome, "edges": edges})
}

/// An access, by name.
pub(crate) const fn name(access: Access) -> &'static str {
    match access {
        Access::Read => "read",
        Access::Write => "write",
    }
}
