//! What became of the lines.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use lockstep_api::{BulkLine, LineError};
use lockstep_model::{Lsn, State};
use serde::Serialize;

use crate::text::{count, counted, cut, duration, rate};

/// Of so many failed lines it is told what was wrong.
const TOLD: usize = 5;
const DETAIL_COLUMNS: usize = 300;

/// The counts of a feed. Every line that is not blank is in one of `committed`, `refused`, `rolled_back`,
/// `parked`, `discarded` and `not_ended`.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Tally {
    /// Lines that were answered, or refused here; blank ones are not among them.
    pub(crate) lines: u64,
    pub(crate) blank: u64,
    pub(crate) committed: u64,
    /// Refused before the log: nothing has happened.
    pub(crate) refused: u64,
    pub(crate) rolled_back: u64,
    pub(crate) parked: u64,
    pub(crate) discarded: u64,
    /// Logged, and not known to have ended.
    pub(crate) not_ended: u64,
    /// Read, and without an answer when the daemon was given up: whether they were logged is not known. They are not among
    /// `lines`.
    #[serde(skip_serializing_if = "is_none")]
    pub(crate) unanswered: u64,
    /// How many lines failed with each code.
    pub(crate) codes: BTreeMap<String, u64>,
    /// The first lines that failed.
    pub(crate) first_failures: Vec<FailedLine>,
    /// How often the daemon went away and came back.
    pub(crate) reconnects: u64,
    /// Where each line that has not ended stands in the log: the only thing that grows with the input, by
    /// 16 bytes a line, and only where the answers were not waited for.
    #[serde(skip)]
    pub(crate) open: Vec<(Lsn, u64)>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes so")]
const fn is_none(number: &u64) -> bool {
    *number == 0
}

/// A line that failed.
#[derive(Debug, Serialize)]
pub(crate) struct FailedLine {
    pub(crate) line: u64,
    pub(crate) code: String,
    pub(crate) detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) lsn: Option<Lsn>,
}

impl Tally {
    /// Counts the answer to line `number`.
    pub(crate) fn answered(&mut self, number: u64, answer: BulkLine) {
        self.lines += 1;
        match (answer.state, answer.lsn) {
            (Some(State::Committed), _) if answer.error.is_none() => self.committed += 1,
            (Some(state), Some(lsn)) if state.is_open() && answer.error.is_none() => self.open.push((lsn, number)),
            (state, lsn) => self.fail(number, state, lsn, answer.error),
        }
        self.not_ended = self.open.len() as u64;
    }

    /// Counts a line that was not even sent.
    pub(crate) fn too_long(&mut self, number: u64, max_bytes: usize) {
        self.lines += 1;
        let detail = format!("the line has more than {max_bytes} bytes and was not sent");
        self.fail(number, None, None, Some(LineError { code: "too_large".to_owned(), detail }));
    }

    /// Counts a line that was logged and has ended otherwise than committed.
    pub(crate) fn fail(&mut self, line: u64, state: Option<State>, lsn: Option<Lsn>, error: Option<LineError>) {
        match state {
            None => self.refused += 1,
            Some(State::Parked) => self.parked += 1,
            Some(State::Discarded) => self.discarded += 1,
            Some(
                State::RolledBack
                | State::Compensating
                | State::Pending
                | State::SurrealCompleted
                | State::QdrantCompleted
                | State::Committed,
            ) => self.rolled_back += 1,
        }
        let error = error.unwrap_or_else(|| LineError {
            code: state.map_or_else(|| "unknown".to_owned(), |state| state.to_string()),
            detail: "the daemon does not say why".to_owned(),
        });
        *self.codes.entry(error.code.clone()).or_default() += 1;
        if self.first_failures.len() < TOLD {
            let detail = cut(&error.detail, DETAIL_COLUMNS);
            self.first_failures.push(FailedLine { line, code: error.code, detail, lsn });
        }
    }

