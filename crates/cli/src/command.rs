//! The commands: each in the file of its name.

pub(crate) mod atomic;
pub(crate) mod bulk;
pub(crate) mod clear;
pub(crate) mod delete;
pub(crate) mod demo;
pub(crate) mod discard;
pub(crate) mod get;
pub(crate) mod later;
pub(crate) mod ops;
pub(crate) mod patch;
pub(crate) mod pause;
pub(crate) mod put;
pub(crate) mod query;
pub(crate) mod relate;
pub(crate) mod resume;
pub(crate) mod retry;
pub(crate) mod rollback;
pub(crate) mod search;
pub(crate) mod status;
pub(crate) mod tables;
pub(crate) mod unrelate;
pub(crate) mod verify;
pub(crate) mod wait;
pub(crate) mod watch;
