//! Many operations on one connection: lines go out while answers come in.

use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;

use bytes::{Buf, Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::http::response::Parts;
use hyper::{Request, Response};

use crate::connection::{Body, Connection};
use crate::reader::{read_json, read_problem};
use crate::{BulkLine, Error};

/// An answer to one line is short; what is longer than this is not an answer.
const MAX_ANSWER_BYTES: usize = 4 << 20;

type Opening = Pin<Box<dyn Future<Output = hyper::Result<Response<Incoming>>> + Send>>;

/// The answers to a bulk request, in the order of its lines. Only one network buffer of them is held;
/// while nobody asks for the next, the daemon waits, and reads no further lines.
///
/// Dropping it ends the request: lines without an answer may have been logged or not.
pub struct BulkAnswers {
    socket: PathBuf,
    stage: Stage,
    buffer: BytesMut,
    _connection: Connection,
}

enum Stage {
    Opening(Opening),
    Open(Incoming),
    Refused(Box<Parts>, Incoming),
    Ended,
}

impl BulkAnswers {
    pub(crate) fn new(socket: PathBuf, mut connection: Connection, request: Request<Body>) -> Self {
        let opening = Box::pin(connection.send_request(request));
        Self { socket, stage: Stage::Opening(opening), buffer: BytesMut::new(), _connection: connection }
    }

    /// The answer to the next line; none when every line of an ended input has been answered.
    ///
    /// May be dropped while it waits and called again: no answer is lost.
    pub async fn next(&mut self) -> Result<Option<BulkLine>, Error> {
        loop {
            let frame = match &mut self.stage {
                Stage::Opening(opening) => {
                    let opened = opening.await;
                    self.stage = Stage::Ended;
                    let response = opened.map_err(|source| Error::lost(&self.socket, source))?;
                    let accepted = response.status().is_success();
                    let (parts, body) = response.into_parts();
                    self.stage = if accepted { Stage::Open(body) } else { Stage::Refused(Box::new(parts), body) };
                    continue;
                }
                Stage::Refused(parts, body) => match body.frame().await {
                    None => return Err(read_problem(parts, &self.buffer)),
                    frame => frame,
                },
                Stage::Open(body) => match buffered_line(&mut self.buffer) {
                    Some(line) => return read_json(&line).map(Some),
                    None => body.frame().await,
                },
                Stage::Ended => {
                    return buffered_line(&mut self.buffer).map(|line| read_json(&line)).transpose();
                }
            };
            match frame {
                Some(Ok(frame)) => self.buffer.extend_from_slice(frame.data_ref().map_or(&[], |data| data)),
                Some(Err(source)) => {
                    self.stage = Stage::Ended;
                    self.buffer.clear();
                    return Err(Error::lost(&self.socket, source));
                }
                None => self.end_of_answers(),
            }
            if self.buffer.len() > MAX_ANSWER_BYTES {
                return Err(Error::protocol(format!("the answer to a line has more than {MAX_ANSWER_BYTES} bytes")));
            }
        }
    }

    /// The last line may lack its line break.
    fn end_of_answers(&mut self) {
        self.stage = Stage::Ended;
        if !self.buffer.trim_ascii().is_empty() {
            self.buffer.extend_from_slice(b"\n");
        }
    }
}

fn buffered_line(buffer: &mut BytesMut) -> Option<Bytes> {
    while let Some(end) = buffer.iter().position(|&byte| byte == b'\n') {
        let line = buffer.split_to(end).freeze();
        buffer.advance(1);
        if !line.trim_ascii().is_empty() {
            return Some(line);
        }
    }
    None
}

impl fmt::Debug for BulkAnswers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BulkAnswers").field("socket", &self.socket).finish_non_exhaustive()
    }
}
