//! Take: append the intent, and tell when it is durable (design 4.2). From then on the operation survives anything.

use lockstep_model::{ActionKind, Code, Idempotency, Key, Lsn, OpId, Operation, Refusal, State, Version};
use lockstep_wal::{
    Caller, Class, Durability, ErrorClass, Failure, FirstUse, Group, Intent, LogError, Record, SideKey, Summary,
};
use tokio::sync::oneshot;

use crate::admit::admit;
use crate::core::{Awaited, Core, Ending, Shared};
use crate::engine::Engine;
use crate::op::{Op, OpLanes};
use crate::ready::Bucket;
use crate::tables::Admission;
use crate::work::read;

/// An operation that has a place in the log.
#[derive(Debug)]
pub struct Taken {
    /// Its name.
    pub op_id: OpId,
    /// Its place.
    pub lsn: Lsn,
    /// Its version.
    pub version: Version,
    /// What it is about.
    pub key: Option<Key>,
    /// What the members of a group are about, in their order. Empty for what is no group, and where a group has left the log and this took too
    /// much to be kept.
    pub members: Vec<Key>,
    logged: oneshot::Receiver<()>,
}

/// The log stopped before the operation was durable: nothing is promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the log stopped before this was durable")]
pub struct NotLogged;

impl Taken {
    /// Waits until the intent is durable (P1): from then on the operation will end, whatever happens.
    ///
    /// # Errors
    /// [`NotLogged`]: the daemon is stopping because its log failed.
    pub async fn logged(&mut self) -> Result<(), NotLogged> {
        (&mut self.logged).await.map_err(|_| NotLogged)
    }
}

impl Engine {
    /// Gives the operation its place in the log. Returns at once; [`Taken::logged`] tells when it is durable.
    ///
    /// A repeated idempotency key gives the first operation again.
    ///
    /// # Errors
    /// What admission refuses; nothing has been logged then.
    pub fn take(&self, op: Operation, caller: Caller) -> Result<Taken, Refusal> {
        let core = &self.core;
        let mut shared = core.lock();
        if let Some(idempotency) = &op.idempotency
            && let Some(first) = first_use(core, idempotency)?
        {
            return again(core, &mut shared, idempotency, first);
        }
        let admission = admit(core, &mut shared, &op)?;
        append(core, &mut shared, op, caller, admission, Class::Intake)
    }

    /// Tells how the operation ended, when it has and that is durable; `None` if the log knows no such operation.
    #[must_use]
    pub fn ending(&self, lsn: Lsn) -> Option<oneshot::Receiver<Ending>> {
        ending(&self.core, lsn)
    }
}

/// See [`Engine::ending`].
pub(crate) fn ending(core: &Core, lsn: Lsn) -> Option<oneshot::Receiver<Ending>> {
    let mut shared = core.lock();
    let (sender, receiver) = oneshot::channel();
    let ended = match shared.ops.get(&lsn) {
        Some(op) if !op.settled => None,
        // What a later look at the stores met, or was done with, says nothing of how it ended.
        Some(op) if op.state.is_final() => Some(Ending { state: op.state, failure: told(core, op) }),
        Some(op) => {
            Some(Ending { state: op.state, failure: op.trouble.as_ref().and_then(|t| t.last.clone()).map(|l| l.0) })
        }
        None => {
            let summary = summary(core, lsn)?;
            Some(Ending { state: summary.history.last().map_or(State::Pending, |h| h.0), failure: summary.failure })
        }
    };
    match ended {
        // The receiver is in our hands: this cannot fail.
        Some(ending) => {
            let _ = sender.send(ending);
        }
        // The receiver hears that nobody is left to tell it.
        None if core.stop.is_cancelled() => {}
        None => {
            let waiting = shared.waiting.entry(lsn).or_default();
            // Those whose patience ended have gone.
            waiting.retain(|other| !other.is_closed());
            waiting.push(sender);
        }
    }
    Some(receiver)
}

fn first_use(core: &Core, idempotency: &Idempotency) -> Result<Option<FirstUse>, Refusal> {
    let found = core.parts.log.side(&SideKey::Idempotency(idempotency.digest())).map_err(|e| not_taken(&e))?;
    match found.as_deref().map(FirstUse::decode).transpose() {
        Ok(first) => Ok(first),
        Err(error) => {
            tracing::error!(%error, "an idempotency key's note in the log cannot be read");
            Err(Refusal::new(
                Code::Overloaded,
                "what this idempotency key stands for cannot be read: run wal-tools verify",
            ))
        }
    }
}

/// Why the operation ended as it did: its marks say it.
fn told(core: &Core, op: &Op) -> Option<Failure> {
    let failure = |record: &Lsn| match read(core, *record) {
        Ok(Record::Mark(mark)) => mark.failure,
        Ok(
            Record::Intent(_)
            | Record::Image(_)
            | Record::Checkpoint(_)
            | Record::Asked(_)
            | Record::Declined(_)
            | Record::Lost(_),
        )
        | Err(_) => None,
    };
    op.records().iter().rev().find_map(failure)
}

pub(crate) fn summary(core: &Core, lsn: Lsn) -> Option<Summary> {
    let bytes = core.parts.log.side(&SideKey::Summary(lsn)).ok()??;
    Summary::decode(&bytes)
        .inspect_err(|error| tracing::error!(%lsn, %error, "a summary in the log cannot be read"))
        .ok()
}

