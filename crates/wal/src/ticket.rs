//! The promise that a group will be durable, to be waited for.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::error::LogError;
use crate::sync::oneshot;

/// Resolves with `Ok` when the group is durable: it survives kill -9 and a power cut from then on. Resolves with
/// the log's first error when the log has failed; then whether the group survives is unknown. Dropping it
/// changes nothing for the group.
#[must_use = "a group is only durable when its ticket has resolved"]
pub struct Ticket {
    outcome: oneshot::Receiver<Result<(), Arc<LogError>>>,
}

impl Ticket {
    /// A ticket, and the means to resolve it: for a log, or for what stands around one.
    pub fn new() -> (Waiter, Self) {
        let (tell, outcome) = oneshot::channel();
        (Waiter { tell }, Self { outcome })
    }

    /// A ticket that has resolved: for a log in which everything is durable at once, or that lies about it in a test.
    pub fn resolved() -> Self {
        let (waiter, ticket) = Self::new();
        waiter.tell(Ok(()));
        ticket
    }

    /// Blocks the thread until the ticket resolves. Not to be called from asynchronous code.
    ///
    /// # Errors
    /// As awaiting it.
    pub fn wait_blocking(self) -> Result<(), Arc<LogError>> {
        self.outcome.blocking_recv().unwrap_or_else(|_| Err(Arc::new(LogError::Closed)))
    }
}

impl Future for Ticket {
    type Output = Result<(), Arc<LogError>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.outcome).poll(context).map(|told| told.unwrap_or_else(|_| Err(Arc::new(LogError::Closed))))
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticket")
    }
}

/// The other end of a [`Ticket`]. Dropped, it resolves the ticket as if the log had been closed.
#[derive(Debug)]
pub struct Waiter {
    tell: oneshot::Sender<Result<(), Arc<LogError>>>,
}

impl Waiter {
    /// Resolves the ticket; whoever held it may be gone.
    pub fn tell(self, outcome: Result<(), Arc<LogError>>) {
        drop(self.tell.send(outcome));
    }
}
