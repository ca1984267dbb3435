//! Where answers and errors go.

use std::fmt::Display;
use std::io::{self, BufWriter, ErrorKind, Stdout, Write};
use std::process::ExitCode;

use anstream::{AutoStream, ColorChoice};

use crate::failure::Failure;
use crate::paint::painted;

/// Answers go to stdout, the rest to stderr. A reader that has gone away is no error: it has seen enough.
#[derive(Debug)]
pub(crate) struct Output {
    json: bool,
    /// A terminal that shows colours, and people in front of it.
    is_coloured: bool,
    out: BufWriter<Stdout>,
    gone: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        let is_coloured = !json && AutoStream::choice(&io::stdout()) != ColorChoice::Never;
        Self { json, is_coloured, out: BufWriter::new(io::stdout()), gone: false }
    }

    /// Whether programs read this.
    pub(crate) const fn is_json(&self) -> bool {
        self.json
    }

    /// Whether nobody reads any more, so that long answers may end.
    pub(crate) const fn is_gone(&self) -> bool {
        self.gone
    }

    /// Prints a line of the answer.
    pub(crate) fn line(&mut self, text: impl Display) -> Result<(), Failure> {
        if self.gone {
            return Ok(());
        }
        let written = if self.is_coloured {
            writeln!(self.out, "{}", painted(&text.to_string()))
        } else {
            writeln!(self.out, "{text}")
        };
        self.judge(written)
    }

    /// Prints a line for programs, whoever reads it.
    pub(crate) fn data(&mut self, text: impl Display) -> Result<(), Failure> {
        if self.gone {
            return Ok(());
        }
        let written = writeln!(self.out, "{text}");
        self.judge(written)
    }

    /// Ends the answer.
    pub(crate) fn finish(&mut self) -> Result<(), Failure> {
        if self.gone {
            return Ok(());
        }
        let written = self.out.flush();
        self.judge(written)
    }

    fn judge(&mut self, written: io::Result<()>) -> Result<(), Failure> {
        match written {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => self.gone = true,
            Err(error) => return Err(Failure::Output(error)),
            Ok(()) => {}
        }
        Ok(())
    }

    /// Says on stderr why a command failed. What it had to say before comes first.
    pub(crate) fn failure(&mut self, failure: &Failure) -> ExitCode {
        drop(self.finish());
        if self.json {
            complain(failure.json());
        } else {
            self.warning(failure.chain());
        }
        ExitCode::from(failure.exit_code())
    }

    /// Says on stderr what should be known about the answer.
    pub(crate) fn warning(&self, text: impl Display) {
        complain(format_args!("wal-tools: {text}"));
    }
}

/// If stderr is closed as well, nobody is left to be told.
fn complain(text: impl Display) {
    drop(writeln!(io::stderr(), "{text}"));
}
