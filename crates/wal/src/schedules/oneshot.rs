//! The channel of a ticket: before somebody is told, others may go first.

pub(crate) use tokio::sync::oneshot::Receiver;
use tokio::sync::oneshot::{self, channel as tell_at_once};

use super::world::step;

#[derive(Debug)]
pub(crate) struct Sender<T> {
    tell: oneshot::Sender<T>,
}

pub(crate) fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let (tell, outcome) = tell_at_once();
    (Sender { tell }, outcome)
}

impl<T> Sender<T> {
    pub(crate) fn send(self, outcome: T) -> Result<(), T> {
        step();
        self.tell.send(outcome)
    }
}
