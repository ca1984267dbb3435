//! The stores, opened as the configuration has them: embedded ones here and now, served ones when they are first asked.

use std::path::Path;
use std::sync::Arc;

use lockstep_stores::{
    Class, DocumentStore, EdgeStore, Ordering as QdrantOrdering, QdrantRemote, QdrantStore, StoreError, SurrealAuth,
    SurrealRemote, SurrealStore, VectorStore,
};

use crate::config::{Auth, Login, Ordering, QdrantEndpoint, Served, Setup, SurrealEndpoint};

/// A store cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open {what}")]
pub struct OpenError {
    /// Which, and where.
    what: String,
    /// Why not.
    source: StoreError,
}

impl OpenError {
    /// Whether only another configuration helps.
    #[must_use]
    pub const fn is_configuration(&self) -> bool {
        matches!(self.source.class, Class::Configuration(_))
    }
}

/// SurrealDB. A server need not be there yet.
///
/// # Errors
/// [`OpenError`]
pub async fn surreal(setup: &Setup) -> Result<Arc<dyn DocumentStore>, OpenError> {
    let url = setup.surreal.endpoint.url();
    let opened = match &setup.surreal.endpoint {
        SurrealEndpoint::Served(_) => SurrealStore::connect(surreal_remote(setup)),
        SurrealEndpoint::Directory(_) => embedded(setup, &url).await,
        SurrealEndpoint::Memory => {
            tracing::warn!("surreal.endpoint is mem://: documents are gone when this process ends");
            embedded(setup, &url).await
        }
    };
    match opened {
        Ok(store) => Ok(Arc::new(store)),
        Err(source) => Err(OpenError { what: format!("SurrealDB at {url}"), source }),
    }
}

async fn embedded(setup: &Setup, url: &str) -> Result<SurrealStore, StoreError> {
    Box::pin(SurrealStore::open(url, &setup.surreal.namespace, &setup.surreal.database)).await
}

fn surreal_remote(setup: &Setup) -> SurrealRemote {
    let surreal = &setup.surreal;
    let auth = match &surreal.login {
        Login::Nobody => SurrealAuth::None,
        Login::Token(token) => SurrealAuth::Token(token.reveal().to_owned()),
        Login::User { level, name, password } => {
            let (user, password) = (name.clone(), password.reveal().to_owned());
            match level {
                Auth::Root => SurrealAuth::Root { user, password },
                Auth::Namespace => SurrealAuth::Namespace { user, password },
                Auth::Database => SurrealAuth::Database { user, password },
            }
        }
    };
    SurrealRemote {
        endpoint: surreal.endpoint.url(),
        namespace: surreal.namespace.clone(),
        database: surreal.database.clone(),
        auth,
        ca_file: surreal.trust.ca_file.clone(),
        timeout: surreal.timeout,
        create: setup.engine.auto_create,
    }
}

/// Qdrant. A server need not be there yet.
///
/// # Errors
/// [`OpenError`]
pub async fn qdrant(setup: &Setup) -> Result<Arc<dyn VectorStore>, OpenError> {
    let failed = |source| OpenError { what: format!("Qdrant at {}", setup.qdrant.endpoint.url()), source };
    match &setup.qdrant.endpoint {
        QdrantEndpoint::Directory(dir) => Ok(Arc::new(open_edge(dir).await.map_err(failed)?)),
        QdrantEndpoint::Served(served) => {
            Ok(Arc::new(QdrantStore::connect(&qdrant_remote(setup, served)).map_err(failed)?))
        }
    }
}

async fn open_edge(dir: &Path) -> Result<EdgeStore, StoreError> {
    EdgeStore::open(dir).await
}

fn qdrant_remote(setup: &Setup, served: &Served) -> QdrantRemote {
    let qdrant = &setup.qdrant;
    QdrantRemote {
        endpoint: served.url(),
        api_key: qdrant.api_key.as_ref().map(|key| key.reveal().to_owned()),
        ca_file: qdrant.trust.ca_file.clone(),
        timeout: qdrant.timeout,
        batch_bytes: setup.engine.batch_bytes,
        ordering: qdrant.ordering.map(|ordering| match ordering {
            Ordering::Weak => QdrantOrdering::Weak,
            Ordering::Medium => QdrantOrdering::Medium,
            Ordering::Strong => QdrantOrdering::Strong,
        }),
    }
}
