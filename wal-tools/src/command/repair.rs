//! `wal-tools repair`

use std::ops::ControlFlow;
use std::path::Path;

use clap::Args;
use lockstep_model::LogId;
use lockstep_wal::Caller;
use lockstep_wal::repair::{
    Affected, Effect, LostRecords, RepairOptions, Repaired, Survey, finish_interrupted, repair,
};
use serde_json::json;
use uuid::Uuid;

use crate::failure::Failure;
use crate::holder::Holder;
use crate::outcome::Outcome;
use crate::output::Output;
use crate::owner;
use crate::place::Place;
use crate::text::{count, counted, cut, labelled, now_us, paragraph, plain};
use crate::trial::Trial;

/// So many lost records and operations are told to people; the report and --json have all.
const TOLD: usize = 10;

/// Put what cannot be read aside, and make a log of the rest that opens
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Do it
    #[arg(long)]
    write: bool,
    /// Make the log anew even if nothing is found that needs it
    #[arg(long)]
    rebuild: bool,
    /// Do not keep the old log
    #[arg(long, requires = "write")]
    no_backup: bool,
    /// No newer Lockstep wrote this log: what looks like a newer format is damage
    #[arg(long)]
    not_newer: bool,
    /// The log's id, where neither of its files tells it
    #[arg(long, value_name = "UUID")]
    id: Option<Uuid>,
    #[command(flatten)]
    trial: Trial,
}

const EXAMPLES: &str = "\
Without --write it says what is lost and what would follow, and changes nothing. With --write all that can be
read goes into a new log, which takes the old one's place in one step; the old one stays beside it as
DIR.damaged-1, byte for byte. What cannot be read, with a report, is in DIR/quarantine.

Open operations that stand before a lost record are parked: they may have ended in it. Committed ones before it
are not written again by themselves: it may have removed them. What stands behind it goes on. Stop lockstepd first.

Examples:
  wal-tools repair
  wal-tools --data /var/lib/lockstep repair --write
  wal-tools --json repair | jq .lost

Exit codes: 0 nothing needs a repair, or it is repaired and nothing was lost; 1 something would be, or was, lost or
parked; 3 it cannot be repaired.";

/// What there is to do.
enum Need {
    Nothing,
    /// Why the log has to be made anew.
    Rebuild(Vec<String>),
}

impl Arguments {
    pub(crate) fn run(self, place: Place, output: &mut Output) -> Result<Outcome, Failure> {
        let Place::Directory(dir) = place else { return Err(Failure::NeedsDirectory { command: "repair" }) };
        if let Some(holder) = Holder::of(&dir) {
            return Err(Failure::HeldLog { dir, holder: holder.name() });
        }
        let uid = owner::real_uid();
        if self.write {
            // In the middle of a swap the directory itself may be missing; its owner is the parent's then.
            owner::become_owner(&dir).or_else(|failure| if dir.exists() { Err(failure) } else { Ok(()) })?;
            if finish_interrupted(&dir).map_err(Failure::Repair)? {
                output.warning("an earlier repair was cut short: what it had begun is cleared up");
            }
        }
        let survey = Survey::of(&dir, self.not_newer).map_err(Failure::Repair)?;
        let need = self.need(&survey, &dir, output)?;
        let repaired = match &need {
            Need::Rebuild(_) if self.write => {
                let options = RepairOptions {
                    caller: Caller { uid: Some(uid) },
                    at_us: now_us(),
                    id: self.id.map(LogId),
                    keep_old: !self.no_backup,
                    not_newer: self.not_newer,
                };
                let go_on = &mut |_| ControlFlow::Continue(());
                Some(repair(&dir, &options, go_on).map_err(Failure::Repair)?)
            }
            Need::Rebuild(_) | Need::Nothing => None,
        };
        let told = Told { dir: &dir, survey: &survey, need: &need, repaired: repaired.as_ref(), write: self.write };
        if output.is_json() {
            told.json(output)?
        } else {
            told.text(output)?
        }
        let undone = matches!(need, Need::Rebuild(_)) && repaired.is_none();
        Ok(Outcome::findings(undone || !survey.lost().is_empty() || parked(&survey) > 0))
    }

    fn need(&self, survey: &Survey, dir: &Path, output: &Output) -> Result<Need, Failure> {
        let mut why: Vec<String> = survey.damage().iter().map(ToString::to_string).collect();
        if why.is_empty() && !survey.is_whole() {
            why.push(format!("records {} cannot be understood", survey.lost()));
        }
        if self.rebuild {
            why.push("asked for with --rebuild".to_owned());
        }
        if why.is_empty() {
            let refused = self.trial.refused(survey.durable(), dir, output)?;
            why.extend(refused.map(|refused| format!("every record is whole, and yet: {refused}")));
        }
        Ok(if why.is_empty() { Need::Nothing } else { Need::Rebuild(why) })
    }
}

