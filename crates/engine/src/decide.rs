//! Decide: what an operator does with a parked operation. Each decision is a record of the log.
//!
//! A discard and a retry are their own end marks. A rollback takes its time: that it was asked is durable before anything is
//! undone, and a start goes on with it. What cannot be done is declined, in a record of its own, and not tried again.

use std::ops::ControlFlow;
use std::sync::Arc;

use lockstep_model::{Access, Action, Code, Lsn, Refusal, State};
use lockstep_stores::{ImageAsk, Want};
use lockstep_wal::{
    Asked, Caller, Class, Decisions, Declined, Durability, Failure, Group, LogError, Record, Summary, Ticket, Verdict,
};
use tokio::sync::oneshot;

use crate::core::{Awaited, Core, Fatal, Shared, StoreName};
use crate::end;
use crate::engine::Engine;
use crate::mark;
use crate::op::{Op, Stage};
use crate::take::{NewIntent, Taken, ending, not_taken};
use crate::work::{read, read_intent};

/// What an operator decides of a parked operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Its content is logged again as a new operation; the old one ends discarded.
    Retry {
        /// Also if the key has been written since.
        force: bool,
    },
    /// What it wrote is taken back, if a store still shows it.
    Rollback,
    /// It ends as it is.
    Discard,
}

impl From<Verdict> for Decision {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Retry { force } => Self::Retry { force },
            Verdict::Rollback => Self::Rollback,
            Verdict::Discard => Self::Discard,
        }
    }
}

/// What became of it.
#[derive(Debug)]
pub struct Decided {
    /// The operation's state now: discarded, rolled back, or still parked because it cannot be taken back.
    pub state: State,
    /// Why it is still parked.
    pub failure: Option<Failure>,
    /// The new operation of a retry.
    pub again: Option<Taken>,
}

impl Engine {
    /// Carries out an operator's decision. When it returns, the decision is durable.
    ///
    /// # Errors
    /// `not_found`; `precondition_failed` if the operation is not parked; `superseded` for a retry of what has been written
    /// since; `store_unavailable` if that cannot be told; what admission says of a retry.
    pub async fn decide(
        &self,
        lsn: Lsn,
        decision: Decision,
        note: Option<String>,
        caller: Caller,
    ) -> Result<Decided, Refusal> {
        if matches!(decision, Decision::Retry { .. })
            && let Some(decided) = hurry(&self.core, lsn)
        {
            return Ok(decided);
        }
        carry_out(&self.core, lsn, decision, note, caller, None).await
    }
}

/// Carries out a decision; `asked` is its record, if it stands in the log already.
pub(crate) async fn carry_out(
    core: &Core,
    lsn: Lsn,
    decision: Decision,
    note: Option<String>,
    caller: Caller,
    asked: Option<Lsn>,
) -> Result<Decided, Refusal> {
    parked(&core.lock(), lsn)?;
    match decision {
        Decision::Discard => discard(core, lsn, note, &caller).await,
        Decision::Rollback => rollback(core, lsn, note, caller, asked).await,
        Decision::Retry { force } => {
            if !force {
                not_superseded(core, lsn).await?;
            }
            retry(core, lsn, note, caller).await
        }
    }
}

/// An open operation that waits for its time is tried now, and what keeps it waiting with it.
fn hurry(core: &Core, lsn: Lsn) -> Option<Decided> {
    let mut shared = core.lock();
    let op = shared.ops.get_mut(&lsn).filter(|op| op.state.is_open() && !op.settled)?;
    let (state, bucket, stage) = (op.state, op.bucket, op.stage);
    let waited = op.trouble.as_mut().and_then(|trouble| trouble.next_attempt.take());
    let queue = if stage == Stage::Qdrant { &mut shared.qdrant } else { &mut shared.surreal };
    if let Some((at, _)) = waited
        && queue.take_delayed(lsn, at)
    {
        queue.push(lsn, bucket);
    }
    shared.breaker(StoreName::Surreal).open_now();
    if bucket.vectors {
        shared.breaker(StoreName::Qdrant).open_now();
    }
    shared.tables.try_now(bucket.table);
    drop(shared);
    core.wake();
    tracing::info!(%lsn, "an operator asked to try it now");
    Some(Decided { state, failure: None, again: None })
}

