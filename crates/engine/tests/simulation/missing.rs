//! A collection that is not there, and may not be made: its table waits, and nobody else.

use std::sync::Arc;
use std::time::Duration;

use lockstep_engine::{SearchQuery, Settings, Verdict, WaitingFor};
use lockstep_model::{Action, Code, Operation, Shape, State, Table, TableRules, Vector, Vectors};
use lockstep_stores::Collection;
use tokio::time::sleep;

use crate::clients::key;
use crate::machine::Machine;
use crate::scene::{delete, end, group, live, machine, patch, put, run, served, take, vector};

fn configured() -> Settings {
    let mut settings = Settings { auto_create: false, max_attempts: 3, ..Machine::settings() };
    for name in ["a", "c"] {
        let rules = TableRules { vectors: Some(Shape::infer(&vector(1.0))), ..TableRules::default() };
        settings.tables.insert(Table::new(name).unwrap(), rules);
    }
    settings
}

fn collection(name: &str) -> Collection {
    Collection { name: name.into(), shape: Shape::infer(&vector(1.0)) }
}

#[test]
fn p5_a_missing_collection_pauses_its_table_alone() {
    let mut machine = machine();
    let (documents, vectors) = (Arc::clone(&machine.documents), Arc::clone(&machine.vectors));
    for name in ["a", "c"] {
        vectors.lock().unwrap().make_collection(collection(name));
    }
    live(&mut machine, configured(), |engine| async move {
        run(&engine, put("a:1", 1, 1.0)).await;
        run(&engine, put("c:1", 1, 1.0)).await;
        engine.checkpoint().await.unwrap();
        let lost = vectors.lock().unwrap().lose_collection("c").unwrap();
        let mut waiting = Vec::new();
        for n in 2..30 {
            waiting.push(take(&engine, put(&format!("c:{n}"), n, 1.0)).await);
        }
        let both = take(&engine, group([put("a:7", 7, 7.0), put("c:7", 7, 7.0)])).await;
        for n in 10..200 {
            assert_eq!(run(&engine, put(&format!("a:{n}"), n, 1.0)).await.state, State::Committed);
            sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(run(&engine, delete("a:10")).await.state, State::Committed);
        for (_, op_id) in &waiting {
            let view = engine.op(*op_id).unwrap().unwrap();
            assert!(view.state().is_open(), "{view:?}");
            assert_eq!((view.summary.attempts, view.waiting_for), (0, Some(WaitingFor::Table("c".into()))));
        }
        assert!(engine.status().paused_tables["c"].contains("no collection c"), "{:?}", engine.status().paused_tables);
        assert!(engine.unready().iter().any(|why| why.contains("table c")), "{:?}", engine.unready());
        // It is tried with one operation at a time: SurrealDB fills with no documents that have no vectors.
        let written = documents.lock().unwrap().records.keys().filter(|key| key.table.as_str() == "c").count();
        assert!(written <= 1 + 8 + 1, "{written} records of c came without their points");
        vectors.lock().unwrap().make_collection(lost);
        for (lsn, _) in waiting {
            assert_eq!(end(&engine, lsn).await.state, State::Committed);
        }
        assert_eq!(end(&engine, both.0).await.state, State::Committed);
        assert!(engine.status().paused_tables.is_empty() && engine.unready().is_empty());
        assert!(engine.entity(&key("c:7")).await.point.unwrap().is_some());
    });
}

/// A log that is new, on stores that are not: what Qdrant has of a table that nobody configured is not known before it has answered
/// once. Until then its operations wait, and none of them leaves its point as it was.
#[test]
fn p2_before_qdrant_has_answered_nothing_is_taken_to_have_no_vectors() {
    let mut first = served();
    let mut settings = first.its_settings();
    settings.tables.insert(Table::new("c").unwrap(), TableRules::default());
    live(&mut first, settings.clone(), |engine| async move {
        for op in [put("a:1", 1, 1.0), put("a:2", 2, 2.0), put("b:1", 1, 1.0)] {
            assert_eq!(run(&engine, op).await.state, State::Committed);
        }
    });
    let mut second =
        Machine { documents: Arc::clone(&first.documents), vectors: Arc::clone(&first.vectors), ..served() };
    second.documents.lock().unwrap().claimed = None;
    let this = second.again();
    second.live(u64::MAX, move || async move {
        this.faults.take_down("qdrant", Duration::from_secs(60));
        let engine = this.start(settings).await;
        // Both logs began at the same time.
        sleep(Duration::from_secs(5)).await;
        // P7: what is not known is not told as none.
        let table = Table::new("c").unwrap();
        assert_eq!(engine.count(&table, None).await.points, None);
        assert!(engine.tables().await.iter().all(|view| view.points.is_none()));
        assert_eq!(engine.entity(&key("c:1")).await.verdict, Verdict::Unknown);
        let query = SearchQuery {
            table,
            vector: Vector::Dense(vec![1.0]),
            using: "default".to_owned(),
            limit: 1,
            filter: None,
            with_document: false,
        };
        assert_eq!(engine.search(&query).await.unwrap_err().code, Code::StoreUnavailable);
        let removal = take(&engine, delete("a:1")).await.0;
        let Action::Put { key, document, .. } = put("b:1", 9, 0.0).action else { unreachable!() };
        let bare = Operation::plain(Action::Put { key, document, vectors: Vectors::default() });
        let bare = take(&engine, bare).await.0;
        let patched = take(&engine, patch("a:2", 22)).await.0;
        sleep(Duration::from_secs(10)).await;
        assert_eq!(engine.open_ops(), 3, "they wait");
        for lsn in [removal, bare, patched] {
            assert_eq!(end(&engine, lsn).await.state, State::Committed);
        }
        let points: Vec<_> = this.vectors.lock().unwrap().points.keys().map(|(table, _)| table.clone()).collect();
        assert_eq!(points, ["a"], "what has no vectors any more has no point");
        let entity = engine.entity(&crate::clients::key("a:2")).await;
        assert_eq!(entity.verdict, Verdict::Consistent, "{entity:?}");
    });
}
