//! Events: what the log tells of operations, in its order, to whoever listens; at least once, and from any place on that the
//! log still keeps (scenario A12).
//!
//! The log is the only source: a listener reads it behind the durable end, page by page, so none is too slow for the memory.
//! What has left before it was read is said to be missing.

use std::fmt;
use std::ops::ControlFlow;
use std::str::FromStr;
use std::sync::Arc;

use lockstep_model::{Lsn, State};
use lockstep_wal::Record;
use tokio::sync::watch;

use crate::core::{Core, Fatal, Shared, StoreName};
use crate::engine::Engine;
use crate::look::{LookError, OpView};

/// So many events are read from the log at once.
const PAGE: usize = 256;

/// So many changes of the stores are remembered.
const STORE_EVENTS: usize = 64;

/// Where an event stands: the record that caused it, and which of the record's operations it is about. What happens to a store is
/// in no record: it stands behind the last event that was told, by its own number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Position {
    lsn: u64,
    place: u32,
    store_event: u32,
}

impl Position {
    const fn new(lsn: Lsn, place: u32) -> Self {
        Self { lsn: lsn.0, place, store_event: 0 }
    }

    /// After everything of records up to `lsn`.
    const fn after(lsn: Lsn) -> Self {
        Self::new(lsn, u32::MAX)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:08x}", self.lsn, self.place)?;
        // A longer text is greater than the shorter one that it begins with, and as texts they rise.
        if self.store_event > 0 { write!(f, "{:08x}", self.store_event) } else { Ok(()) }
    }
}

/// A text that is no position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no event's position")]
pub struct NoPosition(String);

impl FromStr for Position {
    type Err = NoPosition;

    fn from_str(text: &str) -> Result<Self, NoPosition> {
        let wrong = || NoPosition(text.chars().take(64).collect());
        if !matches!(text.len(), 24 | 32) || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        let (lsn, rest) = text.split_at(16);
        let (place, store_event) = rest.split_at(8);
        let number = |digits| u32::from_str_radix(digits, 16).map_err(|_| wrong());
        Ok(Self {
            lsn: u64::from_str_radix(lsn, 16).map_err(|_| wrong())?,
            place: number(place)?,
            store_event: if store_event.is_empty() { 0 } else { number(store_event)? },
        })
    }
}

/// What happened to an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// Its intent is durable.
    Logged,
    /// Both stores show it.
    Committed,
    /// Neither does.
    RolledBack,
    /// An operator is needed.
    Parked,
    /// An operator gave it up.
    Discarded,
}

impl EventKind {
    /// Its name in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Logged => "logged",
            Self::Committed => "committed",
            Self::RolledBack => "rolled_back",
            Self::Parked => "parked",
            Self::Discarded => "discarded",
        }
    }

    const fn of(state: State) -> Option<Self> {
        match state {
            State::Committed => Some(Self::Committed),
            State::RolledBack => Some(Self::RolledBack),
            State::Parked => Some(Self::Parked),
            State::Discarded => Some(Self::Discarded),
            State::Pending | State::SurrealCompleted | State::QdrantCompleted | State::Compensating => None,
        }
    }
}

/// What happens to a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreChange {
    /// It answers again.
    Up,
    /// It does not answer.
    Down,
    /// It shows less than the log was told, and only an audit can tell what is missing.
    AuditNeeded,
}

/// Something happened to a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreEvent {
    /// Which.
    pub store: StoreName,
    /// What.
    pub change: StoreChange,
    /// When, in microseconds since 1970.
    pub at_us: u64,
    /// Its words.
    pub detail: Option<String>,
}

/// What an event tells.
#[derive(Debug, Clone, PartialEq)]
pub enum EventBody {
    /// Something happened to an operation, which is shown as it is now.
    Op {
        /// What.
        kind: EventKind,
        /// The operation.
        op: Box<OpView>,
    },
    /// Something happened to a store.
    Store(StoreEvent),
    /// Events between these places have left the log before they could be told.
    Gap {
        /// The last place that was told.
        from: Position,
        /// From here on events may be told again.
        to: Position,
    },
}

/// An event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Where it stands; whoever comes back with it gets what followed.
    pub position: Position,
    /// What it tells.
    pub body: EventBody,
}

/// A listener's place in the log.
#[derive(Debug)]
pub struct EventStream {
    core: Arc<Core>,
    cursor: Position,
    /// Read from the log, not told yet; the next one last.
    page: Vec<(Position, EventKind, Lsn)>,
    store_events_seen: u64,
    happened: watch::Receiver<u64>,
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").finish_non_exhaustive()
    }
}

impl Engine {
    /// Events that follow `after`; without it, those that happen from now on. A place that this log has not reached is another log's: then all
    /// that this one holds are told.
    #[must_use]
    pub fn events(&self, after: Option<Position>) -> EventStream {
        let core = Arc::clone(&self.core);
        let happened = core.happened.subscribe();
        let durable = core.parts.log.positions().durable;
        let store_events_seen = core.lock().store_events.back().map_or(0, |(n, _)| *n);
        // What happened to stores before is not told again.
        let cursor = match after {
            None => Position::after(durable),
            Some(after) if after.lsn > durable.0 => Position::default(),
            Some(after) => Position { store_event: 0, ..after },
        };
        EventStream { core, cursor, page: Vec::new(), store_events_seen, happened }
    }
}

