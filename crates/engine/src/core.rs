//! What the engine's tasks share, and the few rules by which an operation moves between them.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use lockstep_model::{Lsn, OpId, State, Version, VersionClock};
use lockstep_wal::{Appended, ErrorClass, Failure, Group, LastWrites, LogError, Ticket};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::breaker::Breaker;
use crate::events::StoreEvent;
use crate::lanes::Lanes;
use crate::lsn_map::{LsnMap, LsnSet};
use crate::op::{Op, Stage};
use crate::parts::Parts;
use crate::ready::{Bucket, Ready};
use crate::settings::Settings;
use crate::tables::Tables;
use crate::takers::Along;
use crate::work::Work;

/// While Qdrant is down, one more operation may try it after so many failures.
const FAILURES_A_FOLLOWER: u32 = 16;

/// But no more than so many, however long it is down: each shows its document without its vectors.
const MOST_TRIES: usize = 64;

/// How an operation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// Committed, rolled back, parked or discarded.
    pub state: State,
    /// Why, if it did not commit.
    pub failure: Option<Failure>,
}

/// Something that the log has been told, and that others wait to hear is durable.
pub(crate) enum Awaited {
    /// An intent.
    Logged(Lsn, Option<oneshot::Sender<()>>),
    /// End marks.
    Ended(Vec<(Lsn, Ending)>),
}

/// A store, as an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StoreName {
    /// The document store.
    Surreal,
    /// The vector store.
    Qdrant,
}

impl StoreName {
    /// Its name in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Surreal => "surreal",
            Self::Qdrant => "qdrant",
        }
    }
}

/// How recovery is getting on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Everything that was open at the start has ended.
    pub done: bool,
    /// Operations that it finished.
    pub finished: u64,
    /// Operations that it took back.
    pub rolled_back: u64,
    /// Operations that it parked.
    pub parked: u64,
    /// Committed operations whose stores were looked at.
    pub verified: u64,
    /// Of those, how many had to be written again.
    pub rewritten: u64,
}

pub(crate) struct Shared {
    pub(crate) started: Instant,
    pub(crate) clock: VersionClock,
    pub(crate) ops: LsnMap<Op>,
    /// Operations that have not settled.
    pub(crate) open: LsnSet,
    pub(crate) open_bytes: u64,
    pub(crate) held_bytes: u64,
    pub(crate) lanes: Lanes,
    pub(crate) surreal: Ready,
    pub(crate) qdrant: Ready,
    /// What the first worker has read, for the second.
    pub(crate) handed: HashMap<Lsn, Box<Work>>,
    /// Operations that wait for one in whose lanes they do not stand: edges patched by their keys (`image.rs`), and whoever meets a group
    /// that takes edges along (`takers.rs`).
    pub(crate) behind: HashMap<Lsn, Vec<Lsn>>,
    /// Open groups that take edges along.
    pub(crate) takers: BTreeMap<Lsn, Along>,
    /// Operations that patch an edge by its key, from their image to their durable end.
    pub(crate) patching: LsnSet,
    /// Clears in the log.
    pub(crate) clears: LsnSet,
    pub(crate) tables: Tables,
    pub(crate) breakers: [Breaker; 2],
    pub(crate) waiting: HashMap<Lsn, Vec<oneshot::Sender<Ending>>>,
    pub(crate) barriers: Vec<(Lsn, oneshot::Sender<()>)>,
    /// For each mark in the log, how many of its operations still are.
    pub(crate) marks: HashMap<Lsn, u32>,
    /// Settled, and not yet covered by a checkpoint.
    pub(crate) settled: LsnSet,
    pub(crate) settled_bytes: u64,
    /// Operations that left, ever, by end state.
    pub(crate) left: BTreeMap<State, u64>,
    pub(crate) checkpoint_record: Option<Lsn>,
    /// Open at the start, or to be verified: recovery is done when none is left.
    pub(crate) recovering: LsnSet,
    pub(crate) recovery: Recovery,
    /// Committed operations that are looked at again: a store may have lost something, or somebody asked.
    pub(crate) verifying: LsnSet,
    /// The oldest that was looked at when it was last begun.
    pub(crate) oldest_verified: Option<Lsn>,
    /// What the log says is last, while anything is verified.
    pub(crate) last_writes: Option<LastWrites>,
    /// How often what is retained has been sent to be looked at.
    pub(crate) looks: u64,
    /// What stood in the log up to here, and had not ended or was being looked at when everything else was sent to be verified: it is
    /// verified once more when all of it has.
    pub(crate) look_again: Option<Lsn>,
    /// How often each store had lost its connection when its operations were last verified.
    pub(crate) losses_seen: [u64; 2],
    /// The document store is this log's.
    pub(crate) claimed: bool,
    /// The highest version that was noted in the document store before the last checkpoint of the log.
    pub(crate) noted: Option<Version>,
    /// The highest place of an event that has left the log.
    pub(crate) event_floor: Lsn,
    /// Stores that went down or came back, the newest last, with a running number.
    pub(crate) store_events: VecDeque<(u64, StoreEvent)>,
    /// Decisions about parked operations that are being carried out: the operation, and the record of the decision.
    pub(crate) asked: HashMap<Lsn, Lsn>,
    /// The highest version that a checkpoint has named.
    pub(crate) named: Version,
    /// The last version that the log knew of when it was opened; none if it knew of none, or a repair has lost records.
    pub(crate) opened_at: Option<Version>,
    /// Up to here the log has lost operations: what committed before is not written again by itself.
    pub(crate) lost_operations: Lsn,
    /// What a repair could not bring back may have been anything: only an audit tells what the stores hold.
    pub(crate) lost_by_repair: Option<String>,
    /// The same for what a store has lost or refuses to take again.
    pub(crate) audit_needed: Option<String>,
    /// Collection and payload field, where a point with it has been seen.
    pub(crate) seen_fields: HashSet<(String, String)>,
    /// How large a record was lately: images of a batch are in memory together.
    pub(crate) image_hint: usize,
    pub(crate) stopping: bool,
    /// The second worker has a batch in hand.
    pub(crate) qdrant_busy: bool,
    /// The first worker has a batch in hand.
    pub(crate) surreal_busy: bool,
}

