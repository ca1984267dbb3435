//! Sending lines and taking their answers, over as many connections as it takes.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream;
use lockstep_api::{Ack, BulkLine, Client, Error};
use lockstep_model::Code;
use tokio::sync::mpsc;

use crate::bulk::input::{Input, Item, Line, MAX_LINE_BYTES};
use crate::bulk::settle::settle;
use crate::bulk::{Progress, Tally};
use crate::failure::{Failure, chain};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Lines that lie ready for the connection.
const READY_LINES: usize = 16;

/// One input on its way to the daemon.
#[derive(Debug)]
pub(crate) struct Feed {
    pub(crate) client: Client,
    pub(crate) ack: Ack,
    /// Without any answer for this time, the daemon is given up.
    pub(crate) patience: Duration,
    pub(crate) input: Input,
    pub(crate) progress: Progress,
}

/// What a feed came to. Also a feed that failed tells what became of the lines before.
#[derive(Debug)]
pub(crate) struct Fed {
    pub(crate) tally: Tally,
    pub(crate) took: Duration,
    pub(crate) failure: Option<Failure>,
}

/// Why a connection ended before the input did.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Interruption {
    /// The daemon is away.
    #[error(transparent)]
    Api(#[from] Error),
    /// It ended its answers.
    #[error("lockstepd ended its answers before the last line's")]
    Ended,
    /// It says that it is stopping.
    #[error("lockstepd is stopping")]
    Stopping,
}

/// Why a leg ended.
enum Stop {
    Interrupted(Interruption),
    Failed(Failure),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        if error.is_transient() { Self::Interrupted(error.into()) } else { Self::Failed(error.into()) }
    }
}

impl Feed {
    /// Feeds the whole input and finds out how every line of it ended.
    pub(crate) async fn run(self) -> Fed {
        let mut run = Run {
            feed: self,
            window: VecDeque::new(),
            sent: 0,
            input_ended: false,
            tally: Tally::default(),
            reached: false,
            failing_since: None,
        };
        let mut outcome = run.all_legs().await;
        run.tally.unanswered = run.window.len() as u64;
        if outcome.is_ok() && !run.tally.open.is_empty() {
            run.feed.progress.say("every line is logged; waiting until all have ended".to_owned());
            outcome = settle(&run.feed.client, &mut run.tally, run.feed.patience).await;
        }
        run.feed.progress.end();
        Fed { tally: run.tally, took: run.feed.progress.elapsed(), failure: outcome.err() }
    }
}

/// A feed on its way.
struct Run {
    feed: Feed,
    /// The lines without an answer, in order; the first `sent` of them are on this connection.
    window: VecDeque<Line>,
    sent: usize,
    input_ended: bool,
    tally: Tally,
    /// Whether the daemon was ever there: only then it is waited for.
    reached: bool,
    /// Since when there was no answer.
    failing_since: Option<Instant>,
}

