//! Repair: a log with damage in it becomes one that opens, with everything that can still be read and nothing made up.
//!
//! The order: [`Survey`] reads the raw bytes and says what is lost and what follows from it, changing nothing. A repair writes all
//! that is readable into a new log beside the old one, checks it, and swaps the two in one step. The old directory stays as it
//! was found, under another name: it is the backup. So there is no moment at which neither log is there, and a repair that is cut
//! short is begun again.
//!
//! What follows from a loss is one rule (decision 0018): what stands before it is not acted on by itself, what stands behind it
//! is. An open operation before a lost record may have ended in it: it is parked. A committed one may have been removed or
//! overwritten by it: it is not written again.

mod build;
mod error;
mod remains;
mod report;
mod settle;
mod survey;
mod trial;

pub use error::RepairError;
pub use report::{Affected, Effect, LostRecords};
pub use settle::{RepairOptions, Repaired, Step, finish_interrupted, repair};
pub use survey::Survey;
pub use trial::{Trial, sled_opens};
