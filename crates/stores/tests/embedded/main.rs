//! The adapters against the real engines, in this process. One binary: linking databases is slow.

mod depth;
mod edge;
mod edge_durability;
mod edge_search;
mod measure;
mod support;
mod surreal;
mod surreal_edges;
mod surreal_query;
mod surreal_undo;
mod types;
