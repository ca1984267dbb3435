//! Requests that arrive after the daemon that sent them is dead (design 5, scenario A6), and two daemons on the same stores (B3).

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lockstep_api::{Ack, Client};
use lockstep_model::Key;
use lockstep_tests::cluster::{Cluster, Wanted};
use lockstep_tests::daemon::Daemon;
use lockstep_tests::proxy::{Fault, Proxy};
use lockstep_tests::wait::{PATIENCE, run, wait_until};
use serde_json::{Value, json};

use crate::support::{commit, options};

const DELETED: &str = "memory:deleted later";
const REWRITTEN: &str = "memory:rewritten later";
/// A document is recognised in what the proxy holds back by its size.
const PAD_BYTES: usize = 8000;

fn put(key: &str, words: &str) -> Value {
    json!({"op": "put", "key": key, "document": {"words": words, "pad": "x".repeat(PAD_BYTES)}, "vector": [1, 0, 0, 0]})
}

/// Long timeouts: what is held back is what the dying daemon sends, not its second try.
fn wanted() -> Wanted {
    let more = "[retry]\nbase_ms = 20\nmax_ms = 1000\n".to_owned();
    Wanted { timeout_s: 30, more, ..Wanted::default() }
}

/// Holds back the puts of two new keys at `net`, and kills their daemon.
async fn hold_and_kill(daemon: Daemon, net: &Proxy) -> Result<()> {
    let client = daemon.client();
    commit(client, &put("memory:first", "the collection is there, and connections are open")).await?;
    net.set(Fault::Hold).await?;
    for key in [DELETED, REWRITTEN] {
        client.op(put(key, "old").to_string(), &options(Ack::Logged, PATIENCE)).await?;
    }
    // A lone operation does not wait for a batch: the first may be held back alone.
    net.until("a held write", |counts| counts.held > PAD_BYTES as u64).await?;
    // The end of a request is a piece of its own: without it, nothing would be carried out late.
    net.until_quiet().await?;
    daemon.kill().await?;
    net.set(Fault::None).await
}

/// Lets the held bytes go, and waits until the store has answered them.
async fn deliver(net: &Proxy) -> Result<()> {
    ensure!(net.counts().held > PAD_BYTES as u64, "{:?}", net.counts());
    let before = net.counts().unheard;
    net.release();
    net.until("the store's answer to the late request", |counts| counts.held == 0 && counts.unheard > before).await?;
    Ok(())
}

async fn delete_and_rewrite(client: &Client) -> Result<()> {
    client.barrier(Some(PATIENCE)).await?;
    commit(client, &json!({"op": "delete", "key": DELETED})).await?;
    commit(client, &put(REWRITTEN, "new")).await?;
    Ok(())
}

fn keys() -> Result<[Key; 2]> {
    Ok([DELETED.parse()?, REWRITTEN.parse()?])
}

/// Both stores show what the new daemon has made of the keys.
async fn is_as_rewritten(cluster: &Cluster) -> Result<bool> {
    let [deleted, rewritten] = keys()?;
    let seen = cluster.direct().await?.read(&keys()?).await?;
    let (gone, new) = (seen.get(&deleted).context("not read")?, seen.get(&rewritten).context("not read")?);
    let record = new.record.as_ref().with_context(|| format!("{rewritten} is gone"))?;
    let point = new.point.as_ref().with_context(|| format!("the point of {rewritten} is gone"))?;
    let kept = record.document.get("words") == Some(&json!("new")) && point.payload.get("words") == Some(&json!("new"));
    ensure!(kept && record.version == point.version, "{new:?}");
    ensure!(gone.record.is_none(), "the deleted record is back: {gone:?}");
    Ok(gone.point.is_none())
}

/// P3, A6: a transaction that reaches SurrealDB after its daemon is dead, and after the next one has deleted and rewritten its keys, changes
/// nothing. Fails when transactions do not check the fence row, or when the epoch is not raised at start.
#[test]
fn p3_a6_a_late_transaction_of_a_dead_daemon_changes_nothing() -> Result<()> {
    run(async {
        let cluster = Cluster::start(&wanted()).await?;
        hold_and_kill(cluster.daemon().await?, &cluster.surreal_net).await?;
        let daemon = cluster.daemon().await?;
        delete_and_rewrite(daemon.client()).await?;
        deliver(&cluster.surreal_net).await?;
        ensure!(is_as_rewritten(&cluster).await?, "the deleted point is back");
        daemon.terminate().await.map(drop)
    })
}