    /// The lines that were logged without being waited for, which are now known to have ended.
    pub(crate) fn take_open(&mut self) -> Vec<(Lsn, u64)> {
        self.not_ended = 0;
        std::mem::take(&mut self.open)
    }

    /// How many lines are known not to be committed, now or later.
    pub(crate) const fn failed(&self) -> u64 {
        self.refused + self.rolled_back + self.parked + self.discarded
    }

    /// Whether every line was committed.
    pub(crate) const fn all_committed(&self) -> bool {
        self.committed == self.lines
    }

    /// `12,911 lines: 12,910 committed, 1 refused (malformed 1), in 4.0 s, 3,228 a second`
    pub(crate) fn summary(&self, took: Duration) -> Summary<'_> {
        Summary { tally: self, took }
    }
}

/// See [`Tally::summary`].
#[derive(Debug)]
pub(crate) struct Summary<'a> {
    tally: &'a Tally,
    took: Duration,
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tally = self.tally;
        write!(f, "{}: {} committed", counted(tally.lines, "line"), count(tally.committed))?;
        let rest = [
            (tally.refused, "refused"),
            (tally.rolled_back, "rolled back"),
            (tally.parked, "parked"),
            (tally.discarded, "discarded"),
            (tally.not_ended, "logged but not known to have ended"),
        ];
        for (number, what) in rest.into_iter().filter(|(number, _)| *number > 0) {
            write!(f, ", {} {what}", count(number))?;
        }
        if !tally.codes.is_empty() {
            let codes: Vec<String> =
                tally.codes.iter().map(|(code, number)| format!("{code} {}", count(*number))).collect();
            write!(f, " ({})", codes.join(", "))?;
        }
        if tally.reconnects > 0 {
            write!(f, "; {}", counted(tally.reconnects, "reconnect"))?;
        }
        if tally.unanswered > 0 {
            write!(f, "; {} without an answer yet", counted(tally.unanswered, "more line"))?;
        }
        write!(f, "; in {}, {} a second", duration(self.took), count(rate(tally.lines, self.took)))
    }
}

#[cfg(test)]
mod tests {
    use lockstep_model::{Code, OpId};

    use super::*;

    #[test]
    fn every_answer_is_counted_once_and_only_a_clean_sheet_is_all_committed() {
        let id: OpId = "0193b2c4-0000-7000-8000-00000000002a".parse().unwrap();
        let mut tally = Tally::default();
        tally.answered(1, BulkLine::logged(1, id, Lsn(1), State::Committed));
        assert!(tally.all_committed());
        tally.answered(2, BulkLine::logged(2, id, Lsn(2), State::Pending));
        assert!(!tally.all_committed());
        tally.answered(4, BulkLine::refused(3, Code::Malformed, "no key"));
        tally.answered(5, BulkLine::logged(4, id, Lsn(4), State::RolledBack).with_error(Code::NotFound, "no such key"));
        tally.answered(6, BulkLine::logged(5, id, Lsn(5), State::Parked).with_error(Code::Parked, "stuck"));
        tally.too_long(7, 10);
        assert_eq!((tally.lines, tally.failed(), tally.not_ended), (6, 4, 1));
        let said = tally.summary(Duration::from_secs(2)).to_string();
        let expected = "6 lines: 1 committed, 2 refused, 1 rolled back, 1 parked, 1 logged but not known to have ended \
                        (malformed 1, not_found 1, parked 1, too_large 1); in 2.0 s, 3 a second";
        assert_eq!(said, expected);
        tally.unanswered = 2;
        let said = tally.summary(Duration::from_secs(2)).to_string();
        assert!(said.contains("; 2 more lines without an answer yet; in 2.0 s"), "{said}");
        assert_eq!(tally.first_failures.iter().map(|failed| failed.line).collect::<Vec<_>>(), [4, 5, 6, 7]);
    }
}
