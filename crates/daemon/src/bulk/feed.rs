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
use crate::App;
use crate::memory::{Memory, Share};

/// Bytes of one request's lines that are not in the log yet.
const WINDOW_BYTES: usize = 32 << 20;

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
    /// What the line takes of the memory until it is in the log.
    pub(super) shares: [Share; 2],
}

/// The reading half.
pub(super) struct Feed {
    app: Arc<App>,
    caller: Caller,
    window: mpsc::Sender<Item>,
    window_memory: Memory,
    /// Since when the engine has had no room for anything.
    no_room_since: Option<Instant>,
}

/// The writer is gone: there is nobody to read for.
struct Gone;

impl Feed {
    pub(super) fn new(app: Arc<App>, caller: Caller, window: mpsc::Sender<Item>) -> Self {
        // A single line always fits.
        let bytes = WINDOW_BYTES.max(2 * app.bodies.max_bytes);
        Self { app, caller, window, window_memory: Memory::new(bytes), no_room_since: None }
    }

    /// Reads to the end of the input, or until the writer is gone.
    pub(super) async fn run(mut self, mut input: Input) {
        let mut cutter = Cutter::new(self.app.bodies.max_bytes);
        let mut begun = Share::default();
        loop {
            match input.next(cutter.is_within_a_line()).await {
                Chunk::Bytes(bytes) => cutter.push(bytes),
                Chunk::End => {
                    if let Some(line) = cutter.finish() {
                        // The last thing that is done: whether anybody hears it makes no difference.
                        let _ = self.line(line).await;
                    }
                    return;
                }
                // A line whose end never came is not an operation.
                Chunk::Broken => return,
                Chunk::Stuck => {
                    let idle = self.app.bodies.idle.as_secs_f32();
                    let detail = format!("the line has not gone on for {idle} s");
                    let _ = self.refuse(cutter.give_up(), Code::Malformed, detail).await;
                    return;
                }
            }
            while let Some(line) = cutter.next() {
                if self.line(line).await.is_err() {
                    return;
                }
            }
            if cutter.begun_bytes() == 0 {
                begun = Share::default();
            } else {
                let grown = self.app.bodies.memory.grow(&mut begun, cutter.begun_bytes());
                if timeout(self.app.stall, grown).await.is_err() {
                    cutter.give_up();
                    begun = Share::default();
                }
            }
        }
    }

    async fn line(&mut self, line: Line) -> Result<(), Gone> {
        let Line { number, text } = line;
        let Some(text) = text else {
            let max = self.app.bodies.max_bytes;
            return self
                .refuse(number, Code::TooLarge, format!("the line has over {max} bytes (limits.op_bytes)"))
                .await;
        };
        let mut shares = [Share::default(), Share::default()];
        let [own, all] = &mut shares;
        self.window_memory.grow(own, text.len()).await;
        if timeout(self.app.stall, self.app.bodies.memory.grow(all, text.len())).await.is_err() {
            return self.refuse(number, Code::Overloaded, "too many bytes of requests are in memory").await;
        }
        match self.take(&text).await {
            Ok((taken, again)) => self.send(Item::Taken(Box::new(Place { line: number, taken, again, shares }))).await,
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
            if since.elapsed() >= self.app.stall {
                return Err(refusal);
            }
            self.app.engine.room().await;
        }
    }

    async fn refuse(&mut self, line: u64, code: Code, detail: impl Into<String>) -> Result<(), Gone> {
        self.send(Item::Known(BulkLine::refused(line, code, detail))).await
    }

    async fn send(&mut self, item: Item) -> Result<(), Gone> {
        self.window.send(item).await.map_err(|_| Gone)
    }
}