impl Shared {
    /// Milliseconds since some time before the engine started: what operations remember instead of an instant.
    pub(crate) fn now_ms(&self) -> u64 {
        PAST_MS + millis(self.started.elapsed())
    }

    pub(crate) fn breaker(&mut self, store: StoreName) -> &mut Breaker {
        &mut self.breakers[store as usize]
    }

    /// The operation of this log that left the stamp. Another log's may bear the same number: the version tells them apart.
    pub(crate) fn author(&self, op: OpId, version: Version) -> Option<(Lsn, &Op)> {
        let lsn = op.lsn();
        self.ops.get(&lsn).filter(|op| op.version == version).map(|op| (lsn, op))
    }

    /// May work in the bucket start at its first store?
    pub(crate) fn may_start(&self, bucket: Bucket, now: Instant) -> bool {
        let qdrant = &self.breakers[StoreName::Qdrant as usize];
        // While it is down, those that wait for it try it, and nearly nobody follows them before one got through. But that one
        // operation fails again and again says nothing of the store: another has to try.
        let tries = 2 + usize::try_from(qdrant.failures() / FAILURES_A_FOLLOWER).unwrap_or(usize::MAX);
        let tried_already =
            qdrant.down_since.is_some() && (self.qdrant_busy || self.qdrant.len() >= tries.min(MOST_TRIES));
        self.breakers[StoreName::Surreal as usize].allows(now)
            && (!bucket.vectors || (qdrant.allows(now) && !tried_already && self.tables.is_learned()))
            && self.tables.run(bucket.table, now)
            // A table that Qdrant lacks is tried with what waits for Qdrant already.
            && !(bucket.vectors && self.tables.is_missing_in_qdrant(bucket.table) && self.qdrant.has(bucket))
    }

    /// No call to a store has failed since its last success.
    pub(crate) fn is_quiet(&self) -> bool {
        self.breakers.iter().all(|breaker| breaker.failures() == 0)
    }

    /// How many operations wait for Qdrant with their payload in memory. What a paused or missing table holds back is nobody
    /// else's backlog.
    pub(crate) fn backlog(&self, now: Instant) -> usize {
        let runs = |lsn: &Lsn| self.ops.get(lsn).is_some_and(|op| self.tables.run(op.bucket.table, now));
        self.handed.keys().filter(|lsn| runs(lsn)).count()
    }

    /// The operation waits for nobody: it goes where its stage says.
    pub(crate) fn make_ready(&mut self, lsn: Lsn) {
        let Some(op) = self.ops.get(&lsn) else { return };
        if op.blocked > 0 || !op.durable {
            return;
        }
        let at = op.trouble.as_ref().and_then(|t| t.next_attempt).map(|(at, _)| at);
        let bucket = op.bucket;
        let queue = match op.stage {
            Stage::Surreal | Stage::Undo | Stage::Verify | Stage::Relook | Stage::Clear => &mut self.surreal,
            Stage::Qdrant => &mut self.qdrant,
        };
        match at {
            Some(at) => queue.push_at(lsn, bucket, at),
            None => queue.push(lsn, bucket),
        }
    }

