//! Boot: log, stores, engine, socket, in this order.
//!
//! The log comes first, because whoever holds its lock is the one daemon of this data: only then stores are opened and a leftover
//! socket is removed. The socket comes last: who can connect is answered.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use lockstep_engine::{Engine, Parts, RecoverError, Settings, StartError, SystemChance, SystemClock};
use lockstep_stores::Class;
use lockstep_wal::{ErrorClass, Log, LogError, OpenOptions, OpenReport, SledLog};
use rustix::process::{Resource, Rlimit, geteuid, getrlimit, setrlimit};
use rustix::system::uname;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use crate::Exit;
use crate::config::Setup;
use crate::routes::{About, App, observer, router};
use crate::socket::{Activated, Socket, SocketError};
use crate::stores::{self, OpenError};

/// Everything that a running daemon consists of.
pub struct Daemon {
    /// What it works with: log, stores, clock.
    pub parts: Parts,
    /// What routes work with, the engine first of all.
    pub app: Arc<App>,
    /// What is served.
    pub router: Router,
    /// Where it is served.
    pub socket: Socket,
    /// Where metrics are served, and what is served there.
    pub metrics: Option<(TcpListener, Router)>,
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
    /// Something else is where a directory has to be.
    #[error("{} is not a directory", path.display())]
    NotADirectory {
        /// What.
        path: PathBuf,
    },
    /// This user may not open the log.
    #[error(
        "the log in {} belongs to {}, and lockstepd runs as user {user}, who may not use it: run it as the owner, or give the \
         log to this user (`chown -R`)",
        dir.display(), owner.map_or_else(|| "another user".to_owned(), |owner| format!("user {owner}"))
    )]
    NotAllowed {
        /// Where it is.
        dir: PathBuf,
        /// Whose it is, if that can be seen.
        owner: Option<u32>,
        /// Who this is.
        user: u32,
        /// What the system said.
        source: Box<LogError>,
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
    /// The stores know of more than the log does.
    #[error("not started: the log has lost something: {0}")]
    Older(String),
    /// A store cannot be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The stores follow another log. The engine has said which, in the log lines.
    #[error(
        "not started: the stores belong to another log (see the error above). If that log is gone for good, as after data were \
         copied without it, `lockstepd --adopt` takes them over"
    )]
    Fenced,
    /// The engine did not start for another reason than the log.
    #[error("the engine cannot start")]
    Engine(#[source] StartError),
    /// The socket cannot be made.
    #[error("cannot listen")]
    Socket(#[from] SocketError),
    /// The socket for metrics cannot be made.
    #[error("cannot listen on {address} for metrics (daemon.metrics_listen)")]
    Metrics {
        /// Where.
        address: String,
        /// Why not.
        source: io::Error,
    },
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
            Self::Log { .. } | Self::NotAllowed { .. } | Self::Recover { .. } | Self::Older(_) => Exit::Unreadable,
            Self::Socket(SocketError::Taken(_) | SocketError::Foreign(_)) | Self::NotADirectory { .. } => Exit::Usage,
            Self::Store(error) if error.is_configuration() => Exit::Usage,
            Self::Directory { .. }
            | Self::Store(_)
            | Self::Fenced
            | Self::Engine(_)
            | Self::Socket(SocketError::Io { .. })
            | Self::Metrics { .. }
            | Self::Broken(_) => Exit::Failed,
        }
    }
}

/// Starts everything. After `Ok` operations can be taken; recovery goes on behind, and so does reaching stores that are served.
///
/// # Errors
/// See [`BootError`].
pub async fn boot(mut setup: Setup, activated: Activated) -> Result<Daemon, BootError> {
    raise_file_limit();
    let handed_over = activated.unix.map(Socket::take_over).transpose()?;
    if let Some(socket) = &handed_over {
        socket.path().clone_into(&mut setup.socket);
    }
    make_directories(&setup)?;
    let log = open_log(&setup).await?;
    let parts = Parts {
        documents: stores::surreal(&setup).await?,
        vectors: stores::qdrant(&setup).await?,
        clock: Arc::new(SystemClock),
        chance: Arc::new(SystemChance),
        tasks: TaskTracker::new(),
        log,
    };
    #[cfg(debug_assertions)]
    let parts = crate::sabotage::spoil(parts);
    let settings = Settings { holder: holder(&setup), ..setup.engine.clone() };
    let started = Box::pin(Engine::start(parts.clone(), settings)).await;
    let engine = started.map_err(|error| match error {
        StartError::Recover(source) => BootError::Recover { dir: setup.wal_dir.clone(), source },
        StartError::Older(why) => BootError::Older(why),
        StartError::Claim(ref source) if source.class == Class::Fenced => BootError::Fenced,
        StartError::Claim(_) | StartError::Collections(_) => BootError::Engine(error),
    })?;
    let about = About {
        op_bytes: setup.op_bytes,
        connections: setup.connections,
        stall: setup.engine.stall,
        wal_dir: absolute(&setup.wal_dir),
        surreal: setup.surreal.endpoint.url(),
        qdrant: setup.qdrant.endpoint.url(),
        queries: setup.surreal.endpoint.served().is_none(),
    };
    let app = Arc::new(App::new(engine, &parts, about));
    let metrics = listen_for_metrics(&setup, activated.tcp).await?;
    let socket = match handed_over {
        Some(socket) => socket,
        None => Socket::bind(&setup.socket, setup.socket_mode)?,
    };
    let metrics = metrics.map(|listener| (listener, observer(Arc::clone(&app))));
    Ok(Daemon { parts, router: router(Arc::clone(&app)), app, socket, metrics, setup })
}

