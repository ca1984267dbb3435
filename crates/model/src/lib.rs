//! What Lockstep talks about: operations, keys, values, vectors, versions and the state machine.
//!
//! Everything here is pure: no I/O, no clock, no randomness. The log, the stores, the engine and the
//! tools share these types and must agree on them byte for byte, so what is hashed, derived or encoded
//! is defined here, next to its test.

mod action;
mod canon;
mod document;
mod fields;
mod filter;
mod filter_parse;
mod id;
mod json;
mod key;
mod lane;
mod op;
mod payload;
mod point_id;
mod refusal;
mod request;
mod shape;
mod state;
mod table;
mod tag;
#[cfg(test)]
mod testing;
mod text;
mod value;
mod vector;
mod vector_codec;
mod vector_json;

pub use action::{Action, ActionKind, UnrelateTarget};
pub use canon::{canonical_json, hash_json};
pub use document::{Document, RESERVED_FIELD};
pub use filter::{Bound, Filter, Scalar};
pub use filter_parse::FilterError;
pub use id::{LogId, Lsn, OpId, Version, VersionClock};
pub use json::{JsonError, MAX_JSON_DEPTH, parse_json};
pub use key::{Id, Key, KeyError, Table};
pub use lane::{Access, LaneId};
pub use op::{Idempotency, MAX_GROUP_OPS, Operation, Precondition};
pub use payload::PayloadSelection;
pub use point_id::{NoPointId, PointId};
pub use refusal::{Code, Refusal, UnknownCode};
pub use shape::{Distance, Shape, VectorKind, VectorSpec};
pub use state::{Event, IllegalTransition, State, UnknownState, diagram, is_legal_step, transition};
pub use table::{OnReject, PointIdPolicy, Stores, TableRules, UnknownPolicy};
pub use value::{MAX_DOCUMENT_DEPTH, Value, ValueError};
pub use vector::{DEFAULT_VECTOR, MAX_VECTOR_DIM, Vector, VectorError, Vectors};
