//! The built `lockstep` against daemons of few words.

mod bulk;
mod commands;
mod support;
mod usage;
