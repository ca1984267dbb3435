//! The commands: each in the file of its name.

pub(crate) mod discard;
pub(crate) mod dump;
pub(crate) mod explain;
pub(crate) mod list;
pub(crate) mod plan;
pub(crate) mod repair;
pub(crate) mod retry;
pub(crate) mod rollback;
pub(crate) mod show;
pub(crate) mod status;
pub(crate) mod verify;
