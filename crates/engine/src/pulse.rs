//! Pulse: does what gives acknowledgements still move? Asked by the daemon's watchdog.

use lockstep_model::Lsn;
use lockstep_wal::{Class, Durability, Group};
use tokio::sync::oneshot;

use crate::core::Awaited;
use crate::engine::Engine;

impl Engine {
    /// Whether nothing is open and nothing waits to be written: then nothing has to move.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        !self.core.has_failed() && self.open_ops() == 0 && self.core.parts.log.pressure().queued_bytes == 0
    }

    /// Sends a group of nothing the way of every acknowledgement: through the log thread to the disk, and from there through the
    /// task that tells callers. Comes back with `true` when it has gone all of it; with `false` if it never will, because the
    /// engine has stopped.
    pub async fn pulse(&self) -> bool {
        let (sender, receiver) = oneshot::channel();
        {
            let _order = self.core.lock();
            // Not by way of the core: a log that is closed, as at every stop, is no failure here; and one that has failed is
            // told of by whoever needed it.
            let Ok(appended) = self.core.parts.log.append(Group::new(Durability::Flush, Class::Drain)) else {
                return false;
            };
            // No operation has this LSN: the sender is all that is told.
            self.core.when_durable(appended.ticket, Awaited::Logged(Lsn(0), Some(sender)));
        }
        receiver.await.is_ok()
    }
}
