//! Qdrant's wire over Qdrant Edge: what the tests talk to where a Qdrant server is meant.
//!
//! It implements the calls that Lockstep makes, by Qdrant's own engine and with Qdrant's own generated services; every other call answers
//! UNIMPLEMENTED. What it acknowledges with `wait = true` survives kill -9: Edge is flushed before the answer. It can be told to misbehave
//! while it runs ([`fault`]). A test part: no access control beyond one key, no cluster, no snapshots, never shipped.

mod auth;
mod collection;
mod collections;
mod convert;
mod fault;
mod filter;
mod points;
mod shelf;
mod status;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;
use qdrant_client::qdrant::collections_server::CollectionsServer;
use qdrant_client::qdrant::points_server::PointsServer;
use qdrant_client::qdrant::qdrant_server::{Qdrant, QdrantServer};
use qdrant_client::qdrant::{HealthCheckReply, HealthCheckRequest};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status};

use self::auth::KeyCheck;
use self::fault::Faults;
use self::shelf::Shelf;

#[derive(Parser)]
#[command(about = "Qdrant's gRPC interface over Qdrant Edge, for tests")]
struct Arguments {
    /// Where to listen; port 0 takes a free one, which the line that is printed names.
    #[arg(long)]
    listen: SocketAddr,
    /// Where the collections live.
    #[arg(long)]
    data: PathBuf,
    /// The key that every call must carry.
    #[arg(long)]
    api_key: Option<String>,
    /// The server's certificate and those that vouch for it, PEM.
    #[arg(long, requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its key, PEM.
    #[arg(long, requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// The version that it claims to be.
    #[arg(long, default_value = "1.20.0")]
    version: String,
    /// The largest request that it takes on points, as a proxy before it may have a limit.
    #[arg(long, default_value_t = usize::MAX)]
    max_message_bytes: usize,
    /// Misbehave from the start on: slow=MS, wait-timeout, disk-full.
    #[arg(long)]
    fault: Vec<String>,
    /// Misbehave as this file says, one fault a line; it is read before each call. No file, no fault.
    #[arg(long)]
    fault_file: Option<PathBuf>,
}

struct Health {
    version: String,
}

#[tonic::async_trait]
impl Qdrant for Health {
    async fn health_check(&self, _: Request<HealthCheckRequest>) -> Result<Response<HealthCheckReply>, Status> {
        let title = "qdrant - vector search engine".to_owned();
        Ok(Response::new(HealthCheckReply { title, version: self.version.clone(), commit: None }))
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let faults = Faults::new(&arguments.fault, arguments.fault_file)?;
    let shelf = Shelf::open(&arguments.data).context("the collections cannot be opened")?;
    // SurrealDB brings a second one into the tree: rustls wants to be told which.
    if tokio_rustls::rustls::crypto::ring::default_provider().install_default().is_err() {
        anyhow::bail!("another cryptography has been chosen already");
    }
    let mut server = Server::builder();
    if let (Some(cert), Some(key)) = (&arguments.tls_cert, &arguments.tls_key) {
        let identity = Identity::from_pem(std::fs::read(cert)?, std::fs::read(key)?);
        server = server.tls_config(ServerTlsConfig::new().identity(identity))?;
    }
    let check = KeyCheck::new(arguments.api_key);
    let incoming = TcpIncoming::bind(arguments.listen)
        .with_context(|| format!("cannot listen on {}", arguments.listen))?
        .with_nodelay(Some(true));
    let points = PointsServer::new(points::Service::new(shelf.clone(), faults.clone()))
        .max_decoding_message_size(arguments.max_message_bytes);
    let collections = CollectionsServer::new(collections::Service::new(shelf));
    let health = QdrantServer::new(Health { version: arguments.version });
    let mut out = std::io::stdout();
    writeln!(out, "listening on {}", incoming.local_addr()?)?;
    out.flush()?;
    server
        .add_service(InterceptedService::new(points, check.clone()))
        .add_service(InterceptedService::new(collections, check.clone()))
        .add_service(InterceptedService::new(health, check))
        .serve_with_incoming(incoming)
        .await?;
    Ok(())
}
