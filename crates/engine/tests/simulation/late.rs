//! Served stores: what was sent and not answered can be carried out later (scenario A6).

use std::sync::Arc;
use std::time::Duration;

use lockstep_engine::{Engine, Settings, Verdict};
use lockstep_model::{Action, Operation, State, Stores, Table, TableRules, Vectors};
use lockstep_stores::{Point, PointWrite};
use tokio::time::sleep;

use crate::clients::key;
use crate::faults::Outcome;
use crate::machine::Machine;
use crate::reckoning::quiet;
use crate::scene::{ask, delete, end, group, has_point, live, patch, put, run, served, until};
use crate::vectors::{Late, POISON};

const LATE: Duration = Duration::from_secs(20);

/// Requests may come up to 20 s late, and operations are looked after then.
fn late(machine: &Machine) -> Settings {
    Settings { late_after: LATE, retain_committed: Duration::from_secs(1), ..machine.its_settings() }
}

fn orphan(machine: &Machine) -> impl Fn() -> bool {
    let (documents, vectors) = (Arc::clone(&machine.documents), Arc::clone(&machine.vectors));
    move || {
        let documents = documents.lock().unwrap();
        vectors.lock().unwrap().points.values().any(|p| !documents.records.contains_key(p.stamp.key.as_ref().unwrap()))
    }
}

/// A late upsert has brought a deleted point back; once it cannot come any more, the point is gone again.
async fn it_comes_back_and_goes(machine: &Machine, engine: &Engine) {
    until(orphan(machine)).await;
    sleep(LATE * 3).await;
    quiet(engine).await.unwrap();
    let entity = engine.entity(&key("a:1")).await;
    assert_eq!(entity.verdict, Verdict::NotFound, "{entity:?}");
    assert!(!orphan(machine)());
}

/// Requests of the machine come as late as they can.
fn slow() -> Machine {
    let machine = served();
    machine.vectors.lock().unwrap().late_at_least = LATE - Duration::from_secs(1);
    machine
}

#[test]
fn scenario_a6_a_late_upsert_does_not_bring_a_deleted_point_back_for_good() {
    for outcome in [Outcome::Silent, Outcome::Lost] {
        let mut machine = slow();
        let (this, settings) = (machine.again(), late(&machine));
        live(&mut machine, settings, |engine| async move {
            this.faults.script("qdrant", &[outcome]);
            assert_eq!(run(&engine, put("a:1", 1, 1.0)).await.state, State::Committed);
            assert_eq!(run(&engine, delete("a:1")).await.state, State::Committed);
            it_comes_back_and_goes(&this, &engine).await;
        });
    }
}

/// An older delete comes once more after its key was put anew: it is fenced by its version.
#[test]
fn scenario_a6_a_late_delete_does_not_take_a_newer_point() {
    let mut machine = slow();
    let (this, settings) = (machine.again(), late(&machine));
    live(&mut machine, settings, |engine| async move {
        assert_eq!(run(&engine, put("a:1", 1, 1.0)).await.state, State::Committed);
        this.faults.script("qdrant", &[Outcome::Lost]);
        assert_eq!(run(&engine, delete("a:1")).await.state, State::Committed);
        assert_eq!(run(&engine, put("a:1", 2, 2.0)).await.state, State::Committed);
        let on_their_way = || this.vectors.lock().unwrap().on_their_way();
        assert_eq!(on_their_way(), 1, "the delete comes late");
        until(|| on_their_way() == 0).await;
        assert!(has_point(&this, &key("a:1")), "what is newer stays");
    });
}

/// Found by seed 16943: a patch took the vectors of a point that had come late for the record's own, which has none.
#[test]
fn p3_a_late_point_is_not_adopted_by_a_patch() {
    let mut machine = slow();
    let (this, settings) = (machine.again(), late(&machine));
    live(&mut machine, settings, |engine| async move {
        this.faults.script("qdrant", &[Outcome::Silent]);
        run(&engine, put("a:1", 1, 1.0)).await;
        let Action::Put { key, document, .. } = put("a:1", 2, 0.0).action else { unreachable!() };
        let bare = Action::Put { key, document, vectors: Vectors::default() };
        assert_eq!(run(&engine, Operation::plain(bare)).await.state, State::Committed);
        let points = || this.vectors.lock().unwrap().points.len();
        assert_eq!(points(), 0);
        until(|| points() == 1).await;
        assert_eq!(run(&engine, patch("a:1", 3)).await.state, State::Committed);
        assert_eq!(points(), 0, "what came late goes with the patch");
        let entity = engine.entity(&crate::clients::key("a:1")).await;
        assert_eq!(entity.verdict, Verdict::Consistent, "{entity:?}");
    });
}

