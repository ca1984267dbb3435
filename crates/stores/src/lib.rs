//! The two stores behind two traits, and their adapters.
//!
//! An adapter turns plans into calls and answers into typed outcomes. It knows no log and no state
//! machine, keeps no operation in memory between calls, and never repeats a call by itself: what an
//! unknown outcome means, and when to try again, the engine decides.

pub mod document;
#[cfg(feature = "edge")]
pub mod edge;
pub mod error;
#[cfg(feature = "surreal")]
pub mod surreal;
pub mod vector;

pub use document::{
    DocWrite, DocumentStore, EdgeEnds, Found, Image, ImageAsk, KeptVectors, ReadBack, Stamp, Undo, UndoTo, Undone,
    VectorsStamp, Want,
};
#[cfg(feature = "edge")]
pub use edge::EdgeStore;
pub use error::{Class, Scope, StoreError};
#[cfg(feature = "surreal")]
pub use surreal::SurrealStore;
pub use vector::{Collection, Durability, Hit, Point, PointStamp, PointWrite, SearchAsk, VectorStore};
