//! What lockstepd and the programs that talk to it have in common: the wire types of its HTTP API, and a
//! client that speaks it over the Unix socket.
//!
//! The wire types say what stands on the wire and nothing else. They are never the engine's own types: the
//! daemon and wal-tools fill them to answer, the client reads them back. Reading is lenient, so that an
//! old client understands a new daemon: unknown fields are ignored, missing ones are unknown. What is not
//! known is null, never 0.
//!
//! The body of an operation has no type here: it is the caller's JSON, passed on byte by byte and judged
//! by the daemon alone.
//!
//! ```no_run
//! use lockstep_api::{Client, OpOptions, find_socket};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::new(find_socket(None)?);
//! let put = serde_json::json!({"op": "put", "key": "memory:01", "document": {"title": "tide"}, "vector": [0.1, 0.2]});
//! let answer = client.op(put.to_string(), &OpOptions::default()).await?;
//! println!("{} is {}", answer.op_id, answer.state);
//!
//! let entity = client.entity("memory:01").await?;
//! assert_eq!(entity.verdict, "consistent");
//! # Ok(())
//! # }
//! ```

mod answer;
mod barrier;
mod bulk;
mod bulk_line;
mod client;
mod connection;
mod count;
mod decision;
mod entity;
mod error;
mod events;
#[cfg(feature = "help")]
pub mod help;
mod op_answer;
mod op_options;
mod op_view;
mod ops_page;
mod pause;
mod problem;
mod query;
mod reader;
mod ready;
mod search;
mod socket;
mod state_counts;
mod status;
mod tables;
mod timestamp;
mod vector_view;
mod verify;
mod wal_view;

pub use answer::Answer;
pub use barrier::BarrierAnswer;
pub use bulk::BulkAnswers;
pub use bulk_line::{BulkLine, LineError};
pub use client::Client;
pub use count::{CountAnswer, CountRequest};
pub use decision::{DecisionAnswer, DecisionRequest};
pub use entity::{Entity, QdrantSide, SurrealSide};
pub use error::Error;
pub use events::{Event, Events};
pub use op_answer::OpAnswer;
pub use op_options::{Ack, OpOptions};
pub use op_view::{OpError, OpView, Step};
pub use ops_page::{OpsFilter, OpsPage};
pub use pause::{PauseRequest, StoreName};
pub use problem::Problem;
pub use query::{QueryAnswer, QueryRequest};
pub use ready::ReadyAnswer;
pub use search::{HitView, SearchAnswer, SearchRequest};
pub use socket::{MAX_SOCKET_BYTES, SOCKET_VARIABLE, SocketAccess, check_socket, find_socket};
pub use state_counts::StateCounts;
pub use status::{RecoveryView, StatusAnswer, StoreState, StoreView, StoresView};
pub use tables::{TableView, TablesAnswer, VectorSpecView};
pub use timestamp::{micros_from_rfc3339, rfc3339_from_micros};
pub use vector_view::VectorView;
pub use verify::VerifyAnswer;
pub use wal_view::WalView;
