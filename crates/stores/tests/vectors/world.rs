//! A store to try something on: the same test runs on Edge and over gRPC.

use std::any::Any;
use std::sync::Arc;

use lockstep_model::Distance;
use lockstep_stores::{Collection, EdgeStore, QdrantRemote, QdrantStore, VectorStore};
use uuid::Uuid;

use crate::server::{Server, remote};
use crate::support::collection;

/// A store, with what it lives in.
pub(crate) struct World {
    pub(crate) store: Arc<dyn VectorStore>,
    /// Sets its collections apart from those of other tests, where a server is shared.
    suffix: String,
    /// What ends with it: a directory, a server.
    _home: Box<dyn Any>,
}

impl World {
    pub(crate) async fn edge() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = EdgeStore::open(dir.path()).await.unwrap();
        Self { store: Arc::new(store), suffix: String::new(), _home: Box::new(dir) }
    }

    /// A server of its own, or the one that the environment names.
    pub(crate) async fn qdrant() -> Self {
        let (remote, home) = match std::env::var("QDRANT_URL") {
            Ok(endpoint) => {
                let api_key = std::env::var("QDRANT_API_KEY").ok();
                (QdrantRemote { api_key, ..remote(endpoint) }, Box::new(()) as Box<dyn Any>)
            }
            Err(_) => {
                let server = Server::start(&[]).await;
                (server.remote(), Box::new(server) as Box<dyn Any>)
            }
        };
        let store = QdrantStore::connect(&remote).unwrap();
        let suffix = format!("-lockstep-test-{}", Uuid::new_v4().simple());
        Self { store: Arc::new(store), suffix, _home: home }
    }

    /// What a collection is called here.
    pub(crate) fn name(&self, name: &str) -> String {
        format!("{name}{}", self.suffix)
    }

    /// Creates a collection, with the name changed as [`World::name`] does.
    pub(crate) async fn create(&self, collection: Collection) -> String {
        let name = self.name(&collection.name);
        self.store.create(&Collection { name: name.clone(), ..collection }).await.unwrap();
        name
    }

    /// A collection with one vector.
    pub(crate) async fn single(&self, size: u32, distance: Distance) -> String {
        self.create(collection(&format!("c{}", Uuid::new_v4().simple()), size, distance)).await
    }
}

/// Runs each of these functions of the module as a test, once on Edge, once over gRPC.
macro_rules! on_both {
    ($($name:ident),+ $(,)?) => {
        mod edge {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $name() {
                    super::$name(&$crate::world::World::edge().await).await;
                }
            )+
        }
        mod qdrant {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $name() {
                    super::$name(&$crate::world::World::qdrant().await).await;
                }
            )+
        }
    };
}
pub(crate) use on_both;