impl Run {
    async fn all_legs(&mut self) -> Result<(), Failure> {
        let mut pause = FIRST_PAUSE;
        loop {
            let answered = self.tally.lines;
            let interruption = match self.leg().await {
                Ok(()) => return Ok(()),
                Err(Stop::Failed(failure)) => return Err(failure),
                Err(Stop::Interrupted(interruption)) => interruption,
            };
            if !self.reached
                && let Interruption::Api(error) = interruption
            {
                return Err(error.into());
            }
            let failing_since = *self.failing_since.get_or_insert_with(Instant::now);
            if failing_since.elapsed() >= self.feed.patience {
                return Err(Failure::GaveUp { seconds: self.feed.patience.as_secs(), source: interruption });
            }
            pause = if self.tally.lines > answered { FIRST_PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
            self.feed.progress.say(format!("{}; going on as soon as it is back", chain(&interruption)));
            tokio::time::sleep(asked_pause(&interruption).unwrap_or(pause).min(self.feed.patience)).await;
        }
    }

    /// One connection: all lines without an answer again, in their order, then the rest of the input.
    async fn leg(&mut self) -> Result<(), Stop> {
        while self.window.is_empty() && !self.input_ended {
            let item = self.feed.input.next().await;
            self.take_item(item)?;
        }
        if self.window.is_empty() {
            return Ok(());
        }
        self.sent = 0;
        let (sender, receiver) = mpsc::channel::<io::Result<Bytes>>(READY_LINES);
        let body = stream::unfold(receiver, |mut lines| async { lines.recv().await.map(|line| (line, lines)) });
        let mut answers = self.feed.client.bulk_stream(body, self.feed.ack).await?;
        if self.reached {
            self.tally.reconnects += 1;
        }
        self.reached = true;
        let mut sender = Some(sender);
        let mut answered_here = 0;
        loop {
            let unsent = self.window.get(self.sent).map(|line| line.json.clone());
            if self.input_ended && unsent.is_none() {
                sender = None;
            }
            tokio::select! {
                answer = answers.next() => match answer? {
                    Some(answer) => {
                        answered_here += 1;
                        self.take_answer(answered_here, answer)?;
                    }
                    None if self.window.is_empty() && self.input_ended => return Ok(()),
                    None => return Err(Stop::Interrupted(Interruption::Ended)),
                },
                sent = send(sender.as_ref(), unsent.clone()), if sender.is_some() && unsent.is_some() => {
                    if sent { self.sent += 1 } else { sender = None }
                }
                item = self.feed.input.next(), if unsent.is_none() && !self.input_ended => self.take_item(item)?,
            }
        }
    }

    fn take_item(&mut self, item: Option<Item>) -> Result<(), Stop> {
        match item {
            Some(Item::Line(line)) => self.window.push_back(line),
            Some(Item::Blank(place)) => {
                self.tally.blank += 1;
                self.feed.progress.past(place, &self.tally);
            }
            Some(Item::TooLong(place)) => {
                self.tally.too_long(place.number, MAX_LINE_BYTES);
                self.feed.progress.past(place, &self.tally);
            }
            Some(Item::Broken(source)) => return Err(Stop::Failed(Failure::Input(source))),
            None => self.input_ended = true,
        }
        Ok(())
    }

    /// Takes the answer to the `expected`-th line of this connection, which is the first of the window.
    fn take_answer(&mut self, expected: u64, answer: BulkLine) -> Result<(), Stop> {
        let stopping = answer.lsn.is_none() && answer.error.as_ref().is_some_and(|e| e.code == Code::Stopping.as_str());
        if stopping {
            return Err(Stop::Interrupted(Interruption::Stopping));
        }
        if answer.line != expected || self.sent == 0 {
            let what = format!("an answer to line {} where line {expected} is next", answer.line);
            return Err(Stop::Failed(Error::Protocol { what, source: None }.into()));
        }
        self.failing_since = None;
        self.sent -= 1;
        if let Some(line) = self.window.pop_front() {
            self.tally.answered(line.place.number, answer);
            self.feed.progress.past(line.place, &self.tally);
        }
        Ok(())
    }
}

/// Hands a line to the connection; false if that takes none any more, which its answers will explain.
async fn send(sender: Option<&mpsc::Sender<io::Result<Bytes>>>, line: Option<Bytes>) -> bool {
    match (sender, line) {
        (Some(sender), Some(line)) => match sender.reserve().await {
            Ok(place) => {
                place.send(Ok(line));
                true
            }
            Err(_) => false,
        },
        _ => false,
    }
}

/// How long the daemon wants to be left alone, if it says so.
fn asked_pause(interruption: &Interruption) -> Option<Duration> {
    match interruption {
        Interruption::Api(Error::Problem { retry_after, .. }) => *retry_after,
        Interruption::Api(_) | Interruption::Ended | Interruption::Stopping => None,
    }
}
