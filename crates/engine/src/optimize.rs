//! Optimise: the vector store may improve what makes searches fast, when nothing else is to do.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::core::Core;

/// How often it is asked whether it pays.
const EVERY: Duration = Duration::from_secs(10);

/// Runs until the engine stops.
pub(crate) async fn run(core: Arc<Core>) {
    loop {
        tokio::select! {
            biased;
            () = core.stop.cancelled() => return,
            () = sleep(EVERY) => {}
        }
        if !core.lock().open.is_empty() {
            continue;
        }
        let optimized = tokio::select! {
            biased;
            // It cannot be called off, and may take minutes: the end of the process ends it as a crash would.
            () = core.stop.cancelled() => return,
            optimized = core.parts.vectors.optimize() => optimized,
        };
        match optimized {
            Ok(true) => tracing::info!("the vector store has been optimised"),
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "the vector store could not be optimised"),
        }
    }
}
