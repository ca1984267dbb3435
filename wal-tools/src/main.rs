//! `wal-tools`: what the log of Lockstep says, with or without the daemon.
//!
//! Every command is a file of its name in `command`. Without `--write` a directory is read raw: no byte of it is changed,
//! nothing is locked, and sled sees copies of it alone (P8). If a daemon has the directory, it is asked over its socket where it
//! has an answer, since a log that is being written cannot be read in peace. Every answer says which of the two
//! it comes from.
//!
//! Answers go to stdout, errors and warnings to stderr. Exit codes: 0 clean, 1 findings, 2 usage, 3 unreadable.
//! The stores are not known here: this builds and works where their clients do not.

mod advice;
mod arguments;
mod command;
mod daemon;
mod decision;
mod directory;
mod explain_text;
mod failure;
mod finding;
mod holder;
mod judge;
mod leftovers;
mod neighbours;
mod offline;
mod op;
mod outcome;
mod output;
mod owner;
mod pages;
mod paint;
mod place;
mod selection;
mod show_text;
mod source;
mod target;
mod text;
mod trial;
mod waits;

use std::process::ExitCode;

use crate::arguments::Arguments;
use crate::output::Output;

fn main() -> ExitCode {
    let arguments = lockstep_api::help::parse::<Arguments>();
    let mut output = Output::new(arguments.json);
    let outcome = arguments.run(&mut output).and_then(|outcome| output.finish().map(|()| outcome));
    match outcome {
        Ok(outcome) => outcome.into(),
        Err(failure) => output.failure(&failure),
    }
}
