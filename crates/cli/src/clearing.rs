//! A clear on its way: waiting for what may take long, however often the daemon goes away meanwhile.
//!
//! The same operation is sent under one idempotency key until its end is told. So it runs once, and a daemon
//! that was started again answers for it.

use std::time::{Duration, Instant};

use bytes::Bytes;
use lockstep_api::{Ack, Answer, Client, CountRequest, OpAnswer, OpOptions};
use lockstep_model::State;
use uuid::Uuid;

use crate::bulk::Interruption;
use crate::command::clear::count;
use crate::failure::Failure;
use crate::operation::{Operation, SendFlags};
use crate::text::known;
use crate::waiting::Waiting;

/// One answer is waited for so long, so that progress is told and a daemon that has gone is noticed.
const SLICE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_secs(1);
/// A daemon that is away is waited for so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// One table's clear.
#[derive(Debug)]
pub(crate) struct Clearing<'a> {
    pub(crate) client: &'a Client,
    pub(crate) send: &'a SendFlags,
    pub(crate) request: &'a CountRequest,
    /// How many records there were.
    pub(crate) counted: Option<u64>,
}

impl Clearing<'_> {
    /// Sends it, and waits for its end unless that is not wanted, or takes longer than the flags say.
    pub(crate) async fn run(&self, mut operation: Operation) -> Result<Answer<OpAnswer>, Failure> {
        operation.conditions.or_idempotent(|| Uuid::new_v4().to_string());
        let body = Bytes::from(serde_json::to_vec(&operation).map_err(Failure::Encode)?);
        let waiting = Waiting::new();
        waiting.say(format!("clearing {}", self.request.table));
        let began = Instant::now();
        let mut failing_since = None;
        let mut reached = false;
        loop {
            let left = self.send.timeout().map(|timeout| timeout.saturating_sub(began.elapsed()));
            let slice = left.map_or(SLICE, |left| left.min(SLICE));
            let options = OpOptions { ack: self.send.ack(), timeout: Some(slice), idempotency_key: None };
            match self.client.op(body.clone(), &options).await {
                Ok(answer) if self.ends(&answer, left) => return Ok(answer),
                Ok(_) => {
                    (failing_since, reached) = (None, true);
                    self.tell(&waiting).await;
                }
                // It may have been taken, or it was and the daemon is being started again.
                Err(error) if reached && error.is_transient() => {
                    let since = *failing_since.get_or_insert_with(Instant::now);
                    if since.elapsed() >= PATIENCE {
                        return Err(Failure::GaveUp { seconds: PATIENCE.as_secs(), source: Interruption::Api(error) });
                    }
                    waiting.say(format!("{error}; going on as soon as it is back"));
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn ends(&self, answer: &OpAnswer, left: Option<Duration>) -> bool {
        self.send.ack() == Ack::Logged || answer.state == State::Committed || left.is_some_and(|left| left <= SLICE)
    }

    /// Counting costs the stores something: only if somebody looks.
    async fn tell(&self, waiting: &Waiting) {
        if !waiting.is_seen() {
            return;
        }
        if let Ok(left) = count(self.client, self.request).await {
            let table = &self.request.table;
            waiting.say(format!("clearing {table}: {} of {} records left", known(left.records), known(self.counted)));
        }
    }
}
