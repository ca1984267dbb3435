//! A kill in the middle of a write, and another one later: what was committed between them is there.

use std::fs::{self, File};
use std::path::Path;

use surrealdb::types::{ToSql, Value};

use crate::place::{opened, reopened};

const BLOCK: u64 = 32 * 1024;

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let there = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &there);
        } else {
            fs::copy(&path, &there).unwrap();
        }
    }
}

/// Of a record that goes over the end of a block the second part has not come.
fn tear(dir: &Path) {
    let segments = fs::read_dir(dir.join("wal")).unwrap().map(|entry| entry.unwrap().path());
    let last = segments.filter(|path| path.extension().is_some_and(|extension| extension == "wal")).max().unwrap();
    let file = File::options().write(true).open(last).unwrap();
    let length = file.metadata().unwrap().len();
    assert!(length > BLOCK && !length.is_multiple_of(BLOCK), "{length}");
    file.set_len(length / BLOCK * BLOCK).unwrap();
}

/// Runs a script on the database at `dir`, and copies it as it is then, as a kill leaves it.
async fn killed_after(dir: &Path, script: &str, copied: &Path) -> String {
    let client = reopened(&format!("surrealkv://{}", dir.display())).await;
    client.use_ns("test").use_db("test").await.unwrap();
    let mut answers = client.query(script).await.unwrap().check().unwrap();
    let last = answers.num_statements() - 1;
    copy(dir, copied);
    answers.take::<Value>(last).unwrap().to_sql()
}

/// What is there after two kills, of which the first has torn a record.
async fn after_two_kills(through_the_adapter: bool) -> String {
    let home = tempfile::tempdir().unwrap();
    let [first, second, third, fourth] = ["1", "2", "3", "4"].map(|name| home.path().join(name));
    let long = format!("CREATE t:1; CREATE t:2 SET text = '{}'", "x".repeat(40_000));
    killed_after(&first, &long, &second).await;
    tear(&second);
    if through_the_adapter {
        drop(opened(&format!("surrealkv://{}", second.display())).await);
    }
    let between = killed_after(&second, "CREATE t:3; SELECT VALUE id FROM t", &third).await;
    assert_eq!(between, "[t:1, t:3]", "nobody was told of the torn one");
    killed_after(&third, "SELECT VALUE id FROM t", &fourth).await
}

/// P1: what was committed after a torn record is there after the next kill.
#[tokio::test(flavor = "multi_thread")]
async fn p1_a_torn_record_takes_nothing_along() {
    assert_eq!(after_two_kills(true).await, "[t:1, t:3]");
}

/// Why it is cut off: SurrealKV goes on writing behind it, and drops all of that at the next start. If this fails after an upgrade,
/// `surreal/torn.rs` may go.
#[tokio::test(flavor = "multi_thread")]
async fn surrealkv_drops_what_was_committed_behind_a_torn_record() {
    assert_eq!(after_two_kills(false).await, "[t:1]");
}
