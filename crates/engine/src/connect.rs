//! Connect: asks stores that nobody else asks whether they are there, and notices when one may have lost something.
//!
//! A served store need not be there when the daemon starts. Until it is, it is asked again and again here; afterwards it is
//! asked when nothing else goes to it, so that its state is known (P7). When the connection has been lost in between, what is
//! retained is verified (design 6).

use std::sync::Arc;
use std::time::Duration;

use lockstep_stores::StoreError;
use tokio::time::sleep;

use crate::core::{Core, StoreName};
use crate::{claim, learn, trouble};

/// How often an idle store is asked.
const EVERY: Duration = Duration::from_secs(2);

/// Runs until the engine stops.
pub(crate) async fn run(core: Arc<Core>) {
    if core.settings().embedded {
        // What is in this process cannot be away, and has been opened.
        [StoreName::Surreal, StoreName::Qdrant].into_iter().for_each(|store| trouble::is_there(&core, store));
        core.stop.cancelled().await;
        return;
    }
    let mut successes = [0; 2];
    loop {
        for store in [StoreName::Surreal, StoreName::Qdrant] {
            // Nobody else asks it what it has.
            let unknown;
            let (now, allowed) = {
                let mut shared = core.lock();
                unknown = store == StoreName::Qdrant && !shared.tables.is_learned();
                let breaker = shared.breaker(store);
                (breaker.successes, breaker.allows(tokio::time::Instant::now()))
            };
            let idle = std::mem::replace(&mut successes[store as usize], now) == now;
            if (idle || unknown) && allowed {
                match ask(&core, store).await {
                    Ok(()) => trouble::is_there(&core, store),
                    Err(error) => drop(trouble::failed(&core, store, &[], &error)),
                }
                successes[store as usize] = core.lock().breaker(store).successes;
            }
        }
        // It looks whether anything has been lost.
        core.wake_surreal.notify_one();
        tokio::select! {
            biased;
            () = core.stop.cancelled() => return,
            () = sleep(EVERY) => {}
        }
    }
}

async fn ask(core: &Core, store: StoreName) -> Result<(), StoreError> {
    match store {
        StoreName::Surreal => {
            claim::ensure(core).await?;
            core.parts.documents.ping().await
        }
        StoreName::Qdrant => {
            learn::ensure(core).await?;
            core.parts.vectors.ping().await
        }
    }
}
