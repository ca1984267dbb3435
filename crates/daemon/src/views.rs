//! What the engine shows, as it stands on the wire. What is not known is null.

use std::collections::BTreeMap;

use lockstep_api::{
    Entity, HitView, OpError, OpView, QdrantSide, RecoveryView, StateCounts, Step, StoreState, StoreView, SurrealSide,
    TableView, VectorSpecView, VectorView, WalView, rfc3339_from_micros,
};
use lockstep_engine as engine;
use lockstep_model::{Lsn, State, Stores, Vector, VectorKind, Vectors};
use serde_json::Value;

/// One operation; `history` only where one is looked at.
pub(crate) fn op(view: engine::OpView, with_history: bool) -> OpView {
    let state = view.state();
    let summary = view.summary;
    let at = |step: Option<&(State, u64)>| step.and_then(|(_, at)| rfc3339_from_micros(*at));
    OpView {
        op_id: summary.op_id,
        lsn: view.lsn,
        version: Some(summary.version),
        key: summary.key.map(|key| key.to_string()),
        op: summary.kind.to_string(),
        state,
        attempts: Some(summary.attempts.into()),
        created_at: at(summary.history.first()),
        updated_at: at(summary.history.last()),
        next_attempt_at: view.next_attempt_us.and_then(rfc3339_from_micros),
        waiting_for: view.waiting_for.map(|waiting| waiting_for(&waiting)),
        history: with_history.then(|| {
            let steps = summary.history.iter();
            steps.map(|(state, at)| Step { state: *state, at: rfc3339_from_micros(*at), note: None }).collect()
        }),
        error: view.error.map(|(failure, at)| OpError {
            // What Lockstep judged itself, no store said.
            store: (failure.store != "lockstep").then_some(failure.store),
            code: failure.code.as_str().to_owned(),
            detail: failure.detail,
            at: rfc3339_from_micros(at),
        }),
    }
}

fn waiting_for(waiting: &engine::WaitingFor) -> String {
    match waiting {
        engine::WaitingFor::Store(store) => format!("store:{}", store.as_str()),
        engine::WaitingFor::Table(table) => format!("table:{table}"),
        engine::WaitingFor::Lsn(lsn) => format!("lsn:{lsn}"),
        engine::WaitingFor::Operator => "operator".to_owned(),
    }
}

/// One key in both stores.
pub(crate) fn entity(view: engine::EntityView) -> Entity {
    let surreal = match view.record {
        Err(error) => SurrealSide { error: Some(error), ..SurrealSide::default() },
        Ok(None) => SurrealSide { found: Some(false), ..SurrealSide::default() },
        Ok(Some(record)) => SurrealSide {
            found: Some(true),
            version: record.version,
            hash: Some(hex(&record.document.hash())),
            document: Some(Value::Object(record.document.to_json())),
            error: None,
        },
    };
    let qdrant = match view.point {
        Err(error) => QdrantSide { error: Some(error), ..QdrantSide::default() },
        Ok(None) => QdrantSide { found: Some(false), ..QdrantSide::default() },
        Ok(Some(point)) => QdrantSide {
            found: Some(true),
            version: point.version,
            hash: Some(hex(&point.vectors.hash())),
            payload: Some(Value::Object(point.payload)),
            vectors: Some(vectors(point.vectors)),
            error: None,
        },
    };
    Entity {
        key: view.key.to_string(),
        verdict: view.verdict.as_str().to_owned(),
        surreal,
        qdrant,
        open_ops: view.open_ops,
    }
}

fn vectors(vectors: Vectors) -> BTreeMap<String, VectorView> {
    vectors.0.into_iter().map(|(name, values)| (name, vector(values))).collect()
}

fn vector(vector: Vector) -> VectorView {
    match vector {
        Vector::Dense(values) => VectorView::Dense(values),
        Vector::Sparse { indices, values } => VectorView::Sparse { indices, values },
        Vector::Multi { dim, values } => {
            let dim = usize::try_from(dim).unwrap_or(usize::MAX).max(1);
            VectorView::Multi(values.chunks(dim).map(<[f32]>::to_vec).collect())
        }
    }
}

fn hex(bytes: &[u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(*bytes))
}

/// One hit of a search.
pub(crate) fn hit(hit: engine::SearchHit) -> HitView {
    HitView {
        key: hit.key.to_string(),
        score: hit.score,
        document: hit.document.map(|document| Value::Object(document.to_json())),
    }
}

