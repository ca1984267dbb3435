//! A log whose bytes rot, or whose files are lost: the daemon refuses it, or goes on with all of it. It always says which, and never
//! starts empty.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use lockstep_api::{Ack, Client, PauseRequest, StoreName};
use lockstep_model::OpId;
use lockstep_tests::budget::{number, say};
use lockstep_tests::daemon::Launch;
use lockstep_tests::program::built;
use lockstep_tests::seed::Rng;
use lockstep_tests::wait::{PATIENCE, run, wait_until};
use serde_json::json;

use crate::support::{commit, fresh, options};

/// What happens to the log's directory.
#[derive(Debug, Clone, Copy)]
enum Rot {
    /// One bit of `db`.
    Bit,
    /// A stretch of `db` is zeros.
    Hole,
    /// A file is cut short.
    Cut(&'static str),
    /// A file is empty.
    Emptied(&'static str),
    /// A file is gone.
    Gone(&'static str),
    /// All files are gone together, the stores still hold what this log wrote.
    AllGone,
    /// What sled leaves behind when it dies while it writes a snapshot.
    Leftover,
}

const FILES: [&str; 3] = ["db", "conf", "highwater"];

impl Rot {
    fn all(rng: &mut Rng, many: u64) -> Vec<Self> {
        let mut all: Vec<Self> = vec![Self::Leftover, Self::AllGone];
        for file in FILES {
            all.extend([Self::Cut(file), Self::Emptied(file), Self::Gone(file)]);
        }
        for _ in 0..many {
            all.push(if rng.chance(70) { Self::Bit } else { Self::Hole });
        }
        all
    }

    fn strike(self, log: &Path, rng: &mut Rng) -> Result<String> {
        let place = |file: &str| log.join(file);
        let cut = |file: &str, to: u64| -> Result<String> {
            fs::OpenOptions::new().write(true).open(place(file))?.set_len(to)?;
            Ok(format!("{file} cut to {to} bytes"))
        };
        match self {
            Self::Bit | Self::Hole => {
                let mut bytes = fs::read(place("db"))?;
                // Where anything was ever written: rot in free space is none.
                let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
                let at = usize::try_from(rng.below(used as u64))?;
                let long = if matches!(self, Self::Bit) { 1 } else { 1 + usize::try_from(rng.below(8192))? };
                for byte in bytes.iter_mut().skip(at).take(long) {
                    *byte = if long == 1 { *byte ^ (1 << rng.below(8)) } else { 0 };
                }
                fs::write(place("db"), bytes)?;
                Ok(format!("{long} bytes of db at {at} of {used}"))
            }
            Self::Cut(file) => {
                let length = fs::metadata(place(file))?.len();
                cut(file, rng.below(length))
            }
            Self::Emptied(file) => cut(file, 0),
            Self::Gone(file) => {
                fs::remove_file(place(file))?;
                Ok(format!("{file} is gone"))
            }
            Self::AllGone => {
                FILES.iter().try_for_each(|file| fs::remove_file(place(file)))?;
                Ok("every file is gone".to_owned())
            }
            Self::Leftover => {
                fs::write(place("snap.00000000000000FF.generating"), vec![7; 4096])?;
                Ok("a half-written snapshot".to_owned())
            }
        }
    }
}

/// What a log was told to keep.
struct Known {
    ops: Vec<OpId>,
    /// The last content of each key.
    last: BTreeMap<String, u64>,
}

/// A log with operations that both stores have carried out, and with others that only it knows: SurrealDB is paused.
async fn a_log(launch: &Launch) -> Result<Known> {
    let daemon = launch.ready().await?;
    let client = daemon.client();
    let mut known = Known { ops: Vec::new(), last: BTreeMap::new() };
    let pending = 20..80;
    for n in 0..pending.end {
        let (ack, key) = if n < pending.start {
            // Half of them are written again.
            (Ack::Committed, if n % 2 == 0 { format!("memory:{n}") } else { format!("memory:kept {n}") })
        } else {
            (Ack::Logged, format!("memory:{}", n % 20))
        };
        if n == pending.start {
            client.pause(&PauseRequest::Store(StoreName::Surreal)).await?;
        }
        let put = json!({"op": "put", "key": key, "document": {"n": n, "pad": "x".repeat(400)}, "vector": [1, n]});
        known.ops.push(client.op(put.to_string(), &options(ack, PATIENCE)).await?.op_id);
        known.last.insert(key, n);
    }
    daemon.kill().await?;
    Ok(known)
}

/// Everything has ended, and each key holds in both stores what was sent last.
async fn all_there(client: &Client, known: &Known) -> Result<()> {
    for op_id in &known.ops {
        client.op_view(*op_id).await.with_context(|| format!("{op_id} was acknowledged"))?;
    }
    client.barrier(Some(PATIENCE)).await.context("what is open is finished")?;
    for (key, n) in &known.last {
        let entity = client.entity(key).await?.into_body();
        let shown = entity.surreal.document.as_ref().and_then(|document| document.get("n")?.as_u64());
        ensure!(entity.verdict == "consistent" && shown == Some(*n), "{key} was sent with {n}: {entity:?}");
    }
    Ok(())
}

/// P1, P7: whatever rots, the daemon either ends with 3 and says what to run, or has everything that was acknowledged, and both stores come
/// to hold it. If all files are gone it begins a log, which gets no store: it ends with 1 and says whose they are.
/// Fails when damage is skipped, when a lost file is taken for a first start, and when a refusal does not say what to do.
#[test]
fn p1_p7_a_rotten_log_is_refused_or_whole_and_never_empty() -> Result<()> {
    run(async {
        let many: u64 = number("LOCKSTEP_ROT", 30)?;
        let seed = Rng::seed()?;
        let mut rng = Rng::new(seed);
        let (folder, launch) = fresh()?;
        let known = a_log(&launch).await?;
        let log = launch.folder().join("wal");
        let (mut refused, mut whole) = (0, 0);
        for (number, rot) in Rot::all(&mut rng, many).into_iter().enumerate() {
            // The stores stay what they are: only the log's folder is this one's own.
            let data = folder.path().join(format!("rot-{number}"));
            copy(launch.folder(), &data)?;
            let what = rot.strike(&data.join("wal"), &mut rng).with_context(|| format!("{rot:?}"))?;
            let mut daemon = launch.clone().data(&data).start()?;
            let ready = daemon.until_ready().await;
            let outcome = if ready.is_ok() {
                whole += 1;
                let there = all_there(daemon.client(), &known).await;
                daemon.kill().await?;
                there
            } else {
                refused += 1;
                let ended = daemon.ended(PATIENCE).await?;
                // Without any file it cannot know that there was a log. The stores do: they are another one's, and stay it.
                let right = if matches!(rot, Rot::AllGone) {
                    ended.status.code() == Some(1) && ended.said.contains("belongs to the Lockstep with the log")
                } else {
                    ended.status.code() == Some(3) && ended.said.contains("wal-tools")
                };
                if right { Ok(()) } else { Err(anyhow::anyhow!("{} {}", ended.status, ended.said)) }
            };
            outcome.with_context(|| format!("{what} (number {number}, seed {seed})"))?;
            fs::remove_dir_all(&data)?;
        }
        say(format!("rot: {refused} logs refused, {whole} whole, LOCKSTEP_SEED={seed}"));
        ensure!(refused > 6 && whole > 0, "{refused} refused, {whole} whole: too little to prove anything");
        // The one that nothing happened to.
        let daemon = launch.ready().await?;
        all_there(daemon.client(), &known).await?;
        ensure!(log.is_dir(), "the log lies where it lay");
        daemon.kill().await.map(drop)
    })
}

/// P7: what a repair could not save asks for an audit in the status, and keeps nobody from working: the daemon is ready.
/// Fails when a loss that was decided about keeps a daemon from ever being ready again, or is forgotten.
#[test]
fn p7_a_repaired_log_serves_and_says_what_it_lacks() -> Result<()> {
    run(async {
        let (_folder, launch) = fresh()?;
        a_log(&launch).await?;
        let db = launch.folder().join("wal/db");
        let bytes = fs::read(&db)?;
        fs::write(&db, [&bytes[..4096], &vec![0; bytes.len() - 4096]].concat())?;
        let refused = launch.start()?.ended(PATIENCE).await?;
        ensure!(refused.status.code() == Some(3), "{} {}", refused.status, refused.said);
        let data = launch.folder().display().to_string();
        let repair = tokio::process::Command::new(built("wal-tools")?)
            .args(["--data", &data, "repair", "--write"])
            .output()
            .await?;
        ensure!(repair.status.code() == Some(1), "{repair:?}");
        let daemon = launch.ready().await?;
        let client = daemon.client();
        commit(client, &json!({"op": "put", "key": "memory:after", "document": {}, "vector": [1, 0]})).await?;
        let status = client.status().await?.into_body();
        let why = status.audit_needed.context("an audit is needed")?;
        ensure!(why.contains("repaired without records"), "{why}");
        let ready = client.readyz().await?;
        ensure!(ready.ready, "{:?}", ready.reasons);
        daemon.stopped().await.map(drop)
    })
}

/// P2, B3: a log whose disk was set back to a copy, while its stores went on, is refused: what it holds open is from before.
/// Fails when nothing compares what SurrealDB knows of with the log's last.
#[test]
fn p2_b3_a_log_set_back_to_a_copy_is_refused() -> Result<()> {
    run(async {
        let (_folder, launch) = fresh()?;
        let (log, kept) = (launch.folder().join("wal"), launch.folder().join("kept"));
        let put = |n: u64| json!({"op": "put", "key": format!("memory:{n}"), "document": {"n": n}, "vector": [1, n]});
        let daemon = launch.ready().await?;
        commit(daemon.client(), &put(1)).await?;
        daemon.terminate().await?;
        copy(&log, &kept)?;
        let daemon = launch.ready().await?;
        let last = commit(daemon.client(), &put(2)).await?.lsn;
        let client = daemon.client();
        wait_until("a checkpoint", PATIENCE, || async move {
            // Each write is a chance for one.
            commit(client, &put(3)).await?;
            let status = client.status().await?.into_body();
            Ok(status.wal.checkpoint_lsn.is_some_and(|lsn| lsn > last).then_some(()))
        })
        .await?;
        daemon.kill().await?;
        fs::remove_dir_all(&log)?;
        copy(&kept, &log)?;
        let refused = launch.start()?.ended(PATIENCE).await?;
        let said = &refused.said;
        ensure!(
            refused.status.code() == Some(3) && said.contains("older than its stores"),
            "{} {said}",
            refused.status
        );
        ensure!(said.contains("--adopt"), "it says what to do: {said}");
        let daemon = launch.clone().argument("--adopt").ready().await?;
        commit(daemon.client(), &put(4)).await?;
        daemon.stopped().await.map(drop)
    })
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, there) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            copy(&entry.path(), &there)?;
        } else if kind.is_file() {
            fs::copy(entry.path(), there)?;
        }
    }
    Ok(())
}
