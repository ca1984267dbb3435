//! What a waiting person sees, and how far it has come for those who act on it.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::sync::watch;

use crate::bulk::Tally;
use crate::bulk::input::Place;
use crate::text::{count, rate};

/// A bar on stderr, if that is a terminal.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    started: Instant,
    answered: watch::Sender<u64>,
}

impl Progress {
    /// For an input of `bytes`, if that is known.
    pub(crate) fn new(bytes: Option<u64>) -> Self {
        let template = match bytes {
            Some(_) => "{bar:24} {percent:>3}%  {msg}  {eta} left",
            None => "{spinner} {msg}  {elapsed}",
        };
        let bar = ProgressBar::with_draw_target(bytes, ProgressDrawTarget::stderr());
        bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { bar, started: Instant::now(), answered: watch::Sender::new(0) }
    }

    /// Follows how many lines have been answered. It ends with the feed.
    pub(crate) fn answered(&self) -> watch::Receiver<u64> {
        self.answered.subscribe()
    }

    /// A line has been dealt with.
    pub(crate) fn past(&self, place: Place, tally: &Tally) {
        self.answered.send_modify(|answered| *answered += 1);
        if self.bar.is_hidden() {
            return;
        }
        self.bar.inc(place.bytes);
        let failed = match tally.failed() {
            0 => String::new(),
            failed => format!(", {} failed", count(failed)),
        };
        let rate = rate(tally.lines, self.elapsed());
        self.bar.set_message(format!("{} lines{failed}, {} a second", count(tally.lines), count(rate)));
    }

    /// Something else is going on.
    pub(crate) fn say(&self, message: String) {
        self.bar.set_message(message);
    }

    /// How long it has taken so far.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Takes the bar away.
    pub(crate) fn end(&self) {
        self.bar.finish_and_clear();
    }
}
