//! `wal-tools plan`

use std::collections::BTreeMap;

use clap::Args;
use lockstep_model::Lsn;
use lockstep_wal::{Decision, Fold, plan};
use serde_json::{Value, json};

use crate::directory::{Directory, Look};
use crate::failure::Failure;
use crate::finding::Severity;
use crate::op::ShownOp;
use crate::outcome::Outcome;
use crate::output::Output;
use crate::place::Place;
use crate::source::directory;
use crate::text::{COLUMNS, count, counted, cut, labelled, paragraph, plain};
use crate::trial::Trial;

/// Show what a start of lockstepd would do with each operation in the log, and why
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Also operations that have ended and of which nothing is left to do
    #[arg(long)]
    all: bool,
    /// Show at most so many operations, the oldest; all are counted
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Do not try whether sled opens the log: only its records are looked at
    #[arg(long)]
    no_trial: bool,
    #[command(flatten)]
    trial: Trial,
}

const EXAMPLES: &str = "\
The decisions are those that recovery itself takes, by the same code. They need the log alone: what the stores
answer can still change the end of an operation (a refusal takes it back). A damaged log has no plan: a start
refuses it; what would be done with the part that can be read is shown all the same. Whether a log that looks whole
can be opened is tried on a copy of it (--no-trial: it is not).

  redo          carried on from the first store; what is there already is recognised and kept
  undo          taken back
  verify        committed: both stores are looked at, and what is missing is written again
  overtaken     committed, and something later decides what its key shows
  leave_parked  an operator decides
  ended         nothing to do

Examples:
  wal-tools plan
  wal-tools --data /var/lib/lockstep --json plan | jq .counts
  wal-tools --json plan --all --limit 1000000 | jq -c '.ops[] | select(.decision == \"undo\")'";

/// In this order they are counted.
const DECISIONS: [Decision; 6] =
    [Decision::Redo, Decision::Undo, Decision::Verify, Decision::Overtaken, Decision::LeaveParked, Decision::Ended];

/// The plan for a log.
struct Plan {
    fold: Fold,
    decisions: Vec<(Lsn, Decision)>,
    waits: BTreeMap<Lsn, Lsn>,
}

impl Arguments {
    pub(crate) fn run(self, place: Place, output: &mut Output) -> Result<Outcome, Failure> {
        let mut log = directory(place, "plan", Look::Whole, output)?;
        if !self.no_trial {
            self.trial.judge(&mut log, output)?;
        }
        let fold = log.fold(None);
        let waits = log.waits(&fold).into_iter().collect();
        let plan = Plan { decisions: plan(&fold), fold, waits };
        if output.is_json() {
            output.line(self.json(&log, &plan)?)?;
        } else {
            self.tell(&log, &plan, output)?;
        }
        log.warn_of_damage(output);
        Ok(Outcome::findings(log.worst().is_finding()))
    }

    /// The operations to show, and how many more there are.
    fn shown(&self, plan: &Plan) -> (Vec<(Lsn, Decision, ShownOp)>, u64) {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let wanted = |decision: Decision| self.all || !matches!(decision, Decision::Ended | Decision::Overtaken);
        let mut all = plan.decisions.iter().filter(|&&(_, decision)| wanted(decision));
        let shown = all.by_ref().take(limit).filter_map(|&(lsn, decision)| {
            let head = plan.fold.ops.get(&lsn)?;
            Some((lsn, decision, ShownOp::of_head(None, lsn, head, plan.waits.get(&lsn).copied())))
        });
        let shown = shown.collect();
        (shown, all.count() as u64)
    }

    fn json(&self, log: &Directory, plan: &Plan) -> Result<Value, Failure> {
        let (shown, more) = self.shown(plan);
        let mut ops = Vec::with_capacity(shown.len());
        for (lsn, decision, op) in shown {
            ops.push(json!({
                "lsn": lsn,
                "op": op.view.op,
                "key": op.view.key,
                "state": op.view.state,
                "decision": decision.as_str(),
                "reason": plan.reason(lsn, decision),
                "after": plan.waits.get(&lsn),
            }));
        }
        let counts = plan.counts();
        let counts = DECISIONS.iter().map(|&decision| (decision.as_str(), counts.of(decision)));
        Ok(json!({
            "source": "directory",
            "path": log.path.display().to_string(),
            "starts": log.worst() < Severity::Damage,
            "counts": counts.collect::<BTreeMap<_, _>>(),
            "ops": ops,
            "more": more,
            "findings": log.findings,
        }))
    }

    fn tell(&self, log: &Directory, plan: &Plan, output: &mut Output) -> Result<(), Failure> {
        output.line(labelled("source", &format!("directory {}", log.path.display())))?;
        if log.worst() == Severity::Damage {
            let said = "refuses this log: it is not whole. What it would do with what can be read:";
            output.line(paragraph("a start", said))?;
        }
        let counts = plan.counts();
        let some = DECISIONS.iter().filter(|&&decision| counts.of(decision) > 0);
        let said: Vec<String> =
            some.map(|&decision| format!("{} {}", count(counts.of(decision)), decision.as_str())).collect();
        let all = counted(plan.decisions.len() as u64, "operation");
        output.line(paragraph("plan", &if said.is_empty() { all } else { format!("{all}: {}", said.join(", ")) }))?;
        let (shown, more) = self.shown(plan);
        for (lsn, decision, op) in shown {
            let key = op.view.key.as_deref().map_or_else(String::new, |key| format!("  {}", plain(key)));
            let line =
                format!("{lsn:>10}  {:<12}  {:<8}  {:<17}{key}", decision.as_str(), op.view.op, op.view.state.as_str());
            output.line(cut(&line, COLUMNS))?;
            output.line(paragraph("", &plan.reason(lsn, decision)))?;
        }
        if more > 0 {
            output.line(format_args!("and {}: --limit", counted(more, "more operation")))?;
        }
        Ok(())
    }
}

impl Plan {
    fn reason(&self, lsn: Lsn, decision: Decision) -> String {
        let reason = self.fold.ops.get(&lsn).map_or("", |head| decision.reason(head));
        match self.waits.get(&lsn) {
            Some(ahead) => format!("{reason}; after operation {ahead}, which is older and in its way"),
            None => reason.to_owned(),
        }
    }

    fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for (_, decision) in &self.decisions {
            *counts.0.entry(decision.as_str()).or_default() += 1;
        }
        counts
    }
}

#[derive(Debug, Default)]
struct Counts(BTreeMap<&'static str, u64>);

impl Counts {
    fn of(&self, decision: Decision) -> u64 {
        self.0.get(decision.as_str()).copied().unwrap_or(0)
    }
}