impl EventStream {
    /// The next event. `None`: the engine has stopped.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn next(&mut self) -> Result<Option<Event>, LookError> {
        loop {
            self.happened.mark_unchanged();
            if let Some(event) = self.store_event() {
                return Ok(Some(event));
            }
            if let Some(gap) = self.gap() {
                return Ok(Some(gap));
            }
            if self.page.is_empty() {
                self.read()?;
            }
            while let Some((position, kind, lsn)) = self.page.pop() {
                self.cursor = position;
                let view = crate::look::view(&self.core, lsn, &mut std::collections::HashMap::new())?;
                if let Some(op) = view {
                    return Ok(Some(Event { position, body: EventBody::Op { kind, op: Box::new(op) } }));
                }
            }
            let core = Arc::clone(&self.core);
            tokio::select! {
                biased;
                () = core.stop.cancelled() => return Ok(None),
                changed = self.happened.changed() => if changed.is_err() { return Ok(None) },
            }
        }
    }

    fn store_event(&mut self) -> Option<Event> {
        let shared = self.core.lock();
        let (number, event) = shared.store_events.iter().find(|(n, _)| *n > self.store_events_seen)?;
        self.store_events_seen = *number;
        let position = Position { store_event: u32::try_from(*number).unwrap_or(u32::MAX), ..self.cursor };
        Some(Event { position, body: EventBody::Store(event.clone()) })
    }

    /// An event after the cursor has left, and was not read before.
    fn gap(&mut self) -> Option<Event> {
        let floor = Position::after(self.core.lock().event_floor);
        let waiting = self.page.first().map_or(self.cursor, |(last, ..)| *last);
        if floor.lsn <= waiting.lsn {
            return None;
        }
        let from = self.cursor;
        self.page.clear();
        self.cursor = floor;
        Some(Event { position: floor, body: EventBody::Gap { from, to: floor } })
    }

    /// Reads the next events that are durable.
    fn read(&mut self) -> Result<(), LookError> {
        let log = |error: lockstep_wal::LogError| LookError::Log(Fatal::Log(error.into()));
        let durable = self.core.parts.log.positions().durable;
        let mut page = Vec::new();
        let mut last = self.cursor;
        let mut broken = None;
        let mut full = false;
        self.core
            .parts
            .log
            .scan(Lsn(self.cursor.lsn), &mut |lsn, entry| {
                if lsn > durable {
                    return ControlFlow::Break(());
                }
                if page.len() >= PAGE {
                    full = true;
                    return ControlFlow::Break(());
                }
                match Record::decode(&entry) {
                    Ok(record) => told_by(lsn, &record, &mut page),
                    Err(error) => {
                        broken = Some(Fatal::Lost(format!("record {lsn}: {error}")));
                        return ControlFlow::Break(());
                    }
                }
                last = Position::after(lsn);
                ControlFlow::Continue(())
            })
            .map_err(log)?;
        if let Some(fatal) = broken {
            return Err(LookError::Log(fatal));
        }
        let cursor = self.cursor;
        page.retain(|(position, ..)| *position > cursor);
        page.reverse();
        if page.is_empty() && !full {
            // Nothing to tell up to here.
            self.cursor = self.cursor.max(last);
        }
        self.page = page;
        Ok(())
    }
}

fn told_by(lsn: Lsn, record: &Record, page: &mut Vec<(Position, EventKind, Lsn)>) {
    match record {
        Record::Intent(_) => page.push((Position::new(lsn, 0), EventKind::Logged, lsn)),
        Record::Mark(mark) => {
            let Some(kind) = EventKind::of(mark.state) else { return };
            let places = (0..).zip(&mark.ops).map(|(place, op)| (Position::new(lsn, place), kind, *op));
            page.extend(places);
        }
        Record::Image(_) | Record::Checkpoint(_) | Record::Asked(_) | Record::Declined(_) | Record::Lost(_) => {}
    }
}

/// Only an audit can tell what the stores hold. The first reason that a store gives stays, and whoever listens hears of it.
pub(crate) fn audit_needed(core: &Core, shared: &mut Shared, name: StoreName, why: impl FnOnce() -> String) {
    if shared.audit_needed.is_none() {
        let why = why();
        shared.audit_needed = Some(format!("{}: {why}", name.as_str()));
        store(core, shared, name, StoreChange::AuditNeeded, Some(why));
    }
}

/// Something happened to a store: whoever listens hears of it.
pub(crate) fn store(core: &Core, shared: &mut Shared, store: StoreName, change: StoreChange, detail: Option<String>) {
    let number = shared.store_events.back().map_or(1, |(n, _)| n + 1);
    if shared.store_events.len() >= STORE_EVENTS {
        shared.store_events.pop_front();
    }
    shared.store_events.push_back((number, StoreEvent { store, change, at_us: core.parts.clock.now_us(), detail }));
    core.happened.send_modify(|n| *n += 1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_rise_as_texts_and_come_back() {
        let positions = [
            Position::new(Lsn(1), 0),
            Position { store_event: 3, ..Position::new(Lsn(1), 0) },
            Position { store_event: 16, ..Position::new(Lsn(1), 0) },
            Position::new(Lsn(1), 9),
            Position::new(Lsn(1), 10),
            Position::after(Lsn(1)),
            Position::new(Lsn(1 << 40), 0),
        ];
        for pair in positions.windows(2) {
            assert!(pair[0] < pair[1] && pair[0].to_string() < pair[1].to_string());
        }
        for position in positions {
            assert_eq!(position.to_string().parse(), Ok(position));
        }
        for text in [
            "",
            "1",
            "0000000000000001000000000000",
            "00000000000000010000000g",
            "+0000000000000010000000",
            "é0000000000000010000000",
        ] {
            assert!(text.parse::<Position>().is_err(), "{text}");
        }
    }
}
