//! A daemon for one test, and a client that can misbehave.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lockstep_engine::{Engine, Parts, Settings, SystemChance, SystemClock};
use lockstep_model::LogId;
use lockstep_stores::{EdgeStore, SurrealStore};
use lockstep_wal::{Log, MemLog};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::runtime::Builder;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::routes::{About, App, router};
use crate::serve::serve;
use crate::socket::Socket;

/// No test waits longer than this for anything.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

const POLL: Duration = Duration::from_millis(5);

/// Looks until it is so, but not for ever.
pub(super) async fn wait_until<F: Future<Output = bool>>(what: &str, mut look: impl FnMut() -> F) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !look().await {
        assert!(tokio::time::Instant::now() < deadline, "after {PATIENCE:?} there is still not: {what}");
        tokio::time::sleep(POLL).await;
    }
}

/// What a test wants otherwise than usual.
pub(super) struct Wanted {
    pub(super) settings: Settings,
    pub(super) op_bytes: usize,
    pub(super) connections: usize,
    pub(super) queries: bool,
    /// Whether the log in memory counts as durable by itself.
    pub(super) auto: bool,
    pub(super) idle: Duration,
}

impl Default for Wanted {
    fn default() -> Self {
        let settings = Settings { stall: Duration::from_secs(5), ..Settings::default() };
        Self {
            settings,
            op_bytes: 1 << 20,
            connections: 2048,
            queries: true,
            auto: true,
            idle: Duration::from_millis(300),
        }
    }
}

/// A running daemon.
pub(super) struct Fixture {
    pub(super) engine: Engine,
    pub(super) log: Arc<MemLog>,
    pub(super) app: Arc<App>,
    socket: PathBuf,
    closing: CancellationToken,
    serving: tokio::task::JoinHandle<()>,
    _dir: TempDir,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(super) fn lines(&self) -> Vec<Value> {
        self.body
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect()
    }
}

/// Runs a test on threads like the daemon's.
pub(super) fn run<F: Future<Output = ()> + Send + 'static>(test: F) {
    let threads =
        Builder::new_multi_thread().worker_threads(2).thread_stack_size(10 << 20).enable_all().build().unwrap();
    threads.block_on(threads.spawn(async { tokio::time::timeout(2 * PATIENCE, test).await.unwrap() })).unwrap();
}

impl Fixture {
    pub(super) async fn start() -> Self {
        Self::with(Wanted::default()).await
    }

    pub(super) async fn with(wanted: Wanted) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let id = LogId(Uuid::new_v4());
        let log = Arc::new(if wanted.auto { MemLog::auto(id) } else { MemLog::new(id) });
        let parts = Parts {
            log: Arc::clone(&log) as Arc<dyn Log>,
            documents: Arc::new(Box::pin(SurrealStore::open("mem://", "test", "test")).await.unwrap()),
            vectors: Arc::new(EdgeStore::open(dir.path().join("qdrant")).await.unwrap()),
            clock: Arc::new(SystemClock),
            chance: Arc::new(SystemChance),
            tasks: TaskTracker::new(),
        };
        let engine = Box::pin(Engine::start(parts.clone(), wanted.settings.clone())).await.unwrap();
        let about = About {
            op_bytes: wanted.op_bytes,
            connections: wanted.connections,
            stall: wanted.settings.stall,
            wal_dir: "memory".to_owned(),
            surreal: "mem://".to_owned(),
            qdrant: "edge://".to_owned(),
            queries: wanted.queries,
        };
        let mut app = App::new(engine.clone(), &parts, about);
        app.bodies.idle = wanted.idle;
        let app = Arc::new(app);
        let path = dir.path().join("s");
        let socket = Socket::bind(&path, 0o600).unwrap();
        let closing = CancellationToken::new();
        let (routes, room, told) = (router(Arc::clone(&app)), Arc::clone(&app.room), closing.clone());
        let serving = tokio::spawn(async move { serve(&socket.listener, routes, room, told).await.unwrap() });
        Self { engine, log, app, socket: path, closing, serving, _dir: dir }
    }

    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    pub(super) fn last_lsn(&self) -> u64 {
        self.log.positions().appended.0
    }

    pub(super) async fn connect(&self) -> UnixStream {
        UnixStream::connect(&self.socket).await.unwrap()
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, "", b"").await
    }

    pub(super) async fn post(&self, path: &str, body: impl AsRef<[u8]>) -> Answer {
        self.send("POST", path, "", body.as_ref()).await
    }

    pub(super) async fn op(&self, body: impl AsRef<[u8]>) -> Answer {
        self.post("/v1/ops", body).await
    }

    /// One request on its own connection. `more` are whole header lines.
    pub(super) async fn send(&self, method: &str, path: &str, more: &str, body: &[u8]) -> Answer {
        let mut stream = self.connect().await;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{more}content-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let (mut reader, mut writer) = stream.split();
        // As a careless client does: all of it, and only then the answer.
        let sent = writer.write_all(body).await;
        let answer = read(&mut reader).await;
        sent.unwrap_or_else(|error| panic!("{error} while sending; answered {answer:?}"));
        answer
    }

    /// A put that must commit: the daemon is well.
    pub(super) async fn is_well(&self) {
        let answer = self.op(br#"{"op":"put","key":"well:1","document":{}}"#).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    pub(super) async fn stop(self) {
        self.engine.stop(Duration::from_secs(5)).await;
        self.closing.cancel();
        tokio::time::timeout(PATIENCE, self.serving).await.unwrap().unwrap();
    }
}

/// Reads an answer until the daemon closes the connection.
pub(super) async fn read(reader: &mut (impl AsyncReadExt + Unpin)) -> Answer {
    let mut bytes = Vec::new();
    tokio::time::timeout(PATIENCE, reader.read_to_end(&mut bytes)).await.unwrap().unwrap();
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("an HTTP answer");
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_ascii_lowercase();
    let raw = &bytes[end + 4..];
    let body = if head.contains("transfer-encoding: chunked") { joined(raw) } else { raw.to_vec() };
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head, body }
}

/// The body of chunks.
fn joined(mut raw: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = raw.windows(2).position(|two| two == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&raw[..end]).unwrap(), 16).unwrap();
        body.extend_from_slice(&raw[end + 2..end + 2 + size]);
        raw = &raw[end + 2 + size + 2..];
        if size == 0 {
            break;
        }
    }
    body
}
