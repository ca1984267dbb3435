//! The disk under the log fills up while operations come in: new ones are refused, those that are there are finished, and room
//! brings everything back (P6).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lockstep_api::{Ack, Client, Error, PauseRequest, StoreName};
use lockstep_model::State;
use lockstep_tests::budget::{say, skip};
use lockstep_tests::machine::is_root;
use lockstep_tests::small_disk::SmallDisk;
use lockstep_tests::wait::{PATIENCE, moment, run, wait_until};
use rustix::fs::statvfs;
use rustix::process::Signal;
use serde_json::json;
use tokio::task::JoinSet;

use crate::support::{configured, fresh, options};

const CLIENTS: u64 = 6;
/// Well above the floor below which nothing new is taken.
const DISK: u64 = 192 << 20;
/// Operations that wait for a store while the disk fills up, and what is left of it then beside the ballast's room.
const ROUNDS: [(u64, u64); 4] = [(0, 200), (0, 200 << 10), (40, 200), (0, 200)];
/// Room for both stores, too.
const SHARED_DISK: u64 = 512 << 20;

/// What a client was told of one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Committed(u64, u64),
    Full,
}

/// Writes one key after the other until told to stop, or until a daemon that may end does. A refusal is tried again.
async fn load(
    client: Client,
    number: u64,
    may_end: bool,
    stop: Arc<AtomicBool>,
    full: Arc<AtomicBool>,
) -> Result<Vec<Told>> {
    let mut told = Vec::new();
    for n in 0.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        match client.op(body(number, n), &options(Ack::Committed, PATIENCE)).await {
            Ok(answer) if answer.state == State::Committed => told.push(Told::Committed(number, n)),
            Ok(answer) => anyhow::bail!("it hangs: {answer:?}"),
            Err(Error::Problem { problem, .. }) if problem.status == 507 => {
                ensure!(problem.code == "disk_full" && problem.op_id.is_none(), "{problem:?}");
                full.store(true, Ordering::SeqCst);
                told.push(Told::Full);
                tokio::task::yield_now().await;
            }
            // It stops, and says so.
            Err(Error::Problem { problem, .. }) if may_end && problem.status == 503 => break,
            Err(Error::Lost { .. } | Error::NoAnswer { .. } | Error::NotReachable { .. } | Error::NoSocket { .. })
                if may_end =>
            {
                break;
            }
            Err(error) => return Err(error).context(body(number, n)),
        }
    }
    Ok(told)
}

/// Takes so many bytes, or all that there are but for `rest`.
fn fill(place: &Path, most: u64, rest: u64) -> Result<()> {
    let mut file = File::create(place.join("filler"))?;
    let block = vec![0; 64 << 10];
    let mut taken = 0;
    while taken < most && file.write_all(&block).is_ok() {
        taken += block.len() as u64;
    }
    let length = file.metadata()?.len();
    file.set_len(most.min(length.saturating_sub(if taken < most { rest } else { 0 })))?;
    Ok(())
}

/// What is free now, but for `rest`: the room of the ballast, which is given up while the disk fills up, is the daemon's.
fn room(place: &Path, rest: u64) -> Result<u64> {
    let found = statvfs(place)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize).saturating_sub(rest))
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
        for (round, (waiting, rest)) in (1..).zip(ROUNDS) {
            let (stop, full) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
            let mut clients = JoinSet::new();
            for number in 0..CLIENTS {
                let client = Client::new(daemon.client().socket());
                clients.spawn(load(client, round * 10 + number, false, Arc::clone(&stop), Arc::clone(&full)));
            }
            let client = daemon.client();
            if waiting > 0 {
                client.pause(&PauseRequest::Store(StoreName::Qdrant)).await?;
            }
            for n in 0..waiting {
                ensure!(try_put(client, &format!("memory:waits-{n}"), n, Ack::Logged).await?, "{n} is refused");
            }
            fill(disk.place(), room(disk.place(), rest)?, rest)?;
            if waiting > 0 {
                wait_until("a full disk", PATIENCE, || async move {
                    let taken = try_put(client, "memory:after-them", round, Ack::Logged).await?;
                    Ok((!taken).then_some(()))
                })
                .await?;
                let open = client.status().await?.wal.open_ops;
                ensure!(open >= waiting, "round {round}: of {waiting} operations that wait {open} are open");
                client.resume(&PauseRequest::Store(StoreName::Qdrant)).await?;
            }
            wait_until("the first 507", PATIENCE, || async { Ok(full.load(Ordering::SeqCst).then_some(())) }).await?;
            // Draining goes on: nothing is open in the end, on the full disk.
            daemon.client().barrier(Some(PATIENCE)).await.context("what is there is finished")?;
            let status = daemon.client().status().await?.into_body();
            ensure!(status.wal.parked == 0, "{status:?}");
            std::fs::remove_file(disk.place().join("filler"))?;
            wait_until("work goes on by itself", PATIENCE, || async move {
                let taken = try_put(client, &format!("memory:after-{round}"), round, Ack::Committed).await?;
                Ok(taken.then_some(()))
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
        nothing_is_lost(daemon.client(), &all).await?;
        daemon.terminate().await.map(drop)
    })
}

