//! Faults as chance sends them: one store, or the way to it, is bad for a moment, and then fine again.

use std::time::Duration;

use anyhow::Result;

use crate::cluster::Cluster;
use crate::proxy::Fault;
use crate::seed::Rng;
use crate::servers::{Kind, is_ours};
use crate::wait::moment;

/// A handshake of either store is smaller.
const HANDSHAKE_BYTES: u64 = 4096;

/// What can happen to a store.
#[derive(Debug, Clone, Copy)]
enum Bad {
    Network(Fault),
    Frozen,
    Killed,
}

fn any(rng: &mut Rng, ours: bool) -> Bad {
    let network = match rng.below(6) {
        0 => Fault::Refuse,
        1 => Fault::ResetRequest,
        2 => Fault::ResetReply { past: if rng.chance(50) { HANDSHAKE_BYTES } else { 0 } },
        3 => Fault::Silence,
        4 => Fault::Slower(10),
        _ => Fault::Delay(Duration::from_millis(1 + rng.below(100))),
    };
    match rng.below(100) {
        0..25 if ours => Bad::Killed,
        25..40 if ours => Bad::Frozen,
        _ => Bad::Network(network),
    }
}

/// Lets one fault strike one store for up to `longest`, and ends it. Returns what it was. Afterwards the store and the way to it
/// are fine; a server that was killed has been started again on its data.
///
/// # Errors
/// If a server cannot be killed or does not come back.
pub async fn strike(cluster: &mut Cluster, rng: &mut Rng, longest: Duration) -> Result<String> {
    let kind = if rng.chance(50) { Kind::Surreal } else { Kind::Qdrant };
    let bad = any(rng, is_ours(kind));
    let longest_ms = u64::try_from(longest.as_millis()).unwrap_or(u64::MAX);
    let span = Duration::from_millis(rng.below(longest_ms.max(1)));
    let (server, net) = cluster.store(kind);
    match bad {
        Bad::Network(fault) => {
            net.set(fault).await?;
            moment(span).await;
            net.set(Fault::None).await?;
        }
        Bad::Frozen => {
            server.freeze().await?;
            moment(span).await;
            server.thaw()?;
        }
        Bad::Killed => {
            server.kill().await?;
            moment(span / 2).await;
            server.restart().await?;
        }
    }
    Ok(format!("{kind:?} {bad:?} for {} ms", span.as_millis()))
}
