//! The two stores behind two traits, and their adapters.
//!
//! An adapter turns plans into calls and answers into typed outcomes. It knows no log and no state
//! machine, keeps no operation in memory between calls, and never repeats a call by itself: what an
//! unknown outcome means, and when to try again, the engine decides.

/// The stack that a runtime's threads need for documents of the full depth (tokio: `thread_stack_size`). A debug build of
/// SurrealDB overflows tokio's default of 2 MiB.
pub const THREAD_STACK_BYTES: usize = 10 << 20;

#[cfg(any(feature = "edge", feature = "qdrant"))]
mod collection_look;
#[cfg(any(feature = "edge", feature = "qdrant"))]
mod condition;
pub mod document;
#[cfg(feature = "edge")]
pub mod edge;
pub mod error;
pub mod preflight;
#[cfg(feature = "qdrant")]
pub mod qdrant;
#[cfg(any(feature = "edge", feature = "qdrant"))]
mod shape_check;
#[cfg(any(feature = "edge", feature = "qdrant"))]
mod stamp;
#[cfg(feature = "surreal")]
pub mod surreal;
pub mod vector;

pub use document::{
    Claim, Claimant, DocWrite, DocumentStore, EdgeEnds, Found, Image, ImageAsk, KeptVectors, ReadBack, Scanned, Stamp,
    Undo, UndoTo, Undone, VectorsStamp, Want, Wrote,
};
#[cfg(feature = "edge")]
pub use edge::EdgeStore;
pub use error::{Class, Scope, StoreError};
pub use preflight::{Expected, Finding, Severity};
#[cfg(feature = "qdrant")]
pub use qdrant::{Ordering, QdrantRemote, QdrantStore};
#[cfg(feature = "surreal")]
pub use surreal::{SurrealAuth, SurrealRemote, SurrealStore};
pub use vector::{Collection, Durability, Hit, Point, PointStamp, PointWrite, SearchAsk, VectorStore};
