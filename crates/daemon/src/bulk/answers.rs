//! The writing half: each line is answered when its operation is where the caller wants it.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{FutureExt, Stream, stream};
use lockstep_api::{Ack, BulkLine};
use lockstep_engine::Ending;
use lockstep_model::{Code, State};
use lockstep_wal::Caller;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::feed::{Feed, Item, Place};
use super::input::Input;
use crate::App;
use crate::failure::why;

/// Lines between reader and writer. Some batches of the engine fit, so that the stores never wait for a client's next line.
const WINDOW_LINES: usize = 1024;
/// Answers go out together up to this size, if they are there.
const CHUNK_BYTES: usize = 32 << 10;

/// The answers to a bulk request. Dropping them ends its reader.
pub(crate) struct Answers {
    app: Arc<App>,
    ack: Ack,
    window: mpsc::Receiver<Item>,
    current: Option<Current>,
    reader: Reader,
}

/// The operation whose turn it is. Until it waits for its end it waits for its place to be durable.
struct Current {
    place: Box<Place>,
    ending: Option<oneshot::Receiver<Ending>>,
}

/// The reader's task, until it has ended.
struct Reader(Option<JoinHandle<()>>);

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

impl Answers {
    pub(crate) fn start(app: Arc<App>, input: Input, ack: Ack, caller: Caller) -> Self {
        let (sender, window) = mpsc::channel(WINDOW_LINES);
        let feed = Feed::new(Arc::clone(&app), caller, sender);
        let reader = Reader(Some(tokio::spawn(feed.run(input))));
        Self { app, ack, window, current: None, reader }
    }

    /// The answers as NDJSON.
    pub(crate) fn stream(self) -> impl Stream<Item = Result<Bytes, Infallible>> + Send + 'static {
        stream::unfold(self, |mut answers| async move { answers.chunk().await.map(|chunk| (Ok(chunk), answers)) })
    }

    /// The next answers: at least one, and those that are there without waiting.
    async fn chunk(&mut self) -> Option<Bytes> {
        let mut chunk = Vec::new();
        write(&mut chunk, &self.next().await?);
        while chunk.len() < CHUNK_BYTES
            && let Some(Some(answer)) = self.next().now_or_never()
        {
            write(&mut chunk, &answer);
        }
        Some(chunk.into())
    }

    /// The next answer; none after the last one. May be dropped while it waits: what it has begun is kept.
    async fn next(&mut self) -> Option<BulkLine> {
        loop {
            let Some(Current { place, ending }) = &mut self.current else {
                match self.window.recv().await {
                    Some(Item::Known(answer)) => return Some(answer),
                    Some(Item::Taken(place)) => self.current = Some(Current { place, ending: None }),
                    None => {
                        self.end_of_reader().await;
                        return None;
                    }
                }
                continue;
            };
            let answer = match ending {
                Some(ending) => match ending.await {
                    Ok(ending) => ended(place, &ending),
                    // The engine is going down; the operation is in the log.
                    Err(_) => logged(place, self.app.reached(place.taken.lsn)),
                },
                None => {
                    let durable = place.taken.logged().await;
                    // What was refused when it was first asked is told again.
                    let refused = || place.again && self.app.is_refused(place.taken.lsn);
                    if durable.is_ok() && (self.ack == Ack::Committed || refused()) {
                        *ending = self.app.engine.ending(place.taken.lsn);
                        if ending.is_some() {
                            continue;
                        }
                    }
                    match durable {
                        Err(error) => BulkLine::refused(place.line, Code::Stopping, error.to_string()),
                        Ok(()) if self.ack == Ack::Logged && !place.again => logged(place, State::Pending),
                        Ok(()) => logged(place, self.app.reached(place.taken.lsn)),
                    }
                }
            };
            self.current = None;
            return Some(answer);
        }
    }

    /// A reader that panicked must not look like the end of the input.
    async fn end_of_reader(&mut self) {
        let Some(task) = &mut self.reader.0 else { return };
        let ended = task.await;
        self.reader.0 = None;
        if let Err(error) = ended
            && error.is_panic()
        {
            std::panic::resume_unwind(error.into_panic());
        }
    }
}

fn logged(place: &Place, state: State) -> BulkLine {
    BulkLine::logged(place.line, place.taken.op_id, place.taken.lsn, state)
}

fn ended(place: &Place, ending: &Ending) -> BulkLine {
    let answer = logged(place, ending.state);
    if ending.state == State::Committed {
        return answer;
    }
    let (code, detail) = why(ending);
    answer.with_error(code, detail)
}

fn write(chunk: &mut Vec<u8>, answer: &BulkLine) {
    // Numbers and texts: this cannot fail, and a Vec takes everything.
    if serde_json::to_writer(&mut *chunk, answer).is_ok() {
        chunk.push(b'\n');
    }
}
