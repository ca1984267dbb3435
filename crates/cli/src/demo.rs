//! The demo: a daemon of its own, a real sample, a kill in the middle, and proof that nothing was lost.

mod lockstepd;
mod proof;
mod sample;

pub(crate) use lockstepd::{Lockstepd, find_lockstepd};
pub(crate) use proof::{Finding, prove};
pub(crate) use sample::Sample;