/// The same idempotency key again: the first operation answers.
fn again(core: &Core, shared: &mut Shared, idempotency: &Idempotency, first: FirstUse) -> Result<Taken, Refusal> {
    if first.body_hash != idempotency.body_hash {
        let detail = format!("idempotency key {:?} was first used with another operation", idempotency.key);
        return Err(Refusal::new(Code::IdempotencyMismatch, detail));
    }
    let (logged, receiver) = oneshot::channel();
    let gone = || Refusal::new(Code::Stopping, "the operation that this idempotency key stands for cannot be read");
    if let Some(op) = shared.ops.get(&first.op) {
        let action = crate::work::read_intent(core, first.op).map_err(|_| gone())?.op.action;
        let taken = Taken {
            op_id: core.op_id(first.op, op.at_us),
            lsn: first.op,
            version: op.version,
            key: action.subject(),
            members: action.subjects(),
            logged: receiver,
        };
        if op.durable {
            let _ = logged.send(());
        } else {
            // Everything before an empty group is durable when the group is.
            let group = Group::new(Durability::Flush, Class::Drain);
            let appended = core.append(shared, group).map_err(|e| not_taken(&e))?;
            core.when_durable(appended.ticket, Awaited::Logged(first.op, Some(logged)));
        }
        return Ok(taken);
    }
    let summary = summary(core, first.op).ok_or_else(gone)?;
    let _ = logged.send(());
    let Summary { op_id, version, key, .. } = summary;
    Ok(Taken { op_id, lsn: first.op, version, key, members: first.keys, logged: receiver })
}

/// Logs the operation.
pub(crate) fn append(
    core: &Core,
    shared: &mut Shared,
    op: Operation,
    caller: Caller,
    admission: Admission,
    class: Class,
) -> Result<Taken, Refusal> {
    let mut group = Group::new(Durability::Flush, class);
    let intent = NewIntent::prepare(core, shared, op, caller, admission, &mut group)?;
    let appended = core.append(shared, group).map_err(|e| not_taken(&e))?;
    let (sender, logged) = oneshot::channel();
    let taken = intent.remember(core, shared, appended.first, logged);
    core.when_durable(appended.ticket, Awaited::Logged(taken.lsn, Some(sender)));
    Ok(taken)
}

/// An intent between being put into a group and having a place in the log.
pub(crate) struct NewIntent {
    at_us: u64,
    version: Version,
    key: Option<Key>,
    members: Vec<Key>,
    op: Op,
    admission: Admission,
}

impl NewIntent {
    /// Puts the intent into the group, which holds no other entry yet.
    pub(crate) fn prepare(
        core: &Core,
        shared: &mut Shared,
        op: Operation,
        caller: Caller,
        admission: Admission,
        group: &mut Group,
    ) -> Result<Self, Refusal> {
        let at_us = core.parts.clock.now_us();
        let version = shared.clock.tick(at_us);
        let (key, members) = (op.action.subject(), op.action.subjects());
        let kind = op.action.kind();
        let lanes = OpLanes::new(op.action.lanes());
        let digest = op.idempotency.as_ref().map(|i| (i.digest(), i.body_hash));
        let record = Record::Intent(Box::new(Intent {
            version,
            at_us,
            caller,
            wants_vectors: admission.wants_vectors,
            defines: admission.defines.clone(),
            op,
        }));
        let too_large = |e: &dyn std::fmt::Display| Refusal::new(Code::TooLarge, e.to_string());
        let entry = record.encode().map_err(|e| too_large(&e))?;
        let bytes = u32::try_from(entry.payload.len()).map_err(|e| too_large(&e))?;
        group.entries.push(entry);
        if let Some((digest, body_hash)) = digest {
            // Every append is made under this lock: the intent's LSN is the next one.
            let op = core.parts.log.positions().appended.next();
            let first = FirstUse { op, body_hash, keys: members.clone() };
            group.side.push((SideKey::Idempotency(digest), Some(first.encode().map_err(|e| too_large(&e))?)));
        }
        let bucket = Bucket { table: admission.table, vectors: admission.wants_vectors };
        Ok(Self { at_us, version, key, members, op: Op::new(version, at_us, kind, lanes, bucket, bytes), admission })
    }

    /// The intent stands at `lsn`: its operation is open from now on.
    pub(crate) fn remember(self, core: &Core, shared: &mut Shared, lsn: Lsn, logged: oneshot::Receiver<()>) -> Taken {
        let Self { at_us, version, key, members, mut op, admission } = self;
        shared.tables.logged(&admission);
        op.blocked = shared.lanes.enter(lsn, op.lanes.as_slice());
        op.moved_ms = shared.now_ms();
        let bytes = u64::from(op.bytes);
        if op.kind == ActionKind::Clear {
            shared.clears.insert(lsn);
        }
        shared.ops.insert(lsn, op);
        shared.open.insert(lsn);
        shared.open_bytes += bytes;
        shared.held_bytes += bytes;
        Taken { op_id: core.op_id(lsn, at_us), lsn, version, key, members, logged }
    }
}

/// The log's refusal as the caller's.
pub(crate) fn not_taken(error: &LogError) -> Refusal {
    match error.class() {
        ErrorClass::Full => Refusal::new(Code::DiskFull, error.to_string()),
        ErrorClass::Usage => Refusal::new(Code::TooLarge, error.to_string()),
        ErrorClass::Held | ErrorClass::Unreadable | ErrorClass::Fatal => {
            Refusal::new(Code::Stopping, format!("the log takes no writes: {error}"))
        }
    }
}
