//! A store comes back with an older copy of its data: what was acknowledged since is written again.

use std::time::Instant;

use anyhow::{Result, ensure};
use lockstep_api::Ack;
use lockstep_model::State;
use lockstep_tests::cluster::{Cluster, Wanted};
use lockstep_tests::servers::Kind as Store;
use lockstep_tests::wait::wait_until;

use super::fault::drained;
use super::row::{Row, all_committed, drain};
use super::scene::{Scene, USUAL};
use super::sent::{Sent, judge, prepare, send_all};
use crate::support::commit;

pub(crate) async fn row(store: Store) -> Result<Row> {
    let mut cluster = Cluster::start(&Wanted::default()).await?;
    let daemon = cluster.daemon().await?;
    let client = daemon.client();
    let (told, open) = (Scene::new("told", USUAL)?, Scene::new("open", USUAL)?);
    for scene in [&told, &open] {
        prepare(client, &scene.before).await?;
    }
    let (server, _) = cluster.store(store);
    server.stop().await?;
    let copy = server.copy().await?;
    server.restart().await?;

    let mut sent = Vec::new();
    for act in told.acts {
        // One by one, and waited for: each is acknowledged as committed before the copy comes back.
        let body = act.body.clone();
        let answer = commit(client, &body).await?;
        sent.push(Sent { act, op_id: answer.op_id, answered: Some(State::Committed) });
    }
    let (server, _) = cluster.store(store);
    server.stop().await?;
    server.restore(&copy).await?;
    sent.extend(send_all(client, open.acts, Ack::Logged).await?);
    let (server, _) = cluster.store(store);
    server.restart().await?;
    let begun = Instant::now();
    drain(client, drained()?).await?;
    let direct = cluster.direct().await?;
    // Verification has no operation that a barrier could wait for.
    let (seen, judged) = (&direct, &sent);
    let ends =
        wait_until(
            "everything in both stores",
            drained()?,
            || async move { Ok(judge(client, seen, judged).await.ok()) },
        )
        .await;
    let ends = match ends {
        Ok(ends) => ends,
        // With what is missing.
        Err(_) => judge(client, &direct, &sent).await?,
    };
    let took = begun.elapsed();
    all_committed(&ends)?;
    ensure!(ends.values().flatten().count() == sent.len());
    daemon.stopped().await?;
    Ok(Row::new(store, "restart with an older copy", &ends, Some(took)))
}