fn parked(survey: &Survey) -> usize {
    of(survey, Effect::Parked).count()
}

fn of(survey: &Survey, effect: Effect) -> impl Iterator<Item = &Affected> {
    survey.affected().iter().filter(move |affected| affected.effect == effect)
}

struct Told<'a> {
    dir: &'a Path,
    survey: &'a Survey,
    need: &'a Need,
    repaired: Option<&'a Repaired>,
    write: bool,
}

impl Told<'_> {
    fn json(&self, output: &mut Output) -> Result<(), Failure> {
        let why = match self.need {
            Need::Nothing => &[][..],
            Need::Rebuild(why) => why,
        };
        output.line(json!({
            "source": "directory",
            "path": self.dir.display().to_string(),
            "write": self.write,
            "needed": !why.is_empty(),
            "why": why,
            "done": self.repaired.is_some(),
            "kept_records": self.survey.kept(),
            "lost_records": self.survey.lost().count(),
            "end_is_known": !self.survey.is_end_unknown(),
            "copy": self.survey.copy().map(|copy| copy.display().to_string()),
            "lost": self.survey.lost_records(),
            "affected": self.survey.affected(),
            "old": self.repaired.and_then(|repaired| Some(repaired.old.as_ref()?.display().to_string())),
            "report": self.repaired.map(|repaired| repaired.report.display().to_string()),
        }))
    }

    fn text(&self, output: &mut Output) -> Result<(), Failure> {
        output.line(labelled("source", &format!("directory {}", self.dir.display())))?;
        let Need::Rebuild(why) = self.need else {
            return output.line(labelled("result", "nothing to repair"));
        };
        for why in why.iter().take(TOLD) {
            output.line(paragraph("found", why))?;
        }
        if let Some(copy) = self.survey.copy() {
            let said = format!("{}, from before sled touched the log, was read with it", copy.display());
            output.line(paragraph("copy", &said))?;
        }
        let kept = counted(self.survey.kept(), "record");
        output.line(labelled("kept", &format!("{kept}, all that can be read")))?;
        let lost = self.survey.lost_records();
        output.line(labelled("lost", &counted(self.survey.lost().count(), "record")))?;
        for lost in lost.iter().take(TOLD) {
            output.line(labelled("", &said(lost)))?;
        }
        more(lost.len(), output)?;
        if self.survey.is_end_unknown() {
            output.line(paragraph("end", "how far the log went is not known: an end that is lost does not show"))?;
        }
        for (effect, label, follows) in [
            (Effect::Parked, "parked", "they stood before what is lost and may have ended in it"),
            (
                Effect::NotVerified,
                "left alone",
                "committed before what is lost, which may have removed or replaced them",
            ),
            (Effect::FollowsLost, "follow", "they stand on keys of lost operations, behind them, and go on"),
        ] {
            let found: Vec<&Affected> = of(self.survey, effect).collect();
            if found.is_empty() {
                continue;
            }
            let named = counted(found.len() as u64, "operation");
            output.line(paragraph(label, &format!("{named}: {follows}")))?;
            for affected in found.iter().take(TOLD) {
                let key = affected.key.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
                output.line(labelled("", &format!("{:>10}  {:<17}  {}", affected.op, affected.state, plain(&key))))?;
            }
            more(found.len(), output)?;
        }
        let Some(repaired) = self.repaired else {
            return output.line(labelled("result", "nothing was done: add --write to do it"));
        };
        output.line(paragraph("report", &repaired.report.display().to_string()))?;
        let old = match &repaired.old {
            Some(old) => format!("repaired; the old log is in {}", old.display()),
            None => "repaired; the old log is gone".to_owned(),
        };
        output.line(paragraph("result", &old))
    }
}

fn said(lost: &LostRecords) -> String {
    let place = if lost.lsn == lost.last { lost.lsn.to_string() } else { format!("{} to {}", lost.lsn, lost.last) };
    let kind = lost.kind.unwrap_or("not known what");
    let key = match (&lost.key, lost.key_is_certain) {
        (Some(key), true) => format!(", {key}"),
        (Some(key), false) => format!(", perhaps {key}"),
        (None, _) => String::new(),
    };
    cut(&plain(&format!("{place}: {kind}{key} ({})", lost.reason)), 88)
}

fn more(found: usize, output: &mut Output) -> Result<(), Failure> {
    match found.checked_sub(TOLD).filter(|more| *more > 0) {
        Some(more) => output.line(labelled("", &format!("and {} more: --json tells all", count(more as u64)))),
        None => Ok(()),
    }
}
