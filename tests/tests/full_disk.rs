//! The disk under the log fills up while operations come in: new ones are refused, those that are there are finished, and room
//! brings everything back (P6).

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, ensure};
use lockstep_api::{Ack, Client, Error};
use lockstep_model::State;
use lockstep_tests::budget::{say, skip};
use lockstep_tests::machine::is_root;
use lockstep_tests::small_disk::SmallDisk;
use lockstep_tests::wait::{PATIENCE, run, wait_until};
use serde_json::json;
use tokio::task::JoinSet;

use crate::support::{configured, fresh, options};

const CLIENTS: u64 = 6;
/// Well above the floor below which nothing new is taken.
const DISK: u64 = 192 << 20;

/// What a client was told of one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Committed(u64, u64),
    Full,
}

/// Writes one key after the other until told to stop. A refusal is tried again.
async fn load(client: Client, number: u64, stop: Arc<AtomicBool>, full: Arc<AtomicBool>) -> Result<Vec<Told>> {
    let mut told = Vec::new();
    for n in 0.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let key = format!("memory:{number}-{}", n % 50);
        let put = json!({"op": "put", "key": key, "document": {"n": n, "pad": "x".repeat(2000)}, "vector": [1, n % 9]});
        match client.op(put.to_string(), &options(Ack::Committed, PATIENCE)).await {
            Ok(answer) if answer.state == State::Committed => told.push(Told::Committed(number, n)),
            Ok(answer) => anyhow::bail!("it hangs: {answer:?}"),
            Err(Error::Problem { problem, .. }) if problem.status == 507 => {
                ensure!(problem.code == "disk_full" && problem.op_id.is_none(), "{problem:?}");
                full.store(true, Ordering::SeqCst);
                told.push(Told::Full);
                tokio::task::yield_now().await;
            }
            Err(error) => return Err(error).context(put),
        }
    }
    Ok(told)
}

/// Takes all the room that is left but for `rest` bytes.
fn fill(place: &Path, rest: usize) -> Result<()> {
    let filler = place.join("filler");
    let mut file = File::create(&filler)?;
    let block = vec![0; 64 << 10];
    while file.write_all(&block).is_ok() {}
    let length = file.metadata()?.len();
    file.set_len(length.saturating_sub(rest as u64))?;
    Ok(())
}

/// P1, P6: at a full disk the answer is 507 before anything is logged, what was logged is finished, and when there is room again
/// work goes on by itself: the same daemon, nothing lost, nobody waits for ever.
/// Fails when the log takes intents down to the last byte (then it has none for marks and fails), or when a refusal sticks.
#[test]
fn p6_a_disk_that_fills_up_under_load_is_said_and_survived() -> Result<()> {
    if !is_root() {
        skip("a full disk under load", "it mounts a tmpfs: run as root");
        return Ok(());
    }
    run(async {
        let (folder, launch) = fresh()?;
        let disk = match SmallDisk::mount(folder.path(), DISK) {
            Ok(disk) => disk,
            Err(error) => {
                skip("a full disk under load", &format!("no tmpfs can be mounted here: {error:#}"));
                return Ok(());
            }
        };
        let config = format!("[wal]\ndir = {:?}\nreserve_bytes = \"4 MiB\"\n", disk.place().join("wal"));
        let daemon = configured(folder.path(), launch, &config)?.ready().await?;
        let mut all = Vec::new();
        for round in 1..=3 {
            let (stop, full) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
            let mut clients = JoinSet::new();
            for number in 0..CLIENTS {
                let client = Client::new(daemon.client().socket());
                clients.spawn(load(client, round * 10 + number, Arc::clone(&stop), Arc::clone(&full)));
            }
            let size = 200 << (10 * (round % 2));
            fill(disk.place(), size)?;
            wait_until("the first 507", PATIENCE, || async { Ok(full.load(Ordering::SeqCst).then_some(())) }).await?;
            // Draining goes on: nothing is open in the end, on the full disk.
            daemon.client().barrier(Some(PATIENCE)).await.context("what is there is finished")?;
            let status = daemon.client().status().await?.into_body();
            ensure!(status.wal.parked == 0, "{status:?}");
            std::fs::remove_file(disk.place().join("filler"))?;
            let client = daemon.client();
            wait_until("work goes on by itself", PATIENCE, || async move {
                let put = json!({"op": "put", "key": format!("memory:after-{round}"), "document": {"round": round}, "vector": [1, 0]});
                match client.op(put.to_string(), &options(Ack::Committed, PATIENCE)).await {
                    Ok(answer) => Ok((answer.state == State::Committed).then_some(())),
                    Err(Error::Problem { problem, .. }) if problem.status == 507 => Ok(None),
                    Err(error) => Err(error.into()),
                }
            })
            .await?;
            stop.store(true, Ordering::SeqCst);
            while let Some(told) = clients.join_next().await {
                all.extend(told??);
            }
        }
        let refused = all.iter().filter(|told| **told == Told::Full).count();
        say(format!("full disk: {} committed, {refused} refused with 507", all.len() - refused));
        ensure!(refused > 0 && all.len() - refused > 30, "{} answers, {refused} refusals", all.len());
        for told in all {
            // The last of each key that was told as committed is there, or a later one of the same client.
            let Told::Committed(number, n) = told else { continue };
            let entity = daemon.client().entity(&format!("memory:{number}-{}", n % 50)).await?.into_body();
            let shown = entity.surreal.document.as_ref().and_then(|document| document.get("n")?.as_u64());
            ensure!(entity.verdict == "consistent" && shown >= Some(n), "{n} was committed: {entity:?}");
        }
        daemon.terminate().await.map(drop)
    })
}
