//! Faults of a whole store: no operation is to blame, and none is blamed.

use anyhow::Result;
use lockstep_api::Ack;
use lockstep_tests::cluster::{Cluster, Wanted};
use lockstep_tests::servers::Kind as Store;
use lockstep_tests::small_disk::SmallDisk;

use super::fault::{Fault, drained};
use super::row::{Row, all_committed, drain};
use super::scene::{Scene, USUAL};
use super::sent::{judge, prepare, send_all};

/// SurrealDB's disk where it becomes full.
const SMALL: u64 = 96 << 20;

/// Operations are in flight when the fault strikes, others come while it lasts; after it has ended, all of them are in both stores.
pub(crate) async fn row(store: Store, fault: Fault) -> Result<Row> {
    let disk = match (fault, store) {
        (Fault::DiskFull, Store::Surreal) => {
            let folder = tempfile::tempdir()?;
            Some((SmallDisk::mount(folder.path(), SMALL)?, folder))
        }
        _ => None,
    };
    let mut wanted = Wanted::default();
    if fault == Fault::Slow {
        // Ten times slower is not too slow.
        wanted.timeout_s = 15;
    }
    if let Some((disk, _)) = &disk {
        wanted = wanted.place(Store::Surreal, disk.place().join("surreal"));
    }
    let mut cluster = Cluster::start(&wanted).await?;
    let daemon = cluster.daemon().await?;
    let client = daemon.client();
    let [flying, first, second] = ["flying", "first", "second"].map(|name| Scene::new(name, USUAL));
    let (flying, first, second) = (flying?, first?, second?);
    for scene in [&flying, &first, &second] {
        prepare(client, &scene.before).await?;
    }

    let (begun, mut sent) =
        tokio::try_join!(fault.begin(&mut cluster, store), send_all(client, flying.acts, Ack::Committed))?;
    let (more, even_more) =
        tokio::try_join!(send_all(client, first.acts, Ack::Committed), send_all(client, second.acts, Ack::Logged))?;
    sent.extend(more.into_iter().chain(even_more));
    begun.until_met(&mut cluster, client).await?;
    let took = if fault == Fault::Slow {
        // Slow is not away.
        let took = drain(client, drained()? * 4).await?;
        begun.end(&mut cluster).await?;
        took
    } else {
        begun.end(&mut cluster).await?;
        drain(client, drained()?).await?
    };

    let direct = cluster.direct().await?;
    let ends = judge(client, &direct, &sent).await?;
    all_committed(&ends)?;
    // An operator is called where credentials are wrong.
    let well = if fault == Fault::Credentials { daemon.stopped().await } else { daemon.terminate().await };
    well.map(drop)?;
    Ok(Row::new(store, fault, &ends, Some(took)))
}
