//! The reading half: lines are cut, parsed, and given their places in the log, as fast as the window and the engine let them.

use std::sync::Arc;

use bytes::Bytes;
use lockstep_api::BulkLine;
use lockstep_engine::Taken;
use lockstep_model::{Code, Refusal};
use lockstep_wal::Caller;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::cutter::{Cutter, Line};
use super::input::{Chunk, Input};
use super::unlogged::Unlogged;
use crate::App;
use crate::memory::Share;

const NO_MEMORY: &str = "too many bytes of requests are in memory";

/// What the writer gets for each line, in order.
pub(super) enum Item {
    /// The answer is known.
    Known(BulkLine),
    /// The operation has its place.
    Taken(Box<Place>),
}

/// An operation of a line.
pub(super) struct Place {
    pub(super) line: u64,
    pub(super) taken: Taken,
    /// Whether an earlier request gave it its place.
    pub(super) again: bool,
}

/// The reading half.
pub(super) struct Feed {
    app: Arc<App>,
    caller: Caller,
    /// A line may have so many bytes.
    max_bytes: usize,
    window: mpsc::Sender<Item>,
    unlogged: Unlogged,
    /// A line that there was no memory for while it came.
    given_up: Option<u64>,
    /// Since when the engine has had no room for anything.
    no_room_since: Option<Instant>,
}

/// The writer is gone: there is nobody to read for.
struct Gone;

impl Feed {
    pub(super) fn new(app: Arc<App>, caller: Caller, window: mpsc::Sender<Item>) -> Self {
        let max_bytes = app.bounds.op_bytes();
        let unlogged = Unlogged::new(Arc::clone(&app.log), app.bodies.memory.clone(), max_bytes);
        Self { app, caller, max_bytes, window, unlogged, given_up: None, no_room_since: None }
    }

    /// Reads to the end of the input, or until the writer is gone.
    pub(super) async fn run(mut self, input: Input) {
        // A writer that is gone is nobody to read for, and nobody to tell.
        if self.read(input).await.is_ok() {
            self.unlogged.drained().await;
        }
    }

    async fn read(&mut self, mut input: Input) -> Result<(), Gone> {
        let mut cutter = Cutter::new(self.max_bytes);
        let mut begun = Share::default();
        loop {
            match input.next(cutter.is_within_a_line()).await {
                Chunk::Bytes(bytes) => cutter.push(bytes),
                Chunk::End => {
                    return match cutter.finish() {
                        Some(line) => self.line(line).await,
                        None => Ok(()),
                    };
                }
                // A line whose end never came is not an operation.
                Chunk::Broken => return Ok(()),
                Chunk::Stuck => {
                    let idle = self.app.bodies.idle.as_secs_f32();
                    let detail = format!("the line has not gone on for {idle} s");
                    return self.refuse(cutter.give_up(), Code::Malformed, detail).await;
                }
            }
            // What had begun is part of a line now, which takes its own share.
            drop(std::mem::take(&mut begun));
            while let Some(line) = cutter.next() {
                self.line(line).await?;
            }
            let bytes = cutter.begun_bytes();
            if bytes > 0
                && timeout(self.app.bounds.stall(), self.app.bodies.memory.grow(&mut begun, bytes)).await.is_err()
            {
                self.given_up = Some(cutter.give_up());
            }
        }
    }

    async fn line(&mut self, line: Line) -> Result<(), Gone> {
        let Line { number, text } = line;
        let Some(text) = text else {
            if self.given_up == Some(number) {
                return self.refuse(number, Code::Overloaded, NO_MEMORY).await;
            }
            let max = self.max_bytes;
            let detail = format!("the line has over {max} bytes (limits.op_bytes)");
            return self.refuse(number, Code::TooLarge, detail).await;
        };
        let Ok(share) = timeout(self.app.bounds.stall(), self.unlogged.room_for(text.len())).await else {
            return self.refuse(number, Code::Overloaded, NO_MEMORY).await;
        };
        match self.take(&text).await {
            Ok((taken, again)) => {
                if !again {
                    self.unlogged.hold(taken.lsn, share);
                }
                self.send(Item::Taken(Box::new(Place { line: number, taken, again }))).await
            }
            Err(refusal) => self.refuse(number, refusal.code, refusal.detail).await,
        }
    }

    /// Takes the operation. At a limit it waits instead of refusing, for `limits.stall_s`.
    async fn take(&mut self, text: &Bytes) -> Result<(Taken, bool), Refusal> {
        loop {
            let op = self.app.parse(text, None)?;
            let refusal = match self.app.take(op, self.caller.clone()) {
                Ok(taken) => {
                    self.no_room_since = None;
                    return Ok(taken);
                }
                Err(refusal) => refusal,
            };
            if !matches!(refusal.code, Code::WalFull | Code::Overloaded | Code::DiskFull) {
                return Err(refusal);
            }
            let since = *self.no_room_since.get_or_insert_with(Instant::now);
            if since.elapsed() >= self.app.bounds.stall() {
                return Err(refusal);
            }
            self.app.engine.room().await;
        }
    }

    async fn refuse(&mut self, line: u64, code: Code, detail: impl Into<String>) -> Result<(), Gone> {
        self.send(Item::Known(BulkLine::refused(line, code, detail))).await
    }

    /// Waits for a place in the window; meanwhile what becomes durable is let go, however slow the client reads.
    async fn send(&mut self, item: Item) -> Result<(), Gone> {
        let sending = self.window.send(item);
        tokio::pin!(sending);
        loop {
            tokio::select! {
                biased;
                sent = &mut sending => return sent.map_err(|_| Gone),
                () = self.unlogged.step() => {}
            }
        }
    }
}