/// The daemon that sent it is dead; the one after it looks after what may still come.
#[test]
fn scenario_a6_a_late_upsert_of_a_killed_daemon_is_looked_after() {
    let mut machine = slow();
    let (this, settings) = (machine.again(), late(&machine));
    live(&mut machine, settings.clone(), |engine| async move {
        this.faults.script("qdrant", &[Outcome::Silent]);
        assert_eq!(run(&engine, put("a:1", 1, 1.0)).await.state, State::Committed);
        // What the log holds now is durable: this put has ended for good.
        assert_eq!(run(&engine, put("a:2", 1, 1.0)).await.state, State::Committed);
    });
    let this = machine.again();
    live(&mut machine, settings, |engine| async move {
        assert_eq!(run(&engine, delete("a:1")).await.state, State::Committed);
        it_comes_back_and_goes(&this, &engine).await;
    });
}

/// The same, killed before any mark of the put was durable.
#[test]
fn scenario_a6_a_late_upsert_of_what_the_log_calls_pending_is_looked_after() {
    let mut came_back = 0;
    for step in 0..40 {
        let mut machine = Machine { dice: crate::chance::Dice::new(step), ..slow() };
        let (this, settings) = (machine.again(), late(&machine));
        machine.faults.script("qdrant", &[Outcome::Silent; 3]);
        let again = settings.clone();
        machine.live(step, move || async move {
            let engine = this.start(again).await;
            let _ = engine.take(put("a:1", 1, 1.0), lockstep_wal::Caller::default()).unwrap().logged().await;
            loop {
                this.faults.step().await;
                sleep(Duration::from_millis(1)).await;
            }
        });
        if machine.vectors.lock().unwrap().on_their_way() == 0 {
            continue;
        }
        came_back += 1;
        // The next life's own calls are answered: all that tells of a late one is that the operation was open.
        while machine.faults.scripted("qdrant").is_some() {}
        let this = machine.again();
        live(&mut machine, settings, |engine| async move {
            assert_eq!(run(&engine, delete("a:1")).await.state, State::Committed);
            sleep(LATE * 4).await;
            quiet(&engine).await.unwrap();
            assert!(!orphan(&this)(), "killed at {step}");
        });
    }
    assert!(came_back > 0, "some kills came when the request was on its way");
}

/// What is written again long after its operation ended may come late as well: the time counts from the request. It once counted from
/// the end, the look came too early, and the point stayed.
#[test]
fn scenario_a6_what_is_written_again_and_comes_late_is_looked_after() {
    let mut machine = slow();
    let (this, settings) = (machine.again(), Settings { retain_committed: LATE * 10, ..late(&machine) });
    live(&mut machine, settings, |engine| async move {
        let before = this.vectors.lock().unwrap().clone();
        assert_eq!(run(&engine, put("a:1", 1, 1.0)).await.state, State::Committed);
        sleep(LATE * 2).await;
        this.vectors.lock().unwrap().restore(&before);
        this.faults.script("qdrant", &[Outcome::Silent]);
        engine.verify().await.unwrap();
        quiet(&engine).await.unwrap();
        assert_eq!(run(&engine, delete("a:1")).await.state, State::Committed);
        it_comes_back_and_goes(&this, &engine).await;
    });
}

/// P2: a group that was taken back stays so, also when one of its requests comes after all.
#[test]
fn p2_a_late_upsert_of_a_group_that_was_taken_back_changes_nothing_for_good() {
    let mut machine = slow();
    let (this, settings) = (machine.again(), late(&machine));
    live(&mut machine, settings, |engine| async move {
        run(&engine, put("a:1", 1, 1.0)).await;
        run(&engine, put("c:1", 1, 1.0)).await;
        let before = this.vectors.lock().unwrap().points.clone();
        this.faults.script("qdrant", &[Outcome::Silent]);
        let ended = run(&engine, group([put("a:1", 2, 2.0), put("c:1", 2, POISON)])).await;
        assert_eq!(ended.state, State::RolledBack);
        assert_eq!(this.vectors.lock().unwrap().points, before);
        until(|| this.vectors.lock().unwrap().points != before).await;
        sleep(LATE * 3).await;
        quiet(&engine).await.unwrap();
        assert_eq!(this.vectors.lock().unwrap().points, before);
    });
}