/// Refuses what is not parked, or is being decided: two operators may have the same idea at once.
fn parked(shared: &Shared, lsn: Lsn) -> Result<(), Refusal> {
    let Some(op) = shared.ops.get(&lsn) else {
        return Err(Refusal::not_found(format!("operation {lsn} is not in the log, or has left it")));
    };
    if op.state != State::Parked || !op.settled {
        let detail = format!("operation {lsn} is {}: only what is parked can be decided", op.state.as_str());
        return Err(Refusal::precondition_failed(detail));
    }
    Ok(())
}

/// What stands beside the end mark: who decided, and why.
fn reason(what: &str, note: Option<String>, caller: &Caller) -> Failure {
    let who = caller.uid.map_or_else(|| "an operator".to_owned(), |uid| format!("uid {uid}"));
    let detail = note.map_or_else(|| format!("{what} by {who}"), |note| format!("{what} by {who}: {note}"));
    Failure { store: "lockstep".into(), code: Code::Parked, detail }
}

async fn discard(core: &Core, lsn: Lsn, note: Option<String>, caller: &Caller) -> Result<Decided, Refusal> {
    let waiting = {
        let mut shared = core.lock();
        parked(&shared, lsn)?;
        let why = reason("discarded", note, caller);
        if let Some(op) = shared.ops.get_mut(&lsn) {
            op.settled = false;
        }
        let mut group = Group::new(Durability::Flush, Class::Drain);
        mark::put(core, &mut group, &[lsn], &[State::Discarded], Some(&why)).map_err(|e| stopping(&e))?;
        let appended = core.append(&mut shared, group).map_err(|e| not_taken(&e))?;
        mark::marked(&mut shared, &[lsn], &[State::Discarded], appended.first);
        end::ended(core, &mut shared, &[lsn], State::Discarded, Some(&why), appended.ticket)
            .map_err(|e| stopping(&e))?;
        drop(shared);
        ending(core, lsn)
    };
    told(waiting).await?;
    Ok(Decided { state: State::Discarded, failure: None, again: None })
}

async fn rollback(
    core: &Core,
    lsn: Lsn,
    note: Option<String>,
    caller: Caller,
    asked: Option<Lsn>,
) -> Result<Decided, Refusal> {
    let waiting = {
        let mut shared = core.lock();
        parked(&shared, lsn)?;
        let asking = match asked {
            Some(_) => None,
            None => Some(append_asked(core, &mut shared, lsn, note, caller)?),
        };
        let mut bytes = 0;
        if let Some(op) = shared.ops.get_mut(&lsn) {
            op.stage = Stage::Undo;
            op.settled = false;
            // The decision is durable before anything is undone.
            op.durable = asking.is_none();
            bytes = u64::from(op.bytes);
        }
        if let Some(at) = asked.or(asking.as_ref().map(|(at, _)| *at)) {
            shared.asked.insert(lsn, at);
        }
        shared.open.insert(lsn);
        shared.open_bytes += bytes;
        shared.enter_again(lsn);
        shared.make_ready(lsn);
        if let Some((_, ticket)) = asking {
            core.when_durable(ticket, Awaited::Logged(lsn, None));
        }
        drop(shared);
        ending(core, lsn)
    };
    core.wake_surreal.notify_one();
    let ended = told(waiting).await?;
    Ok(Decided { state: ended.state, failure: ended.failure, again: None })
}

fn append_asked(
    core: &Core,
    shared: &mut Shared,
    lsn: Lsn,
    note: Option<String>,
    caller: Caller,
) -> Result<(Lsn, Ticket), Refusal> {
    let at_us = core.parts.clock.now_us();
    let asked = Asked { op: lsn, verdict: Verdict::Rollback, caller, at_us, note };
    let mut group = Group::new(Durability::Flush, Class::Drain);
    group.entries.push(Record::Asked(asked).encode().map_err(|e| Refusal::new(Code::TooLarge, e.to_string()))?);
    let appended = core.append(shared, group).map_err(|e| not_taken(&e))?;
    if let Some(op) = shared.ops.get_mut(&lsn) {
        op.add_mark(appended.first);
    }
    Ok((appended.first, appended.ticket))
}