/// The log, in figures. `disk_bytes` are what its files take.
pub(crate) fn wal(wal: &engine::WalStatus, disk_bytes: u64) -> WalView {
    let some = wal.last_lsn > Lsn(0);
    WalView {
        first_lsn: (some && wal.first_lsn <= wal.last_lsn).then_some(wal.first_lsn),
        last_lsn: some.then_some(wal.last_lsn),
        checkpoint_lsn: Some(wal.checkpoint_lsn),
        bytes: Some(disk_bytes),
        open_ops: wal.open_ops,
        parked: wal.parked,
        oldest_open_age_s: wal.oldest_open_age_s,
        states: counts(&wal.states),
    }
}

/// Operations by state.
pub(crate) fn counts(states: &BTreeMap<State, u64>) -> StateCounts {
    let mut counts = StateCounts::default();
    for (state, count) in states {
        *counts.of_mut(*state) = *count;
    }
    counts
}

/// One store. `now_us` dates what the engine knows as an age.
pub(crate) fn store(
    status: &engine::StoreStatus,
    endpoint: &str,
    now_us: u64,
    paused_tables: &BTreeMap<String, String>,
) -> StoreView {
    let age_us = |age_s: f64| u64::try_from(std::time::Duration::from_secs_f64(age_s.max(0.0)).as_micros()).ok();
    let down_since = status.down_s.and_then(age_us).and_then(|age| rfc3339_from_micros(now_us.saturating_sub(age)));
    let said = status.last_error.as_ref().map(|(detail, _)| detail.clone());
    StoreView {
        state: store_state(status.state),
        endpoint: Some(endpoint.to_owned()),
        since: down_since,
        detail: if status.down_s.is_some() { said } else { None },
        paused_tables: paused_tables.keys().cloned().collect(),
        losses: status.losses,
    }
}

/// What is known of a store.
pub(crate) const fn store_state(state: engine::StoreState) -> StoreState {
    match state {
        engine::StoreState::Up => StoreState::Up,
        engine::StoreState::Down => StoreState::Down,
        engine::StoreState::Paused => StoreState::Paused,
        engine::StoreState::Unknown => StoreState::Unknown,
    }
}

/// One table.
pub(crate) fn table(view: engine::TableView) -> TableView {
    let stores = match view.stores {
        Stores::Both => "both",
        Stores::Surreal => "surreal",
        Stores::Qdrant => "qdrant",
    };
    let vectors = view.vectors.0.into_iter().map(|(name, spec)| {
        let spec = VectorSpecView {
            kind: spec.kind.to_string(),
            size: (spec.kind != VectorKind::Sparse).then_some(spec.size),
            distance: spec.distance.to_string(),
            required: spec.required,
        };
        (name, spec)
    });
    TableView {
        table: view.table.to_string(),
        stores: stores.to_owned(),
        collection: view.collection,
        vectors: vectors.collect(),
        keep_vector: view.keep_vector,
        point_id: view.point_id,
        configured: view.configured,
        paused: view.paused,
        records: view.records,
        points: view.points,
    }
}

/// What the start found open, and what became of it.
pub(crate) const fn recovery(recovery: engine::Recovery) -> RecoveryView {
    RecoveryView {
        done: recovery.done,
        finished: recovery.finished,
        rolled_back: recovery.rolled_back,
        parked: recovery.parked,
    }
}

#[cfg(test)]
mod tests {
    use lockstep_engine::{StoreName, WaitingFor};

    use super::*;

    #[test]
    fn what_an_operation_waits_for_is_said_as_in_the_contract() {
        let said = |waiting| waiting_for(&waiting);
        assert_eq!(said(WaitingFor::Store(StoreName::Qdrant)), "store:qdrant");
        assert_eq!(said(WaitingFor::Table("memory".to_owned())), "table:memory");
        assert_eq!(said(WaitingFor::Lsn(Lsn(41))), "lsn:41");
        assert_eq!(said(WaitingFor::Operator), "operator");
    }

    #[test]
    fn a_store_that_does_not_answer_says_why() {
        let view = engine::EntityView {
            key: "memory:01".parse().unwrap(),
            verdict: engine::Verdict::Unknown,
            record: Ok(None),
            point: Err("no answer within 10 s".to_owned()),
            open_ops: Vec::new(),
        };
        let shown = entity(view);
        assert_eq!((shown.surreal.found, shown.surreal.error), (Some(false), None));
        assert_eq!((shown.qdrant.found, shown.qdrant.error.as_deref()), (None, Some("no answer within 10 s")));
    }

    #[test]
    fn vectors_and_hashes() {
        let multi = Vector::multi(2, vec![1.0, 2.0, 3.0, 4.0]).unwrap();
        assert_eq!(vector(multi), VectorView::Multi(vec![vec![1.0, 2.0], vec![3.0, 4.0]]));
        let mut bytes = [0; 16];
        bytes[0] = 0xab;
        bytes[15] = 1;
        assert_eq!(hex(&bytes), "ab000000000000000000000000000001");
    }
}