/// A process that was killed had begun to write a lost point again. The next one does so itself, a delete follows, and only then the
/// first one's request is carried out: nobody knew of it.
#[test]
fn scenario_a6_what_an_earlier_process_wrote_again_is_looked_after() {
    let mut machine = slow();
    let settings = Settings { retain_committed: Duration::from_secs(36_000), ..late(&machine) };
    live(&mut machine, settings.clone(), |engine| async move {
        assert_eq!(run(&engine, put("a:1", 1, 1.0)).await.state, State::Committed);
    });
    {
        let mut vectors = machine.vectors.lock().unwrap();
        let ((collection, id), Point { stamp, vectors: written, payload }) = vectors.points.pop_first().unwrap();
        let (version, op, key) = (stamp.version.unwrap(), stamp.op.unwrap(), stamp.key.unwrap());
        let again = PointWrite::Upsert { id, key, version, op, vectors: written, payload };
        vectors.send_late(LATE - Duration::from_secs(1), Late::Apply(collection, vec![again]));
    }
    let this = machine.again();
    live(&mut machine, settings, |engine| async move {
        quiet(&engine).await.unwrap();
        assert_eq!(engine.status().recovery.rewritten, 1);
        assert_eq!(run(&engine, delete("a:1")).await.state, State::Committed);
        it_comes_back_and_goes(&this, &engine).await;
    });
}

/// A machine on which Qdrant alone holds the table `b`.
fn with_points_alone(machine: &Machine) -> Settings {
    let mut settings = late(machine);
    let rules = TableRules { stores: Stores::Qdrant, ..TableRules::default() };
    settings.tables.insert(Table::new("b").unwrap(), rules);
    settings
}

/// Where Qdrant alone holds a table no record says what a point is to be: the log does.
#[test]
fn p3_a_late_upsert_does_not_bring_back_a_deleted_point_that_has_no_record() {
    for restart in [false, true] {
        let mut machine = slow();
        let (this, settings) = (machine.again(), with_points_alone(&machine));
        live(&mut machine, settings.clone(), |engine| async move {
            this.faults.script("qdrant", &[Outcome::Silent]);
            for op in [put("b:1", 1, 1.0), put("b:2", 2, 2.0), delete("b:1")] {
                assert_eq!(run(&engine, op).await.state, State::Committed);
            }
            if !restart {
                until(|| has_point(&this, &key("b:1"))).await;
                sleep(LATE * 3).await;
                quiet(&engine).await.unwrap();
                assert!(!has_point(&this, &key("b:1")) && has_point(&this, &key("b:2")));
            }
        });
        let this = machine.again();
        live(&mut machine, settings, |engine| async move {
            sleep(LATE * 4).await;
            quiet(&engine).await.unwrap();
            assert!(!has_point(&this, &key("b:1")) && has_point(&this, &key("b:2")), "restart: {restart}");
        });
    }
}

/// The late request of a group that was taken back.
#[test]
fn p2_a_late_upsert_of_a_group_that_was_taken_back_does_not_stay_where_there_is_no_record() {
    let mut machine = slow();
    let (this, settings) = (machine.again(), with_points_alone(&machine));
    live(&mut machine, settings, |engine| async move {
        run(&engine, put("c:1", 1, 1.0)).await;
        this.vectors.lock().unwrap().late_at_least = LATE - Duration::from_secs(1);
        // The first collection, `b`, is silent; the other refuses.
        this.faults.script("qdrant", &[Outcome::Silent]);
        let lsn = ask(&engine, &this.history, group([put("b:1", 1, 1.0), put("c:1", 2, POISON)])).await;
        assert_eq!(end(&engine, lsn).await.state, State::RolledBack);
        sleep(LATE * 4).await;
        quiet(&engine).await.unwrap();
        assert!(!has_point(&this, &key("b:1")));
    });
}
