//! Where answers and errors go.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use lockstep_api::Answer;
use serde_json::Value;

use crate::failure::Failure;

/// Answers go to stdout, errors to stderr. A reader that has gone away is no error: what was asked was
/// done all the same.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    pub(crate) const fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether programs read this.
    pub(crate) const fn is_json(self) -> bool {
        self.json
    }

    /// Prints an answer: as the daemon wrote it, or as `human` tells it.
    pub(crate) fn answer<T>(self, answer: &Answer<T>, human: impl FnOnce(&T) -> String) -> Result<(), Failure> {
        let text = if self.json { answer.json.trim_ascii().to_owned() } else { human(&answer.body).into_bytes() };
        print(&text).map(drop)
    }

    /// Prints `value` for programs, or what `human` tells.
    pub(crate) fn value(self, value: &Value, human: impl Display) -> Result<(), Failure> {
        self.row(value, human).map(drop)
    }

    /// The same for one of many. Whether somebody still reads them: whoever has no end of rows must know.
    pub(crate) fn row(self, value: &Value, human: impl Display) -> Result<bool, Failure> {
        let text = if self.json { value.to_string() } else { human.to_string() };
        print(text.as_bytes())
    }

    /// Prints a value for programs; people do not get it.
    pub(crate) fn json(self, value: &Value) -> Result<(), Failure> {
        if self.json { print(value.to_string().as_bytes()).map(drop) } else { Ok(()) }
    }

    /// Prints a line for people; programs do not get it.
    pub(crate) fn line(self, text: impl Display) -> Result<(), Failure> {
        if self.json { Ok(()) } else { print(text.to_string().as_bytes()).map(drop) }
    }

    /// Says on stderr why a command failed.
    pub(crate) fn failure(self, failure: &Failure) -> ExitCode {
        if self.json {
            complain(failure.json());
        } else {
            self.warning(failure.chain());
        }
        ExitCode::from(failure.exit_code())
    }

    /// Says on stderr what people should know.
    pub(crate) fn warning(self, text: impl Display) {
        complain(format_args!("lockstep: {text}"));
    }
}

/// Whether somebody read it.
fn print(text: &[u8]) -> Result<bool, Failure> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(text).and_then(|()| stdout.write_all(b"\n")).and_then(|()| stdout.flush());
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::Output(error)),
    }
}

/// If stderr is closed as well, nobody is left to be told.
fn complain(text: impl Display) {
    drop(writeln!(io::stderr(), "{text}"));
}
