//! Trouble: a call failed in a way that blames nobody yet. Back off, count, and in the end decide (design 4, "Failures").

use lockstep_model::{Code, Lsn};
use lockstep_stores::{Class, Scope, StoreError};
use lockstep_wal::Failure;
use tokio::time::Instant;

use crate::breaker::{Breaker, backoff};
use crate::core::{Core, Fatal, StoreName};
use crate::events::{self, StoreChange};

/// The code that a store's refusal has for the caller.
pub(crate) const fn refusal_code(store: StoreName) -> Code {
    match store {
        StoreName::Surreal => Code::RejectedBySurreal,
        StoreName::Qdrant => Code::RejectedByQdrant,
    }
}

pub(crate) fn failure_of(store: StoreName, error: &StoreError) -> Failure {
    Failure { store: store.as_str().to_owned(), code: refusal_code(store), detail: error.detail.clone() }
}

/// The failure of an operation whose attempts are used up.
pub(crate) fn given_up(core: &Core, store: StoreName, error: &StoreError) -> Failure {
    let mut failure = failure_of(store, error);
    failure.detail = format!("given up after {} attempts: {}", core.settings().max_attempts, failure.detail);
    failure
}

/// A call on `store` succeeded.
pub(crate) fn succeeded(core: &Core, store: StoreName) {
    answered(core, store, Breaker::succeeded);
}

/// `store` says that it is there: it may be tried, and no attempt counts for it.
pub(crate) fn is_there(core: &Core, store: StoreName) {
    answered(core, store, Breaker::answers);
}

fn answered(core: &Core, store: StoreName, how: impl FnOnce(&mut Breaker) -> bool) {
    let mut shared = core.lock();
    if how(shared.breaker(store)) {
        tracing::info!(store = store.as_str(), "the store answers again");
        events::store(core, &mut shared, store, StoreChange::Up, None);
        // Nobody waits out a backoff that the outage made long.
        match store {
            StoreName::Surreal => shared.surreal.wake_all(),
            StoreName::Qdrant => {
                shared.qdrant.wake_all();
                shared.surreal.wake_all();
            }
        }
        core.wake();
    }
}

/// A call on `store` failed for `ops` together: they wait, and come again. Returns those whose attempts are used up: the
/// failure counts as permanent for them.
pub(crate) fn failed(core: &Core, store: StoreName, ops: &[Lsn], error: &StoreError) -> Vec<Lsn> {
    if error.class == Class::Fenced {
        core.fail(Fatal::Fenced(error.detail.clone()));
        return Vec::new();
    }
    metrics::counter!("lockstep_attempts_total", "store" => store.as_str(), "class" => class_name(error.class))
        .increment(ops.len() as u64);
    let now = Instant::now();
    let now_us = core.parts.clock.now_us();
    let mut shared = core.lock();
    let failures = shared.breaker(store).failures() + 1;
    let settings = core.settings();
    let (base, max) = (settings.retry_base, settings.retry_max);
    let pause = error.retry_after.unwrap_or_else(|| backoff(failures, base, max, core.parts.chance.as_ref()));
    // What is one table's configuration says nothing of the store.
    let of_a_table = error.class == Class::Configuration(Scope::Table);
    if !of_a_table && shared.breaker(store).failed(now, pause, &error.detail, now_us) {
        tracing::warn!(store = store.as_str(), error = %error, "the store counts as down; it is tried again by itself");
        events::store(core, &mut shared, store, StoreChange::Down, Some(error.detail.clone()));
    }
    let blameless = matches!(error.class, Class::Configuration(_));
    let successes = shared.breaker(store).successes;
    let in_company = ops.len() > 1;
    let now_ms = shared.now_ms();
    let mut used_up = Vec::new();
    for &lsn in ops {
        shared.handed.remove(&lsn);
        let Some(op) = shared.ops.get_mut(&lsn) else { continue };
        let table = op.bucket.table;
        if store == StoreName::Qdrant && error.class == Class::Unknown {
            op.may_come_late(now_ms);
        }
        // What was not applied may go the short way again; whatever else happened, what is there decides.
        op.seen |= error.class != Class::NotApplied;
        op.alone |= in_company && !blameless;
        let trouble = op.trouble();
        trouble.tries += 1;
        let mut failure = failure_of(store, error);
        if error.class != Class::Refused {
            failure.code = Code::StoreUnavailable;
        }
        trouble.last = Some((failure, now_us));
        // An attempt counts only while the store serves others.
        if !blameless && trouble.tries > 1 && successes > trouble.successes_seen {
            trouble.attempts += 1;
        }
        trouble.successes_seen = successes;
        if of_a_table {
            // The table waits, not the operation: it comes when the table is tried again.
            trouble.next_attempt = None;
            let chance = core.parts.chance.as_ref();
            if shared.tables.lacks(table, (store, &error.detail), now, |tries| backoff(tries, base, max, chance)) {
                shared.make_ready(lsn);
                continue;
            }
        }
        // A group touches several tables, of which one is missing: it waits by itself.
        let Some(op) = shared.ops.get_mut(&lsn) else { continue };
        let trouble = op.trouble();
        let wait = error.retry_after.unwrap_or_else(|| backoff(trouble.tries, base, max, core.parts.chance.as_ref()));
        let due_us = now_us.saturating_add(u64::try_from(wait.as_micros()).unwrap_or(u64::MAX));
        trouble.next_attempt = Some((now + wait, due_us));
        tracing::debug!(%lsn, store = store.as_str(), tries = trouble.tries, error = %error, "tried again later");
        if trouble.attempts >= settings.max_attempts {
            used_up.push(lsn);
        } else {
            shared.make_ready(lsn);
        }
    }
    core.wake();
    used_up
}

const fn class_name(class: Class) -> &'static str {
    match class {
        Class::Refused => "refused",
        Class::Exists => "exists",
        Class::NotApplied => "not_applied",
        Class::Configuration(_) => "configuration",
        Class::Unknown => "unknown",
        Class::Fenced => "fenced",
    }
}
