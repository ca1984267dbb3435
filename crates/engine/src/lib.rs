//! What makes an operation land in both stores, or in neither.
//!
//! The life of an operation (design 4) is the list of files: [`admit`](self) judges it, `take` logs it, `lanes` and `ready`
//! order it, `pick` batches it, `prepare` has `need`, `judge` and `image` read and judge what was there, `surreal_worker` and `qdrant_worker` write it, `compensate`
//! takes it back, `end` and `settle` finish and answer it, `checkpoint` lets it leave the log. `recover` starts from what a
//! crash left, `verify` looks whether the stores kept what they were given. `decide` does what an operator says, `asked` what one
//! left in the log while nobody ran.
//!
//! The engine knows stores and log only as traits, time only as tokio's clock and a wall clock it is given, and
//! chance only as it is given: a simulation drives all of it, seeded, on one thread.

mod admit;
mod asked;
mod breaker;
mod checkpoint;
mod claim;
mod clear;
mod compensate;
mod connect;
mod core;
mod decide;
mod end;
mod engine;
mod events;
mod expire;
mod image;
mod inspect;
mod isolate;
mod judge;
mod lanes;
mod learn;
mod look;
mod lsn_map;
mod mark;
mod need;
mod op;
mod optimize;
mod parts;
mod pick;
mod prepare;
mod pulse;
mod qdrant_worker;
mod ready;
mod recover;
mod relook;
mod restore;
mod search;
mod settings;
mod settle;
mod status;
mod surreal_worker;
mod tables;
mod take;
mod takers;
mod trouble;
mod verify;
mod work;

pub use crate::breaker::StoreState;
pub use crate::clear::Counts;
pub use crate::core::{Chain, Ending, Fatal, Recovery, StoreName};
pub use crate::decide::{Decided, Decision};
pub use crate::engine::{Engine, Pausable, StartError};
pub use crate::events::{Event, EventBody, EventKind, EventStream, NoPosition, Position, StoreChange, StoreEvent};
pub use crate::inspect::{TableView, expected};
pub use crate::look::{EntityView, LookError, OpFilter, OpView, PointView, RecordView, Verdict, WaitingFor};
pub use crate::parts::{Chance, Clock, Parts, SystemChance, SystemClock};
pub use crate::recover::{RecoverError, fold};
pub use crate::search::{Found, SearchHit, SearchQuery};
pub use crate::settings::Settings;
pub use crate::status::{Status, StoreStatus, WalStatus};
pub use crate::take::{NotLogged, Taken};
