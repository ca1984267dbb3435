//! What goes wrong: the rows of the table. Each fault is provoked, seen to have struck, and ended.

use std::fmt;
use std::fs::File;
use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use lockstep_api::{Client, StoreState, StoreView};
use lockstep_tests::budget::number;
use lockstep_tests::cluster::{ANOTHER, Cluster, PASSWORD};
use lockstep_tests::proxy::{Counts, Fault as Net};
use lockstep_tests::servers::Kind as Store;
use lockstep_tests::wait::{PATIENCE, wait_until};

/// Handshakes and sign-in are over when a connection has carried so much to a store.
const HANDSHAKE_BYTES: u64 = 4096;

/// A fault of a whole store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Refused,
    ResetRequest,
    ResetReply,
    Silence,
    Stopped,
    Killed,
    Credentials,
    Slow,
    DiskFull,
}

pub(crate) const FAULTS: [Fault; 9] = [
    Fault::Refused,
    Fault::ResetRequest,
    Fault::ResetReply,
    Fault::Silence,
    Fault::Stopped,
    Fault::Killed,
    Fault::Credentials,
    Fault::Slow,
    Fault::DiskFull,
];

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Refused => "refused connection",
            Self::ResetRequest => "reset before the request",
            Self::ResetReply => "reset before the reply",
            Self::Silence => "silence beyond the timeout",
            Self::Stopped => "SIGSTOP",
            Self::Killed => "kill -9 and restart",
            Self::Credentials => "wrong credentials",
            Self::Slow => "slow by 10x",
            Self::DiskFull => "full disk",
        })
    }
}

/// A fault that has begun.
pub(crate) struct Begun {
    fault: Fault,
    store: Store,
    counts: Counts,
}

impl Fault {
    /// Whether servers of somebody else can be used.
    pub(crate) const fn spares_the_server(self) -> bool {
        match self {
            Self::Refused | Self::ResetRequest | Self::ResetReply | Self::Silence | Self::Slow => true,
            Self::Stopped | Self::Killed | Self::Credentials | Self::DiskFull => false,
        }
    }

    /// Lets it strike.
    pub(crate) async fn begin(self, cluster: &mut Cluster, store: Store) -> Result<Begun> {
        let (_, net) = cluster.store(store);
        let begun = Begun { fault: self, store, counts: net.counts() };
        match (self, store) {
            (Self::Credentials, Store::Surreal) => {
                cluster.set_password(ANOTHER).await?;
                cluster.surreal_net.cut();
            }
            (Self::DiskFull, Store::Qdrant) => cluster.qdrant.misbehave("disk-full")?,
            (Self::DiskFull, Store::Surreal) => fill(cluster)?,
            _ => {
                let (server, net) = cluster.store(store);
                match self {
                    Self::Refused => net.set(Net::Refuse).await?,
                    Self::ResetRequest => net.set(Net::ResetRequest).await?,
                    Self::ResetReply => net.set(Net::ResetReply { past: 0 }).await?,
                    Self::Silence => net.set(Net::Silence).await?,
                    Self::Slow => net.set(Net::Slower(10)).await?,
                    Self::Stopped => server.freeze().await?,
                    Self::Killed => server.kill().await?,
                    Self::Credentials => {
                        server.stop().await?;
                        server.change_secret("another key");
                        server.restart().await?;
                    }
                    Self::DiskFull => bail!("done above"),
                }
            }
        }
        Ok(begun)
    }
}

impl Begun {
    /// Waits until the daemon has met it.
    pub(crate) async fn until_met(&self, cluster: &mut Cluster, client: &Client) -> Result<()> {
        let before = self.counts;
        match self.fault {
            Fault::Refused | Fault::Stopped | Fault::Killed | Fault::Silence | Fault::DiskFull => {
                self.until_state(client, |state| state == StoreState::Down).await
            }
            Fault::Credentials => {
                self.until_state(client, |state| matches!(state, StoreState::Paused | StoreState::Down)).await
            }
            Fault::ResetRequest => {
                let (_, net) = cluster.store(self.store);
                net.until("resets", |counts| counts.resets > before.resets + 1).await.map(drop)
            }
            Fault::ResetReply => {
                let (_, net) = cluster.store(self.store);
                net.until("a reset", |counts| counts.resets > before.resets).await?;
                // Further on: handshakes pass, and what follows them is carried out and not answered.
                let before = net.counts();
                net.set(Net::ResetReply { past: HANDSHAKE_BYTES }).await?;
                net.until("more resets", |counts| counts.resets > before.resets + 1).await.map(drop)
            }
            Fault::Slow => {
                let (_, net) = cluster.store(self.store);
                net.until("slow answers", |counts| counts.delayed > before.delayed).await.map(drop)
            }
        }
    }

    /// What the daemon says of the store.
    pub(crate) async fn view(store: Store, client: &Client) -> Result<StoreView> {
        let stores = client.status().await?.into_body().stores;
        Ok(if store == Store::Surreal { stores.surreal } else { stores.qdrant })
    }

    async fn until_state(&self, client: &Client, is: impl Fn(StoreState) -> bool) -> Result<()> {
        let is = &is;
        wait_until("the daemon's word that the store is away", PATIENCE, || async move {
            let view = Self::view(self.store, client).await?;
            Ok(is(view.state).then_some(()))
        })
        .await
        .with_context(|| self.fault.to_string())
    }

    /// The store is back when this returns.
    pub(crate) async fn end(self, cluster: &mut Cluster) -> Result<()> {
        let old_key = cluster.qdrant_key().to_owned();
        match (self.fault, self.store) {
            (Fault::Credentials, Store::Surreal) => cluster.set_password(PASSWORD).await,
            (Fault::DiskFull, Store::Qdrant) => cluster.qdrant.misbehave(""),
            (Fault::DiskFull, Store::Surreal) => {
                std::fs::remove_file(cluster.surreal.folder()?.join("filler"))?;
                Ok(())
            }
            _ => {
                let (server, net) = cluster.store(self.store);
                match self.fault {
                    Fault::Stopped => server.thaw(),
                    Fault::Killed => server.restart().await,
                    Fault::Credentials => {
                        server.stop().await?;
                        server.change_secret(&old_key);
                        server.restart().await
                    }
                    Fault::Refused
                    | Fault::ResetRequest
                    | Fault::ResetReply
                    | Fault::Silence
                    | Fault::Slow
                    | Fault::DiskFull => net.set(Net::None).await,
                }
            }
        }
    }
}

/// Leaves no room on SurrealDB's disk: a small one of its own.
fn fill(cluster: &Cluster) -> Result<()> {
    let mut filler = File::create(cluster.surreal.folder()?.join("filler"))?;
    let block = vec![0; 64 << 10];
    for size in [block.len(), 512, 1] {
        let part = block.get(..size).unwrap_or_default();
        while filler.write_all(part).is_ok() {}
    }
    Ok(())
}

/// So long after a store's return everything must have ended: 5 s, or `LOCKSTEP_DRAIN_S` where the machine has more to do than this.
pub(crate) fn drained() -> Result<Duration> {
    Ok(Duration::from_secs(number("LOCKSTEP_DRAIN_S", 5)?))
}