/// The decision about the operation could not be carried out: that is logged, so that nobody tries it for ever.
pub(crate) fn decline(
    core: &Core,
    shared: &mut Shared,
    lsn: Lsn,
    asked: Option<Lsn>,
    failure: &Failure,
) -> Result<Ticket, Arc<LogError>> {
    let mut group = Group::new(Durability::Flush, Class::Drain);
    let at_us = core.parts.clock.now_us();
    if let Some(asked) = asked {
        let declined = Declined { op: lsn, asked, at_us, failure: failure.clone() };
        // What cannot be encoded is shown for as long as this process runs, and found again by the next.
        group.entries.extend(Record::Declined(declined).encode());
    }
    let logged = !group.entries.is_empty();
    let appended = core.append(shared, group)?;
    if let Some(op) = shared.ops.get_mut(&lsn) {
        if logged {
            op.add_mark(appended.first);
        }
        let shown = shown(core, op.records());
        op.trouble().next_attempt = None;
        if let Some(shown) = shown {
            op.trouble().last = Some((shown, at_us));
        }
    }
    Ok(appended.ticket)
}

/// What is to be said of a parked operation with these records: the same as the next start will say.
fn shown(core: &Core, records: &[Lsn]) -> Option<Failure> {
    let mut parked = None;
    let mut decisions = Decisions::default();
    for &record in records {
        match read(core, record) {
            Ok(Record::Mark(mark)) => parked = mark.failure.or(parked),
            Ok(Record::Asked(asked)) => decisions.asked.push((record, asked)),
            Ok(Record::Declined(declined)) => decisions.declined.push((record, declined)),
            Ok(Record::Intent(_) | Record::Image(_) | Record::Checkpoint(_) | Record::Lost(_)) | Err(_) => {}
        }
    }
    decisions.failure(parked.as_ref())
}

/// The new intent and the old end stand in one group: after a crash both are there, or neither.
async fn retry(core: &Core, lsn: Lsn, note: Option<String>, caller: Caller) -> Result<Decided, Refusal> {
    let (waiting, again, logged) = {
        let op = read_intent(core, lsn).map_err(|e| stopping(&e))?.op;
        let mut shared = core.lock();
        parked(&shared, lsn)?;
        let admission = shared.tables.admit(&op.action)?;
        let mut group = Group::new(Durability::Flush, Class::Drain);
        // Whoever repeats its idempotency key hears of the operation that does the work now.
        let intent = NewIntent::prepare(core, &mut shared, op, caller.clone(), admission, &mut group)?;
        let next = core.parts.log.positions().appended.next();
        let why = reason(&format!("logged again as operation {next}"), note, &caller);
        mark::put(core, &mut group, &[lsn], &[State::Discarded], Some(&why)).map_err(|e| stopping(&e))?;
        let appended = core.append(&mut shared, group).map_err(|e| not_taken(&e))?;
        let (sender, logged) = oneshot::channel();
        let taken = intent.remember(core, &mut shared, appended.first, logged);
        let now_ms = shared.now_ms();
        if let Some(op) = shared.ops.get_mut(&lsn).filter(|op| op.bucket.vectors) {
            // What it took along in SurrealDB the new one does not see: its points are looked after by the old one.
            op.may_come_late(now_ms);
        }
        if let Some(op) = shared.ops.get_mut(&lsn) {
            op.settled = false;
        }
        mark::marked(&mut shared, &[lsn], &[State::Discarded], appended.first.next());
        end::ended(core, &mut shared, &[lsn], State::Discarded, Some(&why), appended.ticket)
            .map_err(|e| stopping(&e))?;
        // Everything before an empty group is durable when the group is.
        let behind =
            core.append(&mut shared, Group::new(Durability::Flush, Class::Drain)).map_err(|e| not_taken(&e))?;
        core.when_durable(behind.ticket, Awaited::Logged(taken.lsn, None));
        drop(shared);
        (ending(core, lsn), taken, sender)
    };
    told(waiting).await?;
    // The old end and the new intent are durable together.
    let _ = logged.send(());
    Ok(Decided { state: State::Discarded, failure: None, again: Some(again) })
}

