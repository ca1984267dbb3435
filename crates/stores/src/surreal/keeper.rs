//! Keeps one link to the store, and the claim on it.
//!
//! - A link on which a call was lost is never used again. The next call of any kind makes a new one, and before that carries
//!   anything, the epoch is raised: nothing that was sent earlier can take effect any more (design 5).
//! - Writes wait for each other: all of them read the fence row, and raising it would make them conflict.
//! - Data that are older than they were are claimed anew, above every epoch that has been, and said to be older.

use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex as StdMutex, PoisonError};

use surrealdb::Surreal;
use surrealdb::engine::any::Any;
use tokio::sync::Mutex;

use crate::surreal::call::{Answers, Failed, Kind, Params, run};
use crate::surreal::claim::{Held, Row, Standing, fenced, guard, look, take};
use crate::surreal::class::Signal;
use crate::surreal::link::{Link, Served, Way};
use crate::surreal::tables::Tables;
use crate::{Claim, Claimant, Class, StoreError};

/// How often a claim is tried that met another change of the row.
const TAKE_TRIES: usize = 4;

/// Where links come from.
#[derive(Debug)]
pub(super) enum Source {
    /// The engine in this process.
    Embedded(Surreal<Any>),
    /// A server.
    Served(Box<Served>),
}

/// The link and the claim.
#[derive(Debug)]
pub(super) struct Keeper {
    source: Source,
    pub(super) tables: Tables,
    state: Mutex<State>,
    /// Held by the one call that writes.
    turn: Mutex<()>,
    attempts: AtomicU64,
    losses: AtomicU64,
    older: StdMutex<Option<String>>,
}

#[derive(Debug, Default)]
struct State {
    link: Option<Arc<Link>>,
    /// A link has been made before.
    linked: bool,
    held: Option<Held>,
    /// Why the last link could not be made.
    failed: Option<StoreError>,
}

impl Keeper {
    pub(super) fn new(source: Source, tables: Tables) -> Self {
        Self {
            source,
            tables,
            state: Mutex::default(),
            turn: Mutex::default(),
            attempts: AtomicU64::new(0),
            losses: AtomicU64::new(0),
            older: StdMutex::default(),
        }
    }

    /// See [`crate::DocumentStore::losses`].
    pub(super) fn losses(&self) -> u64 {
        self.losses.load(Ordering::Acquire)
    }

