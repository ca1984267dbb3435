//! Many operations in one request: a reader takes lines as they come, a writer answers them in their order.
//!
//! Between the two stands a window of lines that are logged or on their way. Where nobody reads the answers the window fills, and
//! no further line is read; so a request of any length takes bounded memory. A client that goes away takes the reader
//! with it, and what was logged goes on.

mod answers;
mod cutter;
mod feed;
mod input;
mod unlogged;

pub(crate) use self::answers::Answers;
pub(crate) use self::input::Input;