/// Who holds SurrealDB, in words for whoever finds it held.
fn holder(setup: &Setup) -> String {
    let host = uname().nodename().to_string_lossy().into_owned();
    let socket = std::path::absolute(&setup.socket).unwrap_or_else(|_| setup.socket.clone());
    format!("host {host}, process {}, socket {}", std::process::id(), socket.display())
}

/// A socket of the service manager's goes before the configured address.
async fn listen_for_metrics(
    setup: &Setup,
    handed_over: Option<std::net::TcpListener>,
) -> Result<Option<TcpListener>, BootError> {
    let failed = |address: String| move |source| BootError::Metrics { address, source };
    match (handed_over, setup.metrics_listen) {
        (Some(listener), _) => {
            let taken = listener.set_nonblocking(true).and_then(|()| TcpListener::from_std(listener));
            taken.map(Some).map_err(failed("the service manager's socket".to_owned()))
        }
        (None, Some(address)) => TcpListener::bind(address).await.map(Some).map_err(failed(address.to_string())),
        (None, None) => Ok(None),
    }
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
    let surreal = setup.surreal.endpoint.directory().and_then(Path::parent);
    let qdrant = setup.qdrant.endpoint.directory().and_then(Path::parent);
    let needed = [setup.data.as_deref(), setup.socket.parent(), setup.wal_dir.parent(), surreal, qdrant];
    for path in needed.into_iter().flatten().filter(|path| !path.as_os_str().is_empty()) {
        let made = DirBuilder::new().recursive(true).mode(0o750).create(path);
        made.map_err(|source| {
            let path = path.to_owned();
            let is_something_else =
                matches!(source.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory);
            if is_something_else { BootError::NotADirectory { path } } else { BootError::Directory { path, source } }
        })?;
    }
    Ok(())
}

/// As whoever is in another directory finds it.
fn absolute(path: &Path) -> String {
    std::path::absolute(path).as_deref().unwrap_or(path).display().to_string()
}

/// Opening reads and writes: off the runtime's threads.
async fn open_log(setup: &Setup) -> Result<Arc<dyn Log>, BootError> {
    let dir = setup.wal_dir.clone();
    let mut options = OpenOptions::new(&dir);
    options.reserve_bytes = setup.reserve_bytes;
    // For those in another directory who find the log held.
    options.socket = absolute(&setup.socket);
    let opened = tokio::task::spawn_blocking(move || SledLog::open(options)).await?;
    let (log, report) = opened.map_err(|source| match source.class() {
        ErrorClass::Held => BootError::Held(source),
        ErrorClass::Fatal if is_not_allowed(&source) => BootError::NotAllowed {
            dir: dir.clone(),
            owner: owner(&source, &dir),
            user: geteuid().as_raw(),
            source: Box::new(source),
        },
        ErrorClass::Unreadable | ErrorClass::Full | ErrorClass::Fatal | ErrorClass::Usage => {
            BootError::Log { dir: dir.clone(), source }
        }
    })?;
    tell(&report, &dir);
    Ok(log)
}

/// Whether the system denied it: nothing is wrong with the log then.
fn is_not_allowed(error: &LogError) -> bool {
    matches!(error, LogError::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied)
}

/// Whose the file is that was denied, or else the log.
fn owner(error: &LogError, dir: &Path) -> Option<u32> {
    let denied = if let LogError::Io { path, .. } = error { std::fs::metadata(path).ok() } else { None };
    denied.or_else(|| std::fs::metadata(dir).ok()).map(|file| file.uid())
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

impl std::fmt::Debug for Daemon {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Daemon").field("setup", &self.setup).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_may_not_be_opened_is_not_called_damaged() {
        let denied =
            LogError::Io { doing: "open", path: "d/lock".into(), source: io::ErrorKind::PermissionDenied.into() };
        let other = LogError::Io { doing: "open", path: "d/lock".into(), source: io::ErrorKind::NotFound.into() };
        assert!(is_not_allowed(&denied) && !is_not_allowed(&other));
        let error = BootError::NotAllowed { dir: "d".into(), owner: Some(7), user: 8, source: Box::new(denied) };
        let said = error.to_string();
        assert!(
            said.contains("belongs to user 7") && said.contains("runs as user 8") && !said.contains("verify"),
            "{said}"
        );
        assert_eq!(error.exit(), Exit::Unreadable);
    }

    #[test]
    fn a_file_is_no_data_directory() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("file");
        std::fs::write(&data, "").unwrap();
        let sources = crate::config::Sources { data: Some(data.clone()), ..Default::default() };
        let setup = Setup::new(&crate::config::Config::default(), &sources).unwrap();
        let error = make_directories(&setup).unwrap_err();
        assert_eq!((error.to_string(), error.exit()), (format!("{} is not a directory", data.display()), Exit::Usage));
    }
}