/// P1, P6: log and stores share the disk that fills up, as they do with nothing but `--data`. A store that cannot write may end the
/// daemon; with room it starts again, and goes on. Nothing that was acknowledged is lost, nobody waits for ever, and each
/// refusal says what it is.
/// Fails when what a store did not write leaves the log, and when a daemon does not start on what a full disk left behind.
#[test]
fn p1_p6_a_full_disk_under_log_and_stores_loses_nothing() -> Result<()> {
    const WHAT: &str = "a full disk under log and stores";
    if !is_root() {
        skip(WHAT, "it mounts a tmpfs: run as root");
        return Ok(());
    }
    run(async {
        let (folder, launch) = fresh()?;
        let disk = match SmallDisk::mount(folder.path(), SHARED_DISK) {
            Ok(disk) => disk,
            Err(error) => {
                skip(WHAT, &format!("no tmpfs can be mounted here: {error:#}"));
                return Ok(());
            }
        };
        let launch = configured(folder.path(), launch, "[wal]\nreserve_bytes = \"4 MiB\"\n")?;
        let launch = launch.data(disk.place().join("data"));
        let mut daemon = launch.ready().await?;
        let (mut all, mut ends) = (Vec::new(), 0);
        for round in 1..=3 {
            let (stop, full) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
            let mut clients = JoinSet::new();
            for number in 0..CLIENTS {
                let client = Client::new(daemon.client().socket());
                clients.spawn(load(client, round * 10 + number, true, Arc::clone(&stop), Arc::clone(&full)));
            }
            wait_until("some work", PATIENCE, || works(daemon.client(), round)).await?;
            fill(disk.place(), u64::MAX, 200 << (10 * (round % 2)))?;
            wait_until("the first 507, or the end", PATIENCE, || async {
                Ok((full.load(Ordering::SeqCst) || daemon.has_ended()).then_some(()))
            })
            .await?;
            // What is open tries to go on without any room.
            moment(Duration::from_secs(1)).await;
            std::fs::remove_file(disk.place().join("filler"))?;
            let goes_on = wait_until("work goes on, or the end", PATIENCE, || async {
                if daemon.has_ended() {
                    Ok(Some(false))
                } else {
                    Ok(works(daemon.client(), round).await?.map(|()| true))
                }
            })
            .await?;
            stop.store(true, Ordering::SeqCst);
            while let Some(told) = clients.join_next().await {
                all.extend(told??);
            }
            if !goes_on {
                let ended = daemon.ended(PATIENCE).await?;
                say(format!("full disk for all, round {round}: the daemon ended with {}", ended.status));
                ends += 1;
                daemon = launch.ready().await?;
            }
            daemon.client().barrier(Some(PATIENCE)).await.context("what is there is finished")?;
            let status = daemon.client().status().await?.into_body();
            ensure!(status.wal.parked == 0 && status.wal.open_ops == 0, "{status:?}");
        }
        let refused = all.iter().filter(|told| **told == Told::Full).count();
        say(format!("full disk for all: {} committed, {refused} refused, {ends} ends", all.len() - refused));
        ensure!(all.len() - refused > 30 && (refused > 0 || ends > 0), "{} answers, {refused} refusals", all.len());
        nothing_is_lost(daemon.client(), &all).await?;
        // A flush of a store that found no room may have panicked, and the daemon gone on: the next start has it all, too.
        daemon.signal(Signal::TERM)?;
        let ended = daemon.ended(PATIENCE).await?;
        ensure!(ended.status.success(), "{} {}", ended.status, ended.said);
        let daemon = launch.ready().await?;
        nothing_is_lost(daemon.client(), &all).await?;
        daemon.terminate().await.map(drop)
    })
}

/// Whether a put is carried out; nothing if it is refused, or the daemon is gone.
async fn works(client: &Client, round: u64) -> Result<Option<()>> {
    match try_put(client, &format!("memory:works-{round}"), round, Ack::Committed).await {
        Ok(taken) => Ok(taken.then_some(())),
        Err(error) if error.downcast_ref::<Error>().is_some_and(Error::is_transient) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Sends a put; tells whether it was taken, or refused for want of room.
async fn try_put(client: &Client, key: &str, n: u64, ack: Ack) -> Result<bool> {
    let put = json!({"op": "put", "key": key, "document": {"n": n}, "vector": [1, 0]});
    match client.op(put.to_string(), &options(ack, PATIENCE)).await {
        Ok(answer) => Ok(ack == Ack::Logged || answer.state == State::Committed),
        Err(Error::Problem { problem, .. }) if problem.status == 507 => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The last of each key that was told as committed is there, or a later one of the same client.
async fn nothing_is_lost(client: &Client, all: &[Told]) -> Result<()> {
    let mut last = BTreeMap::new();
    for told in all {
        if let Told::Committed(number, n) = told {
            last.insert(key(*number, *n), *n);
        }
    }
    for (key, n) in last {
        let entity = client.entity(&key).await?.into_body();
        let shown = entity.surreal.document.as_ref().and_then(|document| document.get("n")?.as_u64());
        ensure!(entity.verdict == "consistent" && shown >= Some(n), "{n} was committed: {entity:?}");
    }
    Ok(())
}

fn key(number: u64, n: u64) -> String {
    format!("memory:{number}-{}", n % 50)
}

fn body(number: u64, n: u64) -> String {
    let (key, pad) = (key(number, n), "x".repeat(2000));
    json!({"op": "put", "key": key, "document": {"n": n, "pad": pad}, "vector": [1, n % 9]}).to_string()
}
