//! Status and readiness: what is so (P7).

use std::collections::BTreeMap;

use lockstep_model::{Lsn, State};
use tokio::time::Instant;

use crate::admit;
use crate::breaker::StoreState;
use crate::core::{Recovery, Shared, StoreName};
use crate::engine::Engine;

/// The log's part of the status.
#[derive(Debug, Clone, PartialEq)]
pub struct WalStatus {
    /// The lowest record in the log.
    pub first_lsn: Lsn,
    /// The last record.
    pub last_lsn: Lsn,
    /// Every operation below this has left.
    pub checkpoint_lsn: Lsn,
    /// Payload bytes that the log holds.
    pub bytes: u64,
    /// Operations that have not ended.
    pub open_ops: u64,
    /// Operations that wait for an operator.
    pub parked: u64,
    /// Age of the oldest open operation, in seconds.
    pub oldest_open_age_s: Option<f64>,
    /// Operations in the log, by state.
    pub states: BTreeMap<State, u64>,
}

/// A store's part of the status.
#[derive(Debug, Clone, PartialEq)]
pub struct StoreStatus {
    /// What is known of it.
    pub state: StoreState,
    /// Calls that succeeded since the start.
    pub successes: u64,
    /// For how many seconds it has been down.
    pub down_s: Option<f64>,
    /// The last failure and when, in microseconds since 1970.
    pub last_error: Option<(String, u64)>,
    /// How often it may have lost something since the start: connections that broke, signs of older data.
    pub losses: u64,
}

/// What is so, now.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// The log.
    pub wal: WalStatus,
    /// Each operation ever logged, once: by the state that it has now, or had when it left the log.
    pub totals: BTreeMap<State, u64>,
    /// SurrealDB.
    pub surreal: StoreStatus,
    /// Qdrant.
    pub qdrant: StoreStatus,
    /// Recovery since the start.
    pub recovery: Recovery,
    /// Tables that are paused, and why.
    pub paused_tables: BTreeMap<String, String>,
    /// Why an audit is needed, if one is: what a repair has lost, and the first that a store has.
    pub audit_needed: Option<String>,
    /// Committed operations that are being looked at again in the stores.
    pub verifying: u64,
    /// How many seconds back what has ended is still in the log whole; none if nothing is.
    pub covered_s: Option<f64>,
}

/// Everything that only an audit can tell.
fn audit_needed(shared: &Shared) -> Option<String> {
    match (&shared.lost_by_repair, &shared.audit_needed) {
        (Some(repair), Some(store)) => Some(format!("{repair}; {store}")),
        (one, other) => one.clone().or_else(|| other.clone()),
    }
}

impl Engine {
    /// What is so, now.
    #[must_use]
    pub fn status(&self) -> Status {
        let core = &self.core;
        let positions = core.parts.log.positions();
        let usage = core.parts.log.usage();
        let now = Instant::now();
        let now_us = core.parts.clock.now_us();
        let shared = core.lock();
        let mut states: BTreeMap<State, u64> = State::ALL.into_iter().map(|s| (s, 0)).collect();
        for (_, op) in shared.ops.iter() {
            *states.entry(op.state).or_default() += 1;
        }
        let mut totals = states.clone();
        for (state, count) in &shared.left {
            *totals.entry(*state).or_default() += count;
        }
        let oldest = shared.open.first().and_then(|lsn| shared.ops.get(&lsn)).map(|op| op.at_us);
        let store = |name: StoreName| {
            let breaker = &shared.breakers[name as usize];
            StoreStatus {
                state: breaker.state(),
                successes: breaker.successes,
                down_s: breaker.down_since.map(|since| (now - since).as_secs_f64()),
                last_error: breaker.last_error.clone(),
                losses: match name {
                    StoreName::Surreal => core.parts.documents.losses(),
                    StoreName::Qdrant => core.parts.vectors.losses(),
                },
            }
        };
        Status {
            wal: WalStatus {
                first_lsn: positions.first,
                last_lsn: positions.appended,
                checkpoint_lsn: shared
                    .ops
                    .iter()
                    .next()
                    .map(|(lsn, _)| lsn)
                    .unwrap_or_else(|| positions.appended.next()),
                bytes: usage.live_bytes,
                open_ops: shared.open.len() as u64,
                parked: states.get(&State::Parked).copied().unwrap_or(0),
                oldest_open_age_s: oldest
                    .map(|at| std::time::Duration::from_micros(now_us.saturating_sub(at)).as_secs_f64()),
                states,
            },
            totals,
            surreal: store(StoreName::Surreal),
            qdrant: store(StoreName::Qdrant),
            recovery: shared.recovery,
            paused_tables: shared
                .tables
                .iter()
                .filter_map(|(name, info)| Some((name.to_string(), info.standstill()?.to_owned())))
                .collect(),
            audit_needed: audit_needed(&shared),
            verifying: (shared.verifying.len() + shared.recovering.len()) as u64,
            covered_s: shared
                .settled
                .first()
                .and_then(|lsn| shared.ops.get(&lsn))
                .map(|op| std::time::Duration::from_millis(shared.now_ms().saturating_sub(op.moved_ms)).as_secs_f64()),
        }
    }

    /// Why the engine is not ready; empty if it takes operations and work moves.
    #[must_use]
    pub fn unready(&self) -> Vec<String> {
        let core = &self.core;
        let now = Instant::now();
        let stall = core.settings().stall;
        let mut reasons = Vec::new();
        if core.has_failed() || core.parts.log.failure().is_some() {
            reasons.push("the log takes no writes".to_owned());
        }
        let shared = core.lock();
        if shared.stopping {
            reasons.push("stopping".to_owned());
        }
        reasons.extend(admit::no_room(core, &shared).map(|refusal| refusal.detail));
        for (name, breaker) in [StoreName::Surreal, StoreName::Qdrant].into_iter().zip(&shared.breakers) {
            if let Some(since) = breaker.down_since.filter(|since| now - *since >= stall) {
                reasons.push(format!("{} has been down for {} s", name.as_str(), (now - since).as_secs()));
            }
        }
        for (name, info) in shared.tables.iter() {
            if let Some(why) = info.standstill() {
                reasons.push(format!("table {name} is paused: {why}"));
            }
        }
        let now_ms = shared.now_ms();
        let stood = |op: &crate::op::Op| std::time::Duration::from_millis(now_ms.saturating_sub(op.moved_ms));
        // The oldest open operation of every lane moves, or nothing behind it can.
        if let Some((lsn, op)) = shared
            .open
            .iter()
            .take(1024)
            .filter_map(|l| Some((l, shared.ops.get(&l)?)))
            .find(|(_, op)| op.blocked == 0 && stood(op) >= stall)
        {
            reasons.push(format!("operation {lsn} has not moved for {} s", stood(op).as_secs()));
        }
        // What a repair lost does not count: work moves all the same, and whoever repaired was told.
        if let Some(why) = &shared.audit_needed {
            reasons.push(format!("audit needed: {why}"));
        }
        reasons
    }
}
