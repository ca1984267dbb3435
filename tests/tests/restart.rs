//! Starting and stopping: exit codes, the lock, the high-water file, and what a stopped log says.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use lockstep_api::Ack;
use lockstep_model::State;
use lockstep_tests::op_log;
use lockstep_tests::program::built;
use lockstep_tests::wait::{PATIENCE, run, wait_until};
use rustix::process::Signal;
use serde_json::json;
use tokio::process::Command;

use crate::support::{bulk, commit, fresh, options, write};

/// SIGTERM and SIGINT end it with 0, and everything is there at the next start.
/// Fails when a signal kills it half way, or the socket of the last run is in the way.
#[test]
fn p1_signals_stop_it_cleanly_and_it_starts_again() -> Result<()> {
    run(async {
        let (_folder, launch) = fresh()?;
        for (number, signal) in [Signal::TERM, Signal::INT, Signal::TERM].into_iter().enumerate() {
            let daemon = launch.ready().await?;
            for earlier in 0..number {
                let entity = daemon.client().entity(&format!("memory:{earlier}")).await?.into_body();
                ensure!(entity.verdict == "consistent", "{entity:?}");
            }
            let op = json!({"op": "put", "key": format!("memory:{number}"), "document": {}, "vector": [1, 0]});
            commit(daemon.client(), &op).await?;
            daemon.signal(signal)?;
            let ended = daemon.ended(PATIENCE).await?;
            ensure!(ended.status.code() == Some(0), "after {signal:?}: {} {}", ended.status, ended.said);
        }
        Ok(())
    })
}

/// One log has one daemon: the second ends with 4 and names the first, which goes on.
/// Fails when the lock is a file that exists instead of a lock.
#[test]
fn p2_a_second_daemon_on_the_same_log_exits_4() -> Result<()> {
    run(async {
        let (_folder, launch) = fresh()?;
        let daemon = launch.ready().await?;
        let pid = daemon.pid()?.as_raw_nonzero().to_string();
        let second = launch.start()?.ended(PATIENCE).await?;
        ensure!(second.status.code() == Some(4), "{} {}", second.status, second.said);
        ensure!(second.said.contains(&pid), "it names the process that holds the log: {}", second.said);
        commit(daemon.client(), &json!({"op": "put", "key": "memory:1", "document": {}})).await?;
        // A killed one holds nothing.
        daemon.kill().await?;
        launch.ready().await?.terminate().await.map(drop)
    })
}

/// P1, P7: a log without its high-water file, or without its data, is a loss that is told: exit 3, with the command to run.
/// Fails when a missing file is taken for a first start.
#[test]
fn p1_a_log_that_lost_a_file_exits_3_and_says_what_to_run() -> Result<()> {
    run(async {
        for lost in ["highwater", "db"] {
            let (_folder, launch) = fresh()?;
            let daemon = launch.ready().await?;
            commit(daemon.client(), &json!({"op": "put", "key": "memory:1", "document": {}})).await?;
            daemon.kill().await?;
            fs::remove_file(launch.folder().join("wal").join(lost)).context(lost)?;
            let ended = launch.start()?.ended(PATIENCE).await?;
            ensure!(ended.status.code() == Some(3), "without {lost}: {} {}", ended.status, ended.said);
            ensure!(ended.said.contains("wal-tools"), "without {lost}: {}", ended.said);
        }
        Ok(())
    })
}

/// Bad usage and bad configuration end with 2, before anything is touched.
/// Fails when unknown keys are ignored.
#[test]
fn bad_configuration_exits_2_and_touches_nothing() -> Result<()> {
    run(async {
        let (folder, launch) = fresh()?;
        let texts =
            ["[daemon]\nnope = 1\n", "daemon = 3\n", "[tables.\"no name\"]\n", "[limits]\nop_bytes = \"many\"\n"];
        for text in texts {
            let config = write(folder.path(), "bad.toml", text)?;
            let ended = launch.clone().argument("--config").argument(config).start()?.ended(PATIENCE).await?;
            ensure!(ended.status.code() == Some(2), "{text}: {} {}", ended.status, ended.said);
        }
        let ended = launch.clone().argument("--nope").start()?.ended(PATIENCE).await?;
        ensure!(ended.status.code() == Some(2), "{} {}", ended.status, ended.said);
        ensure!(!launch.folder().exists(), "it made its directory");
        Ok(())
    })
}