    /// An operation that had left its lanes queues in them once more, behind whoever is there.
    pub(crate) fn enter_again(&mut self, lsn: Lsn) {
        let Some(op) = self.ops.get_mut(&lsn) else { return };
        op.released = false;
        op.blocked = self.lanes.enter(lsn, op.lanes.as_slice());
    }

    /// Up to whom nobody gives way to what comes again ([`Shared::enter_first`]): so far somebody stands behind who does not, and an operation
    /// may find out at its turn that it has to wait for any older one.
    pub(crate) fn last_that_stays(&self) -> Lsn {
        self.lanes.last_followed(|lsn| has_begun(&self.ops, lsn))
    }

    /// As [`Shared::enter_again`], but before those younger than `last` that have not begun. For the first worker, between two batches.
    pub(crate) fn enter_first(&mut self, lsn: Lsn, last: Lsn) {
        let Some(wanted) = self.ops.get(&lsn).map(|op| op.lanes.clone()) else { return };
        let ops = &self.ops;
        let gives_way = |other: Lsn| other > last && !has_begun(ops, other);
        let (blocked, back) = self.lanes.enter_before(lsn, wanted.as_slice(), gives_way);
        if let Some(op) = self.ops.get_mut(&lsn) {
            op.released = false;
            op.blocked = blocked;
        }
        for other in back {
            let Some(op) = self.ops.get_mut(&other) else { continue };
            op.blocked += 1;
            self.surreal.take(other, op.bucket);
            if let Some((at, _)) = op.trouble.as_ref().and_then(|trouble| trouble.next_attempt) {
                self.surreal.take_delayed(other, at);
            }
        }
    }

    /// The operation, which a worker has in its hands, waits for an older one in whose lanes it does not stand.
    pub(crate) fn wait_behind(&mut self, lsn: Lsn, older: Lsn) {
        let Some(op) = self.ops.get_mut(&lsn) else { return };
        op.blocked += 1;
        self.behind.entry(older).or_default().push(lsn);
    }

    /// Whom the operation waits behind outside its lanes.
    pub(crate) fn behind_whom(&self, lsn: Lsn) -> Option<Lsn> {
        self.behind.iter().find(|(_, waiting)| waiting.contains(&lsn)).map(|(older, _)| *older)
    }

    /// The operation's lanes go on to the next.
    pub(crate) fn release(&mut self, lsn: Lsn) {
        let Some(op) = self.ops.get_mut(&lsn) else { return };
        if std::mem::replace(&mut op.released, true) {
            return;
        }
        self.takers.remove(&lsn);
        let lanes = op.lanes.clone();
        let mut granted = Vec::new();
        self.lanes.leave(lsn, lanes.as_slice(), |next| granted.push(next));
        granted.extend(self.behind.remove(&lsn).unwrap_or_default());
        let now_ms = self.now_ms();
        for next in granted {
            if let Some(op) = self.ops.get_mut(&next) {
                op.blocked = op.blocked.saturating_sub(1);
                op.waited = true;
                // What is only looked at once more has moved for the last time.
                if !op.settled {
                    op.moved_ms = now_ms;
                }
            }
            self.make_ready(next);
        }
    }
}

/// The first worker may have written something of the operation, or it is only looked at once more.
fn has_begun(ops: &LsnMap<Op>, lsn: Lsn) -> bool {
    !ops.get(&lsn).is_some_and(|op| op.state == State::Pending && op.stage == Stage::Surreal)
}

/// What ended before the engine started is as old as it is, up to this: more than anything is retained for.
const PAST_MS: u64 = 400 * 86_400_000;

/// Whole milliseconds.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub(crate) struct Core {
    pub(crate) parts: Parts,
    settings: RwLock<Arc<Settings>>,
    shared: Mutex<Shared>,
    pub(crate) wake_surreal: Notify,
    pub(crate) wake_qdrant: Notify,
    pub(crate) wake_checkpoint: Notify,
    /// Room may have come: admission is worth another try.
    pub(crate) room: Notify,
    /// Something settled.
    pub(crate) progress: Notify,
    /// Something happened that events tell.
    pub(crate) happened: watch::Sender<u64>,
    /// Held while operations leave, and while it is decided which are verified.
    pub(crate) leaving: tokio::sync::Mutex<()>,
    awaited: mpsc::UnboundedSender<(Ticket, Awaited)>,
    pub(crate) stop: CancellationToken,
    failed: watch::Sender<Option<Arc<Fatal>>>,
}

