//! Boot: log, stores, engine, socket, in this order.
//!
//! The log comes first, because whoever holds its lock is the one daemon of this data: only then stores are opened and a leftover
//! socket is removed. The socket comes last: who can connect is answered.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use lockstep_engine::{Engine, Parts, RecoverError, StartError, SystemChance, SystemClock};
use lockstep_stores::{EdgeStore, StoreError, SurrealStore};
use lockstep_wal::{ErrorClass, Log, LogError, OpenOptions, OpenReport, SledLog};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio_util::task::TaskTracker;

use crate::Exit;
use crate::config::{Setup, SurrealEndpoint};
use crate::routes::{About, App, router};
use crate::socket::{Socket, SocketError};

/// Everything that a running daemon consists of.
pub struct Daemon {
    /// The engine.
    pub engine: Engine,
    /// What is served.
    pub router: Router,
    /// Where it is served.
    pub socket: Socket,
    /// With what it was started.
    pub setup: Setup,
}

/// The daemon did not start.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// A directory cannot be made.
    #[error("cannot make the directory {}", path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The log cannot be opened.
    #[error("the log cannot be opened; look at it with `wal-tools --wal {} verify`", dir.display())]
    Log {
        /// Where it is.
        dir: PathBuf,
        /// Why not.
        source: LogError,
    },
    /// Another process holds the log.
    #[error("the log is in use")]
    Held(#[source] LogError),
    /// What the log says cannot be taken over.
    #[error("the log cannot be taken over; look at it with `wal-tools --wal {} verify`", dir.display())]
    Recover {
        /// Where it is.
        dir: PathBuf,
        /// Why not.
        source: RecoverError,
    },
    /// A store cannot be opened.
    #[error("cannot open {what}")]
    Store {
        /// Which, and where.
        what: String,
        /// Why not.
        source: StoreError,
    },
    /// The engine did not start for another reason than the log.
    #[error("the engine cannot start")]
    Engine(#[source] StartError),
    /// The socket cannot be made.
    #[error("cannot listen")]
    Socket(#[from] SocketError),
    /// A thread of the start broke off.
    #[error("the start broke off")]
    Broken(#[from] tokio::task::JoinError),
}

impl BootError {
    /// How the process ends with it.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Held(_) => Exit::Held,
            Self::Log { .. } | Self::Recover { .. } => Exit::Unreadable,
            Self::Socket(SocketError::Taken(_) | SocketError::Foreign(_)) => Exit::Usage,
            Self::Directory { .. }
            | Self::Store { .. }
            | Self::Engine(_)
            | Self::Socket(SocketError::Io { .. })
            | Self::Broken(_) => Exit::Failed,
        }
    }
}

/// Starts everything. After `Ok` operations can be taken; recovery goes on behind.
///
/// # Errors
/// See [`BootError`].
pub async fn boot(setup: Setup) -> Result<Daemon, BootError> {
    raise_file_limit();
    make_directories(&setup)?;
    let log = open_log(&setup).await?;
    let parts = Parts {
        documents: Arc::new(open_surreal(&setup).await?),
        vectors: Arc::new(open_edge(&setup).await?),
        clock: Arc::new(SystemClock),
        chance: Arc::new(SystemChance),
        tasks: TaskTracker::new(),
        log,
    };
    #[cfg(feature = "fault-injection")]
    let parts = crate::sabotage::spoil(parts);
    let started = Box::pin(Engine::start(parts.clone(), setup.engine.clone())).await;
    let engine = started.map_err(|error| match error {
        StartError::Recover(source) => BootError::Recover { dir: setup.wal_dir.clone(), source },
        StartError::Claim(_) | StartError::Collections(_) => BootError::Engine(error),
    })?;
    let about = About {
        op_bytes: setup.op_bytes,
        stall: setup.engine.stall,
        surreal: setup.surreal.url(),
        qdrant: format!("edge://{}", setup.qdrant_dir.display()),
    };
    let app = Arc::new(App::new(engine.clone(), &parts, about));
    let socket = Socket::bind(&setup.socket, setup.socket_mode)?;
    Ok(Daemon { engine, router: router(app), socket, setup })
}

/// A connection is a file handle, and shells often allow 1,024 of them where the system allows many more.
fn raise_file_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::warn!(%error, ?current, "the limit of open files stays as it is");
    }
}

fn make_directories(setup: &Setup) -> Result<(), BootError> {
    let surreal = match &setup.surreal {
        SurrealEndpoint::Directory(path) => path.parent(),
        SurrealEndpoint::Memory => None,
    };
    let needed =
        [setup.data.as_deref(), setup.socket.parent(), setup.wal_dir.parent(), surreal, setup.qdrant_dir.parent()];
    for path in needed.into_iter().flatten().filter(|path| !path.as_os_str().is_empty()) {
        let made = DirBuilder::new().recursive(true).mode(0o750).create(path);
        made.map_err(|source| BootError::Directory { path: path.to_owned(), source })?;
    }
    Ok(())
}

/// Opening reads and writes: off the runtime's threads.
async fn open_log(setup: &Setup) -> Result<Arc<dyn Log>, BootError> {
    let dir = setup.wal_dir.clone();
    let mut options = OpenOptions::new(&dir);
    options.reserve_bytes = setup.reserve_bytes;
    // For those in another directory who find the log held.
    options.socket = std::path::absolute(&setup.socket).as_deref().unwrap_or(&setup.socket).display().to_string();
    let opened = tokio::task::spawn_blocking(move || SledLog::open(options)).await?;
    let (log, report) = opened.map_err(|source| match source.class() {
        ErrorClass::Held => BootError::Held(source),
        ErrorClass::Unreadable | ErrorClass::Full | ErrorClass::Fatal | ErrorClass::Usage => {
            BootError::Log { dir: dir.clone(), source }
        }
    })?;
    tell(&report, &dir);
    Ok(log)
}

fn tell(report: &OpenReport, dir: &Path) {
    for finding in &report.findings {
        tracing::warn!(?finding, "the log says something that is no damage");
    }
    tracing::info!(
        dir = %dir.display(),
        id = %report.id,
        fresh = report.fresh,
        incarnation = report.incarnation,
        entries = report.live_entries,
        bytes = report.live_bytes,
        dropped_tail = report.dropped_tail,
        "the log is open"
    );
}

async fn open_surreal(setup: &Setup) -> Result<SurrealStore, BootError> {
    let url = setup.surreal.url();
    if setup.surreal == SurrealEndpoint::Memory {
        tracing::warn!("surreal.endpoint is mem://: documents are gone when this process ends");
    }
    let opened = Box::pin(SurrealStore::open(&url, &setup.namespace, &setup.database)).await;
    opened.map_err(|source| BootError::Store { what: format!("SurrealDB at {url}"), source })
}

async fn open_edge(setup: &Setup) -> Result<EdgeStore, BootError> {
    let opened = EdgeStore::open(&setup.qdrant_dir).await;
    opened.map_err(|source| BootError::Store { what: format!("Qdrant Edge in {}", setup.qdrant_dir.display()), source })
}

impl std::fmt::Debug for Daemon {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Daemon").field("setup", &self.setup).finish_non_exhaustive()
    }
}