/// Design 6, rule 9: what has ended leaves the log after a checkpoint; its summary stays, so that it can be asked for.
/// Fails when the checkpoint only moves a number.
#[test]
fn p6_what_has_ended_leaves_the_log_and_can_still_be_asked_for() -> Result<()> {
    run(async {
        let (_folder, launch) = fresh()?;
        let daemon = launch.ready().await?;
        let client = daemon.client();
        let puts = |number| {
            format!("{}\n", json!({"op": "put", "key": format!("memory:{number}"), "document": {}, "vector": [1, 0]}))
        };
        let answers = bulk(client, (0..500).map(puts).collect::<String>().into_bytes(), Ack::Committed).await?;
        let op_id = answers.first().and_then(|answer| answer.op_id).context("no answer")?;
        let wal = wait_until("a log without operations", PATIENCE, || {
            let client = client.clone();
            async move {
                let wal = client.status().await?.into_body().wal;
                Ok((wal.states.committed == 0 && wal.open_ops == 0).then_some(wal))
            }
        })
        .await?;
        ensure!(wal.checkpoint_lsn.is_some(), "{wal:?}");
        let view = client.op_view(op_id).await?.into_body();
        ensure!(view.state == State::Committed && view.history.is_some(), "{view:?}");
        ensure!(client.status().await?.totals.committed == 500);
        daemon.kill().await?;
        // After the checkpoint the stores hold it without the log's help.
        let daemon = launch.ready().await?;
        // The kill may have come before the removal was durable: then the stores are looked at first.
        daemon.client().barrier(None).await?;
        ensure!(daemon.client().entity("memory:499").await?.verdict == "consistent");
        ensure!(daemon.client().op_view(op_id).await?.state == State::Committed);
        ensure!(daemon.client().status().await?.totals.committed == 500, "totals are counted ever");
        daemon.terminate().await.map(drop)
    })
}

/// P8: wal-tools explains a killed daemon's log, and does not change a byte of it.
/// Fails when a tool opens the log to look at it.
#[test]
fn p8_wal_tools_explain_a_dead_log_without_changing_a_byte() -> Result<()> {
    run(async {
        let (_folder, launch) = fresh()?;
        let daemon = launch.ready().await?;
        let client = daemon.client();
        let committed =
            commit(client, &json!({"op": "put", "key": "memory:1", "document": {"n": 1}, "vector": [1, 0]})).await?;
        let pause = lockstep_api::PauseRequest::Store(lockstep_api::StoreName::Qdrant);
        client.pause(&pause).await?;
        let waiting = json!({"op": "put", "key": "memory:2", "document": {"n": 2}, "vector": [0, 1]}).to_string();
        let waiting = client.op(waiting, &options(Ack::Logged, PATIENCE)).await?.into_body();
        daemon.kill().await?;

        let wal = launch.folder().join("wal");
        let before = bytes_of(&wal)?;
        let states = op_log::states(launch.folder(), 10).await?;
        ensure!(states.get(&committed.op_id).is_none_or(|state| *state == State::Committed), "{states:?}");
        ensure!(states.get(&waiting.op_id).is_some_and(|state| state.is_open()), "{states:?}");
        let (waiting, lsn) = (waiting.op_id.to_string(), waiting.lsn.to_string());
        for arguments in [&["status"][..], &["verify"], &["dump"], &["show", &waiting], &["show", &lsn]] {
            let tool = Command::new(built("wal-tools")?)
                .arg("--data")
                .arg(launch.folder())
                .arg("--json")
                .args(arguments)
                .output()
                .await?;
            ensure!(tool.status.success(), "{arguments:?}: {tool:?}");
            ensure!(!tool.stdout.is_empty(), "{arguments:?} says nothing");
        }
        ensure!(bytes_of(&wal)? == before, "looking has changed the log");
        // And what it explained is what a restart does.
        let daemon = launch.ready().await?;
        daemon.client().barrier(Some(PATIENCE)).await?;
        ensure!(daemon.client().entity("memory:2").await?.verdict == "consistent");
        daemon.terminate().await.map(drop)
    })
}

fn bytes_of(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let bytes = if entry.file_type()?.is_file() { fs::read(entry.path())? } else { Vec::new() };
        all.insert(entry.file_name().to_string_lossy().into_owned(), bytes);
    }
    Ok(all)
}
