//! An answer of the daemon: what this version understands of it, and all that it said.

use std::ops::Deref;

use bytes::Bytes;

/// The answer to a request. It reads like its body.
#[derive(Debug, Clone)]
pub struct Answer<T> {
    /// The HTTP status: 200, or 202 for what is not finished.
    pub status: u16,
    /// The answer as this version understands it.
    pub body: T,
    /// The answer as the daemon wrote it, with fields that this version may not know.
    pub json: Bytes,
}

impl<T> Answer<T> {
    /// Only the body.
    pub fn into_body(self) -> T {
        self.body
    }
}

impl<T> Deref for Answer<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.body
    }
}
