//! Which operations stand in an operation's way, and behind it.

use std::collections::BTreeSet;

use lockstep_model::{Access, LaneId, Lsn, State};
use lockstep_wal::{Decision, Intent, OpHead, Record, plan};
use serde_json::{Value, json};

use crate::daemon::Daemon;
use crate::directory::Directory;
use crate::failure::Failure;
use crate::waits::meet;

/// So many are told, all are counted.
const TOLD: usize = 10;
/// A daemon is asked for so many of its newest operations.
const LOOKED_AT: usize = 10_000;

/// Operations on one side of another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Side {
    pub(crate) count: u64,
    /// The oldest of them: place, kind and key.
    pub(crate) oldest: Vec<(Lsn, String, Option<String>)>,
}

/// The open operations that meet another in its lanes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Neighbours {
    /// Older ones: it starts when they have ended.
    pub(crate) ahead: Side,
    /// Younger ones: they start when it has ended.
    pub(crate) behind: Side,
}

impl Side {
    fn add(&mut self, lsn: Lsn, intent: &Intent) {
        let action = &intent.op.action;
        let key = action.subject().map(|key| key.to_string());
        self.add_named(lsn, action.kind().as_str().to_owned(), key);
    }

    fn add_named(&mut self, lsn: Lsn, op: String, key: Option<String>) {
        self.count += 1;
        if self.oldest.len() < TOLD {
            self.oldest.push((lsn, op, key));
        }
    }

    pub(crate) fn json(&self) -> Value {
        let oldest = self.oldest.iter().map(|(lsn, op, key)| json!({"lsn": lsn, "op": op, "key": key}));
        json!({"count": self.count, "oldest": oldest.collect::<Vec<_>>()})
    }
}

impl Neighbours {
    /// In the log's directory. What has ended, and what is parked, stands in no lane.
    pub(crate) fn in_directory(log: &Directory, lsn: Lsn, lanes: &[(LaneId, Access)]) -> Self {
        let mut found = Self::default();
        if log.states.of(lsn).is_some_and(State::is_open) {
            for (other, intent) in log.skim_open() {
                if other != lsn && meet(lanes, &intent.op.action.lanes()) {
                    let side = if other < lsn { &mut found.ahead } else { &mut found.behind };
                    side.add(other, &intent);
                }
            }
        }
        found
    }

    /// As the daemon tells: it names the youngest operation in the way.
    pub(crate) fn at_daemon(daemon: &Daemon, lsn: Lsn, waiting_for: Option<&str>) -> Result<Self, Failure> {
        let mut found = Self::default();
        let name = format!("lsn:{lsn}");
        let mut behind = daemon.newest(LOOKED_AT)?;
        behind.retain(|view| view.waiting_for.as_deref() == Some(&name));
        for view in behind.into_iter().rev() {
            found.behind.add_named(view.lsn, view.op, view.key);
        }
        let ahead = waiting_for.and_then(|what| what.strip_prefix("lsn:")).and_then(|lsn| lsn.parse().ok());
        if let Some(ahead) = ahead {
            found.ahead.add_named(Lsn(ahead), "operation".to_owned(), None);
        }
        Ok(found)
    }
}

/// What a start would do with one operation. Whether a committed one is overtaken is up to those that it shares a lane with, so
/// these are folded with it and no others.
pub(crate) fn decision(log: &Directory, lsn: Lsn, lanes: &[(LaneId, Access)]) -> Option<(Decision, OpHead)> {
    let mut only = BTreeSet::from([lsn]);
    if log.states.of(lsn) == Some(State::Committed) {
        let is_later = |other: Lsn| other > lsn && log.states.of(other) == Some(State::Committed);
        let records = log.raw.records_where(|other, kind| kind == Record::INTENT && is_later(other));
        only.extend(records.filter_map(Result::ok).filter_map(|found| match Record::skim(&found.entry) {
            Ok(Record::Intent(intent)) => {
                let theirs = intent.op.action.lanes();
                theirs.iter().any(|(lane, _)| lanes.iter().any(|(own, _)| own == lane)).then_some(found.lsn)
            }
            Ok(_) | Err(_) => None,
        }));
    }
    let mut fold = log.fold(Some(&only));
    let decision = plan(&fold).into_iter().find(|&(found, _)| found == lsn).map(|(_, decision)| decision)?;
    Some((decision, fold.ops.remove(&lsn)?))
}