/// The control of the test above: without a new daemon, the same late transaction does write. Fails when the proxy loses what it
/// held back, and the test above would prove nothing.
#[test]
fn a6_without_a_new_daemon_the_late_transaction_writes() -> Result<()> {
    run(async {
        let cluster = Cluster::start(&wanted()).await?;
        hold_and_kill(cluster.daemon().await?, &cluster.surreal_net).await?;
        let direct = cluster.direct().await?;
        let [deleted, _] = keys()?;
        ensure!(direct.read(std::slice::from_ref(&deleted)).await?.values().all(|seen| seen.record.is_none()));
        deliver(&cluster.surreal_net).await?;
        let (direct, key) = (&direct, &deleted);
        wait_until("the late record", PATIENCE, || async move {
            let seen = direct.read(std::slice::from_ref(key)).await?;
            Ok(seen.values().any(|seen| seen.record.is_some()).then_some(()))
        })
        .await
    })
}

/// P3, A6: the same for an upsert that reaches Qdrant late. Over a newer point it does nothing. A point that was deleted it brings back, for
/// no filter holds where there is no point: it goes when the intents of that time leave the log, as a second look finds it.
/// Fails when upserts carry no filter, or when the second look is not taken.
#[test]
fn p3_a6_a_late_upsert_of_a_dead_daemon_does_not_last() -> Result<()> {
    run(async {
        let mut wanted = wanted();
        wanted.more.push_str("[wal]\nreserve_bytes = \"4 MiB\"\nretain_committed_s = 4\n");
        // The second look is not taken before twice the longest timeout.
        wanted.timeout_s = 3;
        let cluster = Cluster::start(&wanted).await?;
        hold_and_kill(cluster.daemon().await?, &cluster.qdrant_net).await?;
        let daemon = cluster.daemon().await?;
        delete_and_rewrite(daemon.client()).await?;
        deliver(&cluster.qdrant_net).await?;
        let seen = &cluster;
        wait_until("the end of the point that came late", PATIENCE, || async move {
            Ok(is_as_rewritten(seen).await?.then_some(()))
        })
        .await?;
        daemon.terminate().await.map(drop)
    })
}

/// P2, B3: a second daemon with a log of its own refuses to work on stores that another one holds, and says which; with `--adopt` it takes
/// them over, and then the first one stops.
/// Fails when the fence row does not name its log, or when a fenced daemon goes on.
#[test]
fn p2_b3_a_second_daemon_on_the_same_stores_refuses() -> Result<()> {
    run(async {
        let cluster = Cluster::start(&Wanted::default()).await?;
        let first = cluster.daemon().await?;
        commit(first.client(), &put("memory:1", "first")).await?;
        let socket = first.client().socket().display().to_string();

        let other = cluster.launch().clone().data(cluster.folder().join("other data"));
        let refused = other.start()?.ended(PATIENCE).await?;
        ensure!(refused.status.code() == Some(1), "it ended with {}: {}", refused.status, refused.said);
        ensure!(refused.said.contains(&socket), "it does not name {socket}: {}", refused.said);
        commit(first.client(), &put("memory:2", "first")).await?;

        let second = other.clone().argument("--adopt").ready().await?;
        commit(second.client(), &put("memory:3", "second")).await?;
        // It learns that with its next transaction.
        let body = put("memory:4", "first").to_string();
        let late = first.client().op(body, &options(Ack::Committed, Duration::from_secs(5))).await;
        ensure!(!matches!(late, Ok(answer) if answer.status == 200), "the first one still writes");
        let fenced = first.ended(PATIENCE).await?;
        ensure!(fenced.status.code() == Some(1), "the first one ended with {}: {}", fenced.status, fenced.said);
        let socket = second.client().socket().display().to_string();
        ensure!(fenced.said.contains(&socket), "it does not name {socket}: {}", fenced.said);
        let read = cluster.direct().await?.read(&["memory:4".parse()?]).await?;
        ensure!(read.values().all(|seen| seen.record.is_none() && seen.point.is_none()), "{read:?}");
        second.terminate().await.map(drop)
    })
}
