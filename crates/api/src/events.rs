//! Events: what happens, as it happens, over server-sent events (WHATWG HTML, 9.2).

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::Value;

use crate::connection::Connection;
use crate::reader::read_json;
use crate::{Error, OpView};

/// An event is an operation without its content; what is longer than this is none.
const MAX_EVENT_BYTES: usize = 4 << 20;
/// The daemon says something at least every 15 seconds, if only that it is there. After so long without a word it is not.
const SILENCE: Duration = Duration::from_secs(60);

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its position. Whoever asks for the events after it goes on where this one ended.
    pub id: String,
    /// What happened: `logged`, `committed`, `rolled_back`, `parked`, `discarded`, `store_up`, `store_down`,
    /// `audit_needed`, `gap`, or what a newer daemon has to tell.
    pub event: String,
    /// The operation as in [`OpView`], or what the event is about.
    pub data: Value,
}

impl Event {
    /// The operation, if the event is about one.
    #[must_use]
    pub fn op(&self) -> Option<OpView> {
        serde_json::from_value(self.data.clone()).ok()
    }
}

/// The events of a daemon. Nothing is read ahead of who asks: a reader that stops is one that the daemon waits for.
///
/// At least once: after a reconnect an event may come again, never not at all; where the log no longer has what was missed, a
/// `gap` says so.
pub struct Events {
    socket: PathBuf,
    body: Incoming,
    buffer: BytesMut,
    last: Option<String>,
    _connection: Connection,
}

impl Events {
    pub(crate) fn new(socket: PathBuf, connection: Connection, body: Incoming, after: Option<String>) -> Self {
        Self { socket, body, buffer: BytesMut::new(), last: after, _connection: connection }
    }

    /// The position after which to go on, should this break off.
    #[must_use]
    pub fn last(&self) -> Option<&str> {
        self.last.as_deref()
    }

    /// The next event; none when the daemon stops. May be dropped while it waits and called again: no event is lost.
    ///
    /// # Errors
    /// [`Error::Lost`] or [`Error::NoAnswer`] if the connection broke off: connect again, after [`Events::last`].
    pub async fn next(&mut self) -> Result<Option<Event>, Error> {
        loop {
            while let Some(block) = block(&mut self.buffer) {
                if let Some(event) = read(&block)? {
                    self.last = Some(event.id.clone());
                    return Ok(Some(event));
                }
            }
            if self.buffer.len() > MAX_EVENT_BYTES {
                return Err(Error::protocol(format!("an event has more than {MAX_EVENT_BYTES} bytes")));
            }
            let frame = tokio::time::timeout(SILENCE, self.body.frame()).await;
            match frame {
                Err(_) => return Err(Error::NoAnswer { socket: self.socket.clone(), after: SILENCE }),
                // What stands there without a blank line behind it is no event.
                Ok(None) => return Ok(None),
                Ok(Some(Err(source))) => return Err(Error::lost(&self.socket, source)),
                Ok(Some(Ok(frame))) => self.buffer.extend_from_slice(frame.data_ref().map_or(&[], |data| data)),
            }
        }
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("socket", &self.socket).field("last", &self.last).finish_non_exhaustive()
    }
}

/// The lines up to the next blank one.
fn block(buffer: &mut BytesMut) -> Option<String> {
    let end = buffer.windows(2).position(|two| two == b"\n\n")?;
    let block = buffer.split_to(end);
    buffer.advance(2);
    Some(String::from_utf8_lossy(&block).into_owned())
}

/// An event, or nothing where only comments stand.
fn read(block: &str) -> Result<Option<Event>, Error> {
    let (mut id, mut event, mut data) = (String::new(), String::new(), Vec::new());
    for line in block.lines().filter(|line| !line.starts_with(':')) {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => value.clone_into(&mut id),
            "event" => value.clone_into(&mut event),
            "data" => data.push(value),
            _ => {}
        }
    }
    if data.is_empty() {
        return Ok(None);
    }
    let data = read_json(data.join("\n").as_bytes())?;
    Ok(Some(Event { id, event, data }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_cut_and_read() {
        let mut buffer = BytesMut::from(
            ": still here\n\nid: 7-1\nevent: committed\ndata: {\"a\":\ndata: 1}\n\nid:8\nevent:gap\ndata:{}\n\nid: 9\n"
                .as_bytes(),
        );
        let mut next = || block(&mut buffer).map(|block| read(&block).unwrap());
        assert_eq!(next(), Some(None));
        let event = Event { id: "7-1".to_owned(), event: "committed".to_owned(), data: serde_json::json!({"a": 1}) };
        assert_eq!(next(), Some(Some(event)));
        let event = Event { id: "8".to_owned(), event: "gap".to_owned(), data: serde_json::json!({}) };
        assert_eq!(next(), Some(Some(event)));
        assert_eq!(next(), None);
        assert!(read("data: {").is_err());
    }

    #[test]
    fn an_event_about_an_operation_shows_it() {
        let data = serde_json::json!({"op_id": "0193b2c4-0000-7000-8000-00000000002a", "lsn": 1, "op": "put", "state": "committed"});
        let event = |data| Event { id: String::new(), event: String::new(), data };
        assert_eq!(event(data).op().unwrap().op, "put");
        assert_eq!(event(serde_json::json!({"store": "qdrant", "state": "down"})).op(), None);
    }
}
