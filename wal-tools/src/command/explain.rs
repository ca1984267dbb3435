//! `wal-tools explain`

use clap::Args;
use lockstep_model::{Lsn, State};
use lockstep_wal::{Decision, Fold, OpHead, Verdict, plan};
use serde_json::{Map, Value, json};

use crate::advice::{Advice, Where, advice};
use crate::command::show::{Whole, has_left, in_directory, named};
use crate::daemon::Daemon;
use crate::directory::{Directory, Look};
use crate::explain_text::{happened, lines, meaning};
use crate::failure::Failure;
use crate::finding::Severity;
use crate::holder::Holder;
use crate::judge::{Judged, judge};
use crate::neighbours::{Neighbours, decision};
use crate::op::ShownOp;
use crate::outcome::Outcome;
use crate::output::Output;
use crate::place::Place;
use crate::source::Source;
use crate::target::Target;

/// Explain one operation: what was asked, what happened, what it waits for, what a restart would do, what you can do
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Its place in the log, or its id
    #[arg(value_name = "LSN|OP_ID")]
    target: Target,
}

const EXAMPLES: &str = "\
Examples:
  wal-tools explain 42
  wal-tools explain 0193b2c4-0000-7000-8000-00000000002a
  wal-tools --json explain 42 | jq -r '.actions[].commands[]'";

/// All that there is to say.
#[derive(Debug)]
pub(crate) struct Explained {
    pub(crate) whole: Whole,
    pub(crate) neighbours: Neighbours,
    /// What a start would do, and why; none where the log would have to be read for it.
    pub(crate) restart: Option<(Decision, &'static str)>,
    pub(crate) actions: Vec<Advice>,
    /// Whether a start would open the log at all.
    pub(crate) is_whole: bool,
}

impl Arguments {
    pub(crate) fn run(self, place: Place, output: &mut Output) -> Result<Outcome, Failure> {
        let dir = if let Place::Directory(dir) = &place { Some(dir.clone()) } else { None };
        match Source::find(place, output)? {
            Source::Directory(log) => {
                log.warn_of_damage(output);
                let explained = Explained::in_directory(&log, self.target)?;
                let named = format!("directory {}", log.path.display());
                print(&explained, "directory", &named, output)?;
                let is_parked = explained.whole.op.view.state == State::Parked;
                Ok(Outcome::findings(is_parked || log.worst() == Severity::Damage))
            }
            Source::Daemon(daemon) => {
                // The daemon tells how it stands; what it carries and who meets it in its lanes the directory tells.
                let log = dir.and_then(|dir| Directory::read(&dir, Holder::of(&dir).as_ref(), Look::Skim).ok());
                let explained = Explained::at_daemon(&daemon, log.as_ref(), self.target)?;
                print(&explained, "daemon", &named(&daemon), output)?;
                Ok(Outcome::findings(explained.whole.op.view.state == State::Parked))
            }
        }
    }
}

fn print(explained: &Explained, source: &str, named: &str, output: &mut Output) -> Result<(), Failure> {
    if output.is_json() {
        return output.line(Value::Object(explained.json(source)?));
    }
    lines(explained, named).into_iter().try_for_each(|line| output.line(line))
}

impl Explained {
    fn in_directory(log: &Directory, target: Target) -> Result<Self, Failure> {
        let whole = in_directory(log, target)?;
        let lsn = target.lsn();
        let neighbours = Neighbours::in_directory(log, lsn, &whole.lanes);
        let restart = decision(log, lsn, &whole.lanes).map(|(decision, head)| (decision, decision.reason(&head)));
        let mut actions = advice(&whole.op, Where::Directory(&log.path), no_way_back(log, lsn).as_deref());
        let is_whole = log.worst() < Severity::Damage;
        if !is_whole {
            actions.insert(0, Advice::for_damage(&log.path));
        }
        Ok(Self { whole, neighbours, restart, actions, is_whole })
    }

    fn at_daemon(daemon: &Daemon, log: Option<&Directory>, target: Target) -> Result<Self, Failure> {
        let view = daemon.op(target)?.into_body();
        let (lsn, version) = (view.lsn, view.version);
        let waiting_for = view.waiting_for.clone();
        let state = view.state;
        let mut whole = Whole::of(ShownOp::of_daemon(view));
        whole.op.left = log.and_then(|log| has_left(&log.raw, lsn));
        // The very same operation, or another log lies in the directory.
        let same = log.and_then(|log| Some((log, in_directory(log, Target::Place(lsn)).ok()?)));
        let same = same.filter(|(_, read)| version.is_some() && read.op.view.version == version);
        let why = same.as_ref().and_then(|(log, _)| no_way_back(log, lsn));
        let place = Where::Daemon(daemon.socket(), log.map(|log| log.path.as_path()));
        let actions = advice(&whole.op, place, why.as_deref());
        let (neighbours, restart) = match same {
            Some((log, read)) => {
                let neighbours = Neighbours::in_directory(log, lsn, &read.lanes);
                let restart =
                    decision(log, lsn, &read.lanes).map(|(decision, head)| (decision, decision.reason(&head)));
                whole = Whole { op: whole.op, ..read };
                (neighbours, restart)
            }
            None => (Neighbours::at_daemon(daemon, lsn, waiting_for.as_deref())?, by_state(lsn, state)),
        };
        // It is open already.
        Ok(Self { whole, neighbours, restart, actions, is_whole: true })
    }

    fn json(&self, source: &str) -> Result<Map<String, Value>, Failure> {
        let mut members = self.whole.to_json(source)?;
        let happened = happened(&self.whole).into_iter().map(|(at, what)| json!({"at": at, "what": what}));
        let restart = self.restart.map(|(decision, why)| json!({"decision": decision.as_str(), "reason": why}));
        for (name, value) in [
            ("happened", happened.collect()),
            ("meaning", meaning(self.whole.op.view.state).into()),
            ("ahead", self.neighbours.ahead.json()),
            ("behind", self.neighbours.behind.json()),
            ("restart", restart.into()),
            ("starts", self.is_whole.into()),
            ("actions", serde_json::to_value(&self.actions)?),
        ] {
            members.insert(name.to_owned(), value);
        }
        Ok(members)
    }
}

/// Why what is parked cannot be taken back, if the log tells that already: what would be refused is not offered.
fn no_way_back(log: &Directory, lsn: Lsn) -> Option<String> {
    if log.states.of(lsn) != Some(State::Parked) {
        return None;
    }
    let fold = log.fold(None);
    match judge(&fold, lsn, fold.ops.get(&lsn)?, Verdict::Rollback) {
        Judged::Cannot(why) => Some(why),
        Judged::Would(_) | Judged::Nothing(_) => None,
    }
}

/// What a start would do with an operation of which only the state is known. What becomes of a committed one is up to others.
fn by_state(lsn: Lsn, state: State) -> Option<(Decision, &'static str)> {
    let head = OpHead { state, ..OpHead::default() };
    let mut fold = Fold::new();
    fold.ops.insert(lsn, head.clone());
    let known = (state != State::Committed).then(|| plan(&fold))?;
    known.first().map(|&(_, decision)| (decision, decision.reason(&head)))
}