    /// See [`crate::DocumentStore::restored`].
    pub(super) fn older(&self) -> Option<String> {
        self.older.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The engine in this process.
    pub(super) const fn embedded(&self) -> Option<&Surreal<Any>> {
        match &self.source {
            Source::Embedded(client) => Some(client),
            Source::Served(_) => None,
        }
    }

    /// A link that works as far as is known, behind the present epoch if the store is claimed.
    pub(super) async fn link(&self) -> Result<Arc<Link>, StoreError> {
        self.ready().await.map(|(link, _)| link)
    }

    async fn ready(&self) -> Result<(Arc<Link>, Option<Held>), StoreError> {
        let before = self.attempts.load(Ordering::Acquire);
        let mut state = self.state.lock().await;
        if let Some(link) = state.link.as_ref().filter(|link| link.is_alive()) {
            return Ok((Arc::clone(link), state.held.clone()));
        }
        // Whoever waited for an attempt that failed need not make the same one again.
        let waited = self.attempts.load(Ordering::Acquire) > before;
        if let Some(error) = state.failed.clone().filter(|_| waited) {
            return Err(error);
        }
        let made = self.renew(&mut state).await;
        self.attempts.fetch_add(1, Ordering::AcqRel);
        state.failed = made.as_ref().err().cloned();
        made.map(|link| (link, state.held.clone()))
    }

    /// A new link behind a new epoch.
    async fn renew(&self, state: &mut State) -> Result<Arc<Link>, StoreError> {
        let link = self.connect(state).await?;
        let raised = self.raise(&link, state).await;
        // Where the data are older the claim has been made anew and holds: only this call is told.
        let raised = raised?;
        state.link = Some(Arc::clone(&link));
        match raised {
            None => Ok(link),
            Some(older) => Err(older),
        }
    }

    /// A new link that carries nothing yet.
    async fn connect(&self, state: &mut State) -> Result<Arc<Link>, StoreError> {
        state.link = None;
        self.tables.forget();
        let link = Arc::new(self.source.make().await?);
        self.tables.make_own(&link).await?;
        if state.linked && matches!(self.source, Source::Embedded(_)) {
            tracing::debug!("a call was abandoned: raising the epoch");
        } else if state.linked {
            self.losses.fetch_add(1, Ordering::AcqRel);
            tracing::info!(store = super::STORE, "connected again");
        }
        state.linked = true;
        Ok(link)
    }

    /// Makes everything void that was sent under the present epoch, if there is one. Answers with what to tell if the data
    /// turned out to be older than they were: they are claimed all the same.
    async fn raise(&self, link: &Link, state: &mut State) -> Result<Option<StoreError>, StoreError> {
        let Some(held) = state.held.as_mut() else { return Ok(None) };
        for _ in 0..TAKE_TRIES {
            let row = look(link).await?;
            let standing = held.standing(row.as_ref());
            if let (Standing::Taken, Some(row)) = (&standing, &row) {
                return Err(fenced(row, held.log));
            }
            held.tried = held.tried.max(row.as_ref().map_or(0, |row| row.epoch)).saturating_add(1);
            if !took(take(link, row.as_ref(), held).await)? {
                continue;
            }
            held.epoch = held.tried;
            return match standing {
                Standing::Ours | Standing::Taken => Ok(None),
                Standing::Older(how) => {
                    held.version = row.and_then(|row| row.version);
                    Ok(Some(self.note_older(&how)))
                }
            };
        }
        Err(not_applied("the record lockstep_meta:fence is changing all the time"))
    }

    fn note_older(&self, how: &str) -> StoreError {
        let words = format!(
            "the data of this database are older than they were: {how}; it was restored from a copy, or has lost writes"
        );
        tracing::error!(store = super::STORE, "{words}");
        self.losses.fetch_add(1, Ordering::AcqRel);
        *self.older.lock().unwrap_or_else(PoisonError::into_inner) = Some(words.clone());
        not_applied(&words)
    }

    /// See [`crate::DocumentStore::claim`].
    pub(super) async fn claim(&self, claimant: &Claimant) -> Result<Claim, StoreError> {
        let _turn = self.turn.lock().await;
        let mut state = self.state.lock().await;
        let link = match state.link.as_ref().filter(|link| link.is_alive()) {
            Some(link) => Arc::clone(link),
            None => self.connect(&mut state).await?,
        };
        for _ in 0..TAKE_TRIES {
            let row = look(&link).await?;
            if let Some(row) = row.as_ref().filter(|row| row.log != claimant.log && !claimant.adopt) {
                return Err(fenced(row, claimant.log));
            }
            let before = state.held.as_ref().map_or(0, |held| held.tried);
            let epoch = before.max(row.as_ref().map_or(0, |row| row.epoch)).saturating_add(1);
            let version = row.as_ref().and_then(|row| row.version);
            let held = Held { log: claimant.log, holder: claimant.holder.clone(), epoch, tried: epoch, version };
            if took(take(&link, row.as_ref(), &held).await)? {
                state.held = Some(held);
                state.link = Some(link);
                return Ok(Claim { version });
            }
        }
        Err(not_applied("the record lockstep_meta:fence is changing all the time"))
    }

    /// Notes that the fence row carries `version` now.
    pub(super) async fn noted(&self, version: lockstep_model::Version) {
        if let Some(held) = self.state.lock().await.held.as_mut() {
            held.version = held.version.max(Some(version));
        }
    }

    /// Runs a text that only reads, or defines what may be defined again.
    pub(super) async fn read(&self, text: &str, params: Params) -> Result<Answers, StoreError> {
        let mut again = true;
        loop {
            let link = self.link().await?;
            match run(&link, text, params.clone(), Kind::Read).await {
                Err(failed) if again && may_sign_in_anew(&link, &failed) => again = false,
                outcome => {
                    if outcome.is_err() {
                        self.tables.forget();
                    }
                    return Ok(outcome?);
                }
            }
        }
    }

    /// Runs statements as one transaction behind the fence. Their answers stand before that of COMMIT, the last.
    pub(super) async fn write(&self, statements: &str, params: Params) -> Result<Answers, Failed> {
        let _turn = self.turn.lock().await;
        let text = format!("BEGIN;\n{}\n{statements}\nCOMMIT;", guard());
        let mut again = true;
        loop {
            let (link, held) = self.ready().await.map_err(Failed::plain)?;
            let Some(held) = held else { return Err(Failed::plain(not_applied("the store has not been claimed yet"))) };
            let mut params = params.clone();
            held.bind(&mut params);
            match run(&link, &text, params, Kind::Transaction).await {
                Err(failed) if again && may_sign_in_anew(&link, &failed) => again = false,
                Err(failed) if failed.signal == Some(Signal::FenceMoved) => {
                    return Err(Failed::plain(self.moved(&link).await));
                }
                outcome => return outcome,
            }
        }
    }

    /// See [`Tables::there`].
    pub(super) async fn there<'a>(&self, names: &BTreeSet<&'a str>) -> Result<HashSet<&'a str>, StoreError> {
        let mut again = true;
        loop {
            let link = self.link().await?;
            match self.tables.there(&link, names.iter().copied()).await {
                Err(failed) if again && may_sign_in_anew(&link, &failed) => again = false,
                outcome => return Ok(outcome?),
            }
        }
    }

    /// See [`Tables::ensure`].
    pub(super) async fn ensure(&self, names: &BTreeSet<&str>) -> Result<(), StoreError> {
        let mut again = true;
        loop {
            let link = self.link().await?;
            match self.tables.ensure(&link, names.iter().copied()).await {
                Err(failed) if again && may_sign_in_anew(&link, &failed) => again = false,
                outcome => return Ok(outcome?),
            }
        }
    }

    /// Why the fence let nothing through.
    async fn moved(&self, link: &Link) -> StoreError {
        let mut state = self.state.lock().await;
        let Some(held) = &state.held else { return not_applied("the store has not been claimed yet") };
        let row = match look(link).await {
            Ok(row) => row,
            Err(failed) => return failed.error,
        };
        match (held.standing(row.as_ref()), row) {
            (Standing::Taken, Some(row)) => fenced(&row, held.log),
            (Standing::Ours, Some(Row { epoch, .. })) if epoch == held.epoch => {
                not_applied("the epoch was raised while the transaction was on its way")
            }
            (Standing::Ours | Standing::Older(_) | Standing::Taken, _) => match self.raise(link, &mut state).await {
                Ok(None) => not_applied("the epoch was raised while the transaction was on its way"),
                Ok(Some(error)) | Err(error) => error,
            },
        }
    }
}

impl Source {
    async fn make(&self) -> Result<Link, StoreError> {
        match self {
            Self::Embedded(client) => Ok(Link::new(Way::Embedded(client.clone()))),
            Self::Served(served) => served.make().await,
        }
    }
}

/// A server's session may have run out: what was allowed before is tried once more on a new one.
fn may_sign_in_anew(link: &Link, failed: &Failed) -> bool {
    failed.denied && link.is_proven() && link.is_served()
}

/// A conflict on the row means that it must be looked at again.
fn took(taken: Result<bool, Failed>) -> Result<bool, StoreError> {
    match taken {
        Ok(taken) => Ok(taken),
        Err(failed) if failed.error.class == Class::NotApplied => Ok(false),
        Err(failed) => Err(failed.error),
    }
}

fn not_applied(words: &str) -> StoreError {
    StoreError::new(super::STORE, Class::NotApplied, words)
}