/// Why the engine stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum Fatal {
    /// The log failed; what was not durable is not acknowledged, and a restart recovers.
    #[error("the log failed")]
    Log(#[source] Arc<LogError>),
    /// Another Lockstep holds the stores.
    #[error("the stores belong to another Lockstep: {0}")]
    Fenced(String),
    /// The stores show something that this log has lost.
    #[error("the log has lost something: {0}")]
    Lost(String),
    /// A task ended that must not.
    #[error("a task ended unexpectedly: {0}")]
    Task(String),
}

pub(crate) type AwaitedReceiver = mpsc::UnboundedReceiver<(Ticket, Awaited)>;

impl Core {
    pub(crate) fn new(parts: Parts, settings: Settings, shared: Shared) -> (Arc<Self>, AwaitedReceiver) {
        let (awaited, receiver) = mpsc::unbounded_channel();
        let core = Self {
            parts,
            settings: RwLock::new(Arc::new(settings)),
            shared: Mutex::new(shared),
            wake_surreal: Notify::new(),
            wake_qdrant: Notify::new(),
            wake_checkpoint: Notify::new(),
            room: Notify::new(),
            progress: Notify::new(),
            happened: watch::Sender::new(0),
            leaving: tokio::sync::Mutex::new(()),
            awaited,
            stop: CancellationToken::new(),
            failed: watch::Sender::new(None),
        };
        (Arc::new(core), receiver)
    }

    /// The settings as they are now.
    pub(crate) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Other settings from now on.
    pub(crate) fn set_settings(&self, settings: Settings) {
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
    }

    /// The shared state. Nothing is awaited while it is held.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Shared> {
        // A panic inside a lock stops the daemon (its task ends unexpectedly); until then the state is as good as it was.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn op_id(&self, lsn: Lsn, at_us: u64) -> OpId {
        OpId::new(self.parts.log.id(), lsn, at_us / 1000)
    }

    /// Appends to the log. Every append is made under the lock, so LSN order is the order of decisions.
    ///
    /// # Errors
    /// The log's own. All but a refusal for want of space stop the engine.
    pub(crate) fn append(&self, _order: &mut Shared, group: Group) -> Result<Appended, Arc<LogError>> {
        self.parts.log.append(group).map_err(|error| {
            let error = Arc::new(error);
            match error.class() {
                ErrorClass::Full | ErrorClass::Usage => {}
                ErrorClass::Held | ErrorClass::Unreadable | ErrorClass::Fatal => {
                    self.fail(Fatal::Log(Arc::clone(&error)))
                }
            }
            error
        })
    }

    /// When the ticket resolves, the rest follows.
    pub(crate) fn when_durable(&self, ticket: Ticket, then: Awaited) {
        // Only after a stop is nobody there to hear it.
        let _ = self.awaited.send((ticket, then));
    }

    /// Both workers look again.
    pub(crate) fn wake(&self) {
        self.wake_surreal.notify_one();
        self.wake_qdrant.notify_one();
    }

    /// Stops everything: no acknowledgement leaves after this.
    pub(crate) fn fail(&self, why: Fatal) {
        if self.stop.is_cancelled() && matches!(&why, Fatal::Log(error) if matches!(**error, LogError::Closed)) {
            // Whoever is still at work when the log has been closed stops like everybody else.
            return;
        }
        let why = Arc::new(why);
        self.failed.send_if_modified(|now| {
            let first = now.is_none();
            if first {
                if matches!(*why, Fatal::Fenced(_)) {
                    tracing::error!(
                        error = %Chain(why.as_ref()),
                        "stopping: a restart does not help while the stores are another one's; if that one is gone for good, \
                         `lockstepd --adopt` takes them over"
                    );
                } else {
                    tracing::error!(error = %Chain(why.as_ref()), "stopping: restart lockstepd, recovery will run");
                }
                *now = Some(Arc::clone(&why));
            }
            first
        });
        self.stop.cancel();
    }

    pub(crate) fn failure(&self) -> watch::Receiver<Option<Arc<Fatal>>> {
        self.failed.subscribe()
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.failed.borrow().is_some()
    }
}

/// An error with its sources, on one line.
pub struct Chain<'a>(pub &'a dyn std::error::Error);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut next = self.0.source();
        while let Some(source) = next {
            write!(f, ": {source}")?;
            next = source.source();
        }
        Ok(())
    }
}
