//! The way to the server: one HTTP/2 channel that connects when it is first needed and again when it broke, and a deadline on every
//! call. A channel on which nobody answered in time is left for a new one: its connection may be half open, and HTTP/2 itself would
//! notice that only much later. qdrant-client's own client is passed by: it repeats a mutation by itself, and takes no certificate authority.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use qdrant_client::qdrant::collections_client::CollectionsClient;
use qdrant_client::qdrant::points_client::PointsClient;
use qdrant_client::qdrant::qdrant_client::QdrantClient;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Request, Response, Status};

use super::connector::{Connections, Connector};
use super::{QdrantRemote, STORE};
use crate::{Class, Scope, StoreError};

/// Answers larger than this are asked for in parts. A point must fit: a document of 4 MiB and a MiB of vectors, with room.
const MIN_ANSWER_BYTES: usize = 64 << 20;

/// A connection without traffic is tried this often, so that a dead one is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// A way to the server.
#[derive(Clone)]
pub(super) struct Link {
    road: Arc<Road>,
    key: Option<MetadataValue<Ascii>>,
    timeout: Duration,
    answer_bytes: usize,
    connections: Arc<Connections>,
}

/// The channel, and how to make another.
struct Road {
    endpoint: Endpoint,
    connector: Connector,
    current: Mutex<Numbered>,
}

/// A channel, and how many there were before it.
#[derive(Clone)]
struct Numbered {
    number: u64,
    channel: Channel,
}

impl Road {
    fn new(endpoint: Endpoint, connector: Connector) -> Self {
        let channel = endpoint.connect_with_connector_lazy(connector.clone());
        Self { endpoint, connector, current: Mutex::new(Numbered { number: 0, channel }) }
    }

    fn current(&self) -> MutexGuard<'_, Numbered> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves channel `number`, unless somebody has done so. Calls that are still on their way there are not broken off.
    fn leave(&self, number: u64) {
        let mut current = self.current();
        if current.number == number {
            let channel = self.endpoint.connect_with_connector_lazy(self.connector.clone());
            *current = Numbered { number: number + 1, channel };
        }
    }
}

impl Link {
    /// Needs no server to be there.
    pub(super) fn new(remote: &QdrantRemote) -> Result<Self, StoreError> {
        let wrong = |detail: String| StoreError::new(STORE, Class::Configuration(Scope::Store), detail);
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(wrong("a client needs tokio's runtime".to_owned()));
        }
        let mut endpoint = Endpoint::from_shared(remote.endpoint.clone())
            .map_err(|error| wrong(format!("{:?} is no endpoint: {error}", remote.endpoint)))?
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(remote.timeout)
            .keep_alive_while_idle(true);
        match (endpoint.uri().scheme_str(), &remote.ca_file) {
            (Some("http"), None) => {}
            (Some("https"), ca_file) => {
                let mut tls = ClientTlsConfig::new().timeout(remote.timeout);
                if let Some(path) = ca_file {
                    let pem = std::fs::read(path).map_err(|error| wrong(format!("{}: {error}", path.display())))?;
                    tls = tls.ca_certificate(Certificate::from_pem(pem));
                } else {
                    tls = tls.with_native_roots();
                }
                endpoint = endpoint.tls_config(tls).map_err(|error| wrong(format!("no TLS: {error}")))?;
            }
            (Some("http"), Some(_)) => {
                return Err(wrong(format!("{}: a certificate authority needs https://", remote.endpoint)));
            }
            (_, _) => return Err(wrong(format!("{:?} is neither http:// nor https://", remote.endpoint))),
        }
        let key = remote.api_key.as_ref().map(|key| key.trim().parse::<MetadataValue<Ascii>>()).transpose();
        let mut key = key.map_err(|_| wrong("the API key has characters that no key can have".to_owned()))?;
        if let Some(key) = &mut key {
            key.set_sensitive(true);
        }
        let connections = Arc::new(Connections::default());
        let connector = Connector { connections: Arc::clone(&connections), timeout: remote.timeout };
        let road = Arc::new(Road::new(endpoint, connector));
        let answer_bytes = remote.batch_bytes.saturating_mul(4).max(MIN_ANSWER_BYTES);
        Ok(Self { road, key, timeout: remote.timeout, answer_bytes, connections })
    }

    fn channel(&self) -> Channel {
        self.road.current().channel.clone()
    }

    /// The service of points.
    pub(super) fn points(&self) -> PointsClient<Channel> {
        PointsClient::new(self.channel()).max_decoding_message_size(self.answer_bytes)
    }

    /// The service of collections.
    pub(super) fn collections(&self) -> CollectionsClient<Channel> {
        CollectionsClient::new(self.channel()).max_decoding_message_size(self.answer_bytes)
    }

    /// The service that knows the server's version.
    pub(super) fn server(&self) -> QdrantClient<Channel> {
        QdrantClient::new(self.channel())
    }

    /// A request with the key.
    pub(super) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(key) = &self.key {
            request.metadata_mut().insert("api-key", key.clone());
        }
        request
    }

    /// Waits for the answer, but not for ever.
    pub(super) async fn call<T>(
        &self,
        answer: impl Future<Output = Result<Response<T>, Status>> + Send,
    ) -> Result<T, Status> {
        let number = self.road.current().number;
        match tokio::time::timeout(self.timeout, answer).await {
            Ok(Ok(answer)) => {
                self.connections.answered();
                Ok(answer.into_inner())
            }
            Ok(Err(status)) => Err(status),
            Err(_) => {
                self.road.leave(number);
                Err(Status::deadline_exceeded(format!("no answer within {} ms", self.timeout.as_millis())))
            }
        }
    }

    /// As [`crate::VectorStore::losses`].
    pub(super) fn losses(&self) -> u64 {
        self.connections.losses()
    }
}
