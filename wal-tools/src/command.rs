//! The commands: each in the file of its name, and in `later` those that are not built yet.

pub(crate) mod dump;
pub(crate) mod explain;
pub(crate) mod later;
pub(crate) mod list;
pub(crate) mod plan;
pub(crate) mod show;
pub(crate) mod status;
pub(crate) mod verify;
