//! Feeding a file of operations to the daemon, line by line, however often it goes away meanwhile.
//!
//! A line that carries no idempotency key is given one, made from all of the input up to and including it
//! (`stamp`). So a line whose answer was lost is sent again and runs once, and a file that is fed again
//! gets its first answers again. A line that is no operation is sent as it is: the daemon says what is
//! wrong with it.
//!
//! Memory is bounded by one budget (`input::Room`): a line takes its share when it is read, and gives it
//! back when it is answered.

mod feed;
mod input;
mod progress;
mod settle;
mod stamp;
mod tally;

pub(crate) use feed::{Fed, Feed, Interruption};
pub(crate) use input::Input;
pub(crate) use progress::Progress;
pub(crate) use tally::Tally;