async fn told(waiting: Option<oneshot::Receiver<crate::core::Ending>>) -> Result<crate::core::Ending, Refusal> {
    let gone = || Refusal::new(Code::Stopping, "lockstepd is stopping: look at the operation after the restart");
    waiting.ok_or_else(gone)?.await.map_err(|_| gone())
}

fn stopping(error: &Fatal) -> Refusal {
    Refusal::new(Code::Stopping, error.to_string())
}

/// Refuses if a key of the operation has been written since.
async fn not_superseded(core: &Core, lsn: Lsn) -> Result<(), Refusal> {
    let intent = read_intent(core, lsn).map_err(|e| stopping(&e))?;
    let superseded = |by: &str| {
        let detail = format!("{by} after operation {lsn}: say force to write over it, or discard the operation");
        Err(Refusal::new(Code::Superseded, detail))
    };
    {
        let shared = core.lock();
        for (lane, access) in intent.op.action.lanes() {
            if access == Access::Write
                && let Some((younger, _)) = shared.lanes.holders(lane).into_iter().find(|(holder, _)| *holder > lsn)
            {
                return superseded(&format!("operation {younger} on the same key was logged"));
            }
        }
    }
    if let Some(younger) = written_since(core, lsn, &intent.op.action).map_err(|e| stopping(&e))? {
        return superseded(&format!("operation {younger} on the same key has committed"));
    }
    let keys = intent.op.action.members().iter().filter_map(Action::key);
    let asks: Vec<ImageAsk> = keys.map(|key| ImageAsk { key: key.clone(), want: Want::Stamp, edges: false }).collect();
    let images = core.parts.documents.images(&asks).await.map_err(|error| {
        let detail = format!(
            "{} does not tell whether the key has been written since: {}",
            StoreName::Surreal.as_str(),
            error.detail
        );
        Refusal::new(Code::StoreUnavailable, detail)
    })?;
    for image in images {
        let stamp = image.found.and_then(|found| found.stamp);
        if let Some(stamp) = stamp.filter(|stamp| stamp.version > intent.version) {
            return superseded(&format!("{} was written (version {})", image.key, stamp.version));
        }
    }
    Ok(())
}

/// A younger operation that has committed and wrote a key that the operation writes, also one that removed it. Of what has left the
/// log the summary tells.
pub(crate) fn written_since(core: &Core, lsn: Lsn, action: &Action) -> Result<Option<Lsn>, Fatal> {
    let lanes = action.lanes();
    {
        let shared = core.lock();
        let writes = |op: &Op| lanes.iter().any(|(lane, access)| *access == Access::Write && op.writes(*lane));
        let mut younger = shared.ops.iter().filter(|(at, op)| *at > lsn && op.state == State::Committed && writes(op));
        if let Some((younger, _)) = younger.next_back() {
            return Ok(Some(younger));
        }
    }
    let keys: Vec<_> = action.members().iter().filter_map(Action::key).collect();
    let mut found = None;
    let each = &mut |at: Lsn, bytes: Vec<u8>| {
        if at <= lsn {
            return ControlFlow::Break(());
        }
        let Ok(summary) = Summary::decode(&bytes) else { return ControlFlow::Continue(()) };
        let committed = summary.history.last().is_some_and(|h| h.0 == State::Committed);
        if committed && summary.key.as_ref().is_some_and(|key| keys.contains(&key)) {
            found = Some(at);
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    };
    core.parts.log.scan_summaries(Lsn(u64::MAX), each).map_err(|e| Fatal::Log(e.into()))?;
    Ok(found)
}
