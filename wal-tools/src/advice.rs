//! What an operator can do about an operation, with the commands.

use std::path::Path;

use lockstep_api::OpView;
use lockstep_model::State;
use serde::Serialize;

use crate::op::ShownOp;
use crate::text::quoted;

/// Something to do, or that nothing is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Advice {
    /// In words.
    pub(crate) advice: String,
    /// The commands, as a shell takes them.
    pub(crate) commands: Vec<String>,
}

impl Advice {
    /// The log is not whole: that comes before anything about one operation.
    pub(crate) fn for_damage(dir: &Path) -> Self {
        Self {
            advice:
                "First the log: lockstepd refuses to start on one that is not whole. What is wrong, and what to do:"
                    .to_owned(),
            commands: vec![Where::Directory(dir).wal_tools("verify")],
        }
    }
}

/// Where commands are to look.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Where<'a> {
    /// A log that no daemon has.
    Directory(&'a Path),
    /// A daemon, and its log's directory, where that can be read.
    Daemon(&'a Path, Option<&'a Path>),
}

impl Where<'_> {
    fn wal_tools(self, command: &str) -> String {
        match self {
            Self::Directory(dir) => format!("wal-tools --wal {} {command}", quoted(dir)),
            Self::Daemon(socket, _) => format!("wal-tools --socket {} {command}", quoted(socket)),
        }
    }

    fn lockstep(self, command: &str) -> String {
        match self {
            Self::Directory(_) => format!("lockstep {command}"),
            Self::Daemon(socket, _) => format!("lockstep --socket {} {command}", quoted(socket)),
        }
    }
}

/// What can be done about the operation. `no_way_back`: why it cannot be taken back, where that is known.
pub(crate) fn advice(op: &ShownOp, place: Where<'_>, no_way_back: Option<&str>) -> Vec<Advice> {
    let view = &op.view;
    let one = |advice: &str, commands: Vec<String>| vec![Advice { advice: advice.to_owned(), commands }];
    match view.state {
        State::Committed => one("Nothing is to be done.", Vec::new()),
        State::RolledBack => match place {
            Where::Directory(dir) | Where::Daemon(_, Some(dir)) if op.left != Some(true) => one(
                "Neither store shows it. Once the cause is gone, send it again (change what was refused; its idempotency key \
                 would give the same answer):",
                vec![format!(
                    "{} | jq -c '.operation | del(.idempotency_key)' | {}",
                    Where::Directory(dir).wal_tools(&format!("dump --from {0} --to {0}", view.lsn)),
                    place.lockstep("bulk -")
                )],
            ),
            Where::Directory(_) | Where::Daemon(..) => one(
                "Neither store shows it. Once the cause is gone, send it again, without its idempotency key.",
                Vec::new(),
            ),
        },
        State::Discarded => one("An operator gave it up. Nothing is to be done.", Vec::new()),
        State::Parked => parked(view, place, no_way_back),
        State::Pending | State::SurrealCompleted | State::QdrantCompleted | State::Compensating => open(view, place),
    }
}

fn parked(view: &OpView, place: Where<'_>, no_way_back: Option<&str>) -> Vec<Advice> {
    let lsn = view.lsn;
    let choice = |advice: &str, command: &str| Advice {
        advice: advice.to_owned(),
        commands: vec![place.wal_tools(&format!("{command} {lsn}"))],
    };
    vec![
        choice("Log it again as a new operation, once the cause is gone:", "retry"),
        match no_way_back {
            None => choice("Take back what it did:", "rollback"),
            Some(why) => Advice { advice: format!("It cannot be taken back: {why}."), commands: Vec::new() },
        },
        choice("Leave the stores as they are and give it up:", "discard"),
        Advice {
            advice: "Each says first what it would do; with --write it does it. Other operations go on meanwhile."
                .to_owned(),
            commands: Vec::new(),
        },
    ]
}

fn open(view: &OpView, place: Where<'_>) -> Vec<Advice> {
    let one = |advice: String, commands: Vec<String>| vec![Advice { advice, commands }];
    let ahead = view.waiting_for.as_deref().and_then(|what| what.strip_prefix("lsn:"));
    let mut all = match place {
        Where::Directory(_) => one("Start lockstepd: it goes on by itself.".to_owned(), Vec::new()),
        Where::Daemon(..) => match view.waiting_for.as_deref().and_then(|what| what.split_once(':')) {
            Some(("store", store)) => one(
                format!("Bring {store} back; it is tried again by itself. What lockstepd sees of it:"),
                vec![place.lockstep("status")],
            ),
            Some(("table", table)) => one(
                format!("Table {table} is paused. Put right what its detail in the status says, then let it go on:"),
                vec![place.lockstep("status"), place.lockstep(&format!("resume {table}"))],
            ),
            Some(_) | None => one("Nothing is to be done: it goes on by itself.".to_owned(), Vec::new()),
        },
    };
    if let Some(ahead) = ahead {
        let commands = vec![place.wal_tools(&format!("explain {ahead}"))];
        all.push(Advice { advice: "What it waits for:".to_owned(), commands });
    }
    all
}
