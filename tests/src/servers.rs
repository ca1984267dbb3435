//! Real stores as child processes: SurrealDB's own server, and Qdrant's wire and engine (the package `lockstep-test-servers`).
//!
//! `SURREAL_URL` (as in `ws://127.0.0.1:8000`, with `SURREAL_USER` and `SURREAL_PASS`, else root and root) and `QDRANT_URL` (as in
//! `http://127.0.0.1:6334`, with `QDRANT_API_KEY`) name servers that are used instead. Those cannot be killed, stopped or robbed of
//! their data: a test that must do so asks [`Server::is_ours`] and says with [`crate::budget::skip`] that it is left out.

use std::env;
use std::fs::{self, File, OpenOptions};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{self, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use lockstep_stores::SurrealStore;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::program::{built, freeze};
use crate::seed::Rng;
use crate::wait::{PATIENCE, wait_until};

/// So many ports are tried: another process may take one between the look and the server's own bind.
const PORTS: usize = 5;

/// Which store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// SurrealDB.
    Surreal,
    /// Qdrant.
    Qdrant,
}

impl Kind {
    const fn program(self) -> &'static str {
        match self {
            Self::Surreal => "test-surreal",
            Self::Qdrant => "test-qdrant",
        }
    }

    const fn variable(self) -> &'static str {
        match self {
            Self::Surreal => "SURREAL_URL",
            Self::Qdrant => "QDRANT_URL",
        }
    }
}

/// Whether servers of this kind are started here, and may be killed.
#[must_use]
pub fn is_ours(kind: Kind) -> bool {
    env::var_os(kind.variable()).is_none()
}

/// Who may do everything on a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// SurrealDB's root user.
    pub user: String,
    /// Its password; Qdrant's API key. Empty: none is needed.
    pub secret: String,
}

/// A server. One that was started here is killed when this is dropped.
#[derive(Debug)]
pub struct Server {
    kind: Kind,
    address: SocketAddr,
    access: Access,
    child: Option<Child>,
    /// None: somebody else's server.
    home: Option<Home>,
}

#[derive(Debug)]
struct Home {
    folder: PathBuf,
    arguments: Vec<String>,
}

impl Server {
    /// Starts one on a free port, with its data in `folder`, or takes the one that the environment names.
    ///
    /// # Errors
    /// If it has not been built, or does not answer within a minute.
    pub async fn start(kind: Kind, folder: &Path) -> Result<Self> {
        Self::start_with(kind, folder, &[]).await
    }

    /// The same, with more arguments for a server of our own.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub async fn start_with(kind: Kind, folder: &Path, arguments: &[&str]) -> Result<Self> {
        if let Ok(url) = env::var(kind.variable()) {
            return Self::named(kind, &url).await;
        }
        fs::create_dir_all(folder)?;
        let access = match kind {
            Kind::Surreal => Access { user: "root".to_owned(), secret: "root".to_owned() },
            Kind::Qdrant => Access { user: String::new(), secret: "the key of the tests".to_owned() },
        };
        let home =
            Home { folder: folder.to_owned(), arguments: arguments.iter().map(|&argument| argument.into()).collect() };
        let address = free_port().await?;
        let mut server = Self { kind, address, access, child: None, home: Some(home) };
        for _ in 1..PORTS {
            match server.restart().await {
                Err(_) if server.words().contains("in use") => server.address = free_port().await?,
                started => return started.map(|()| server),
            }
        }
        server.restart().await?;
        Ok(server)
    }

    async fn named(kind: Kind, url: &str) -> Result<Self> {
        let host = url.split_once("://").map_or(url, |(_, host)| host).trim_end_matches('/');
        let address = lookup_host(host).await.with_context(|| format!("{}={url}", kind.variable()))?.next();
        let address = address.with_context(|| format!("{}={url}: no such host", kind.variable()))?;
        let variable = |name, usual: &str| env::var(name).unwrap_or_else(|_| usual.to_owned());
        let access = match kind {
            Kind::Surreal => {
                Access { user: variable("SURREAL_USER", "root"), secret: variable("SURREAL_PASS", "root") }
            }
            Kind::Qdrant => Access { user: String::new(), secret: variable("QDRANT_API_KEY", "") },
        };
        Ok(Self { kind, address, access, child: None, home: None })
    }

    /// Which store it is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Where it listens. It stays the same over restarts.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Who may do everything there.
    #[must_use]
    pub const fn access(&self) -> &Access {
        &self.access
    }

    /// Whether it was started here, and may be killed.
    #[must_use]
    pub const fn is_ours(&self) -> bool {
        self.home.is_some()
    }

    /// Its process.
    ///
    /// # Errors
    /// If it does not run, or is somebody else's.
    pub fn pid(&self) -> Result<Pid> {
        let id = self.child.as_ref().and_then(Child::id).with_context(|| format!("{:?} does not run", self.kind))?;
        Pid::from_raw(i32::try_from(id)?).context("no process has this number")
    }

    /// kill -9; returns when it is gone.
    ///
    /// # Errors
    /// If it does not run.
    pub async fn kill(&mut self) -> Result<()> {
        let mut child = self.child.take().with_context(|| format!("{:?} does not run", self.kind))?;
        child.kill().await.with_context(|| format!("kill -9 of {:?}", self.kind))
    }

    /// SIGTERM; returns when it is gone.
    ///
    /// # Errors
    /// If it has not gone after a minute.
    pub async fn stop(&mut self) -> Result<()> {
        kill_process(self.pid()?, Signal::TERM)?;
        let mut child = self.child.take().context("it does not run")?;
        let ended = timeout(PATIENCE, child.wait()).await;
        ended.with_context(|| format!("{:?} does not stop", self.kind))??;
        Ok(())
    }

    /// SIGSTOP: it keeps its connections and says nothing any more.
    ///
    /// # Errors
    /// If it does not run.
    pub async fn freeze(&self) -> Result<()> {
        freeze(self.pid()?).await
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// If it does not run.
    pub fn thaw(&self) -> Result<()> {
        Ok(kill_process(self.pid()?, Signal::CONT)?)
    }

    /// Starts it again on its data and its port; returns when it answers.
    ///
    /// # Errors
    /// If it runs, or does not answer within a minute.
    pub async fn restart(&mut self) -> Result<()> {
        ensure!(self.child.is_none(), "{:?} runs", self.kind);
        let home = self.home.as_ref().context("the server is somebody else's")?;
        let mut command = Command::new(built(self.kind.program())?);
        // What it says of a port in use must not drown in a backtrace.
        command.env("RUST_BACKTRACE", "0");
        let data = home.folder.join("data");
        match self.kind {
            Kind::Surreal => {
                // A kill may have torn the last record of its log, and all that it commits behind that would go with the next kill.
                SurrealStore::cut_torn(&data)?;
                command.args(["start", "--no-banner", "--log", "warn", "--bind", &self.address.to_string()]);
                command.args(["--user", &self.access.user, "--pass", &self.access.secret]).args(&home.arguments);
                command.arg(format!("surrealkv://{}", data.display()));
            }
            Kind::Qdrant => {
                command.args(["--listen", &self.address.to_string()]).arg("--data").arg(&data);
                if !self.access.secret.is_empty() {
                    command.args(["--api-key", &self.access.secret]);
                }
                command.arg("--fault-file").arg(home.folder.join("fault"));
                command.args(&home.arguments);
            }
        }
        let words = OpenOptions::new().create(true).append(true).open(home.folder.join("words"))?;
        command.stdin(Stdio::null()).stdout(words.try_clone()?).stderr(words).kill_on_drop(true);
        self.child = Some(command.spawn().with_context(|| format!("starting {}", self.kind.program()))?);
        let ready = self.until_it_answers().await;
        if ready.is_err() {
            // It may have ended by itself.
            let _ = self.kill().await;
        }
        ready.with_context(|| format!("{} said:\n{}", self.kind.program(), self.words()))
    }

    /// The API key that Qdrant wants from its next start on.
    pub fn change_secret(&mut self, secret: &str) {
        secret.clone_into(&mut self.access.secret);
    }

    /// Lets our Qdrant misbehave from now on: `slow=MS`, `wait-timeout`, `disk-full` or `refuse-marked`, one a line; nothing ends it.
    ///
    /// # Errors
    /// If it is somebody else's.
    pub fn misbehave(&self, faults: &str) -> Result<()> {
        let folder = self.folder()?;
        // In one step: the server reads it before each call.
        let (new, place) = (folder.join("fault.new"), folder.join("fault"));
        fs::write(&new, faults)?;
        fs::rename(&new, &place).with_context(|| place.display().to_string())
    }

    /// Its data as they are now, beside them. It must not run.
    ///
    /// # Errors
    /// If it runs, or there is no room.
    pub async fn copy(&self) -> Result<Copy> {
        let home = self.home_at_rest()?;
        let copy = home.folder.join(format!("copy-{}", fs::read_dir(&home.folder)?.count()));
        duplicate(&home.folder.join("data"), &copy).await?;
        Ok(Copy { folder: copy })
    }

    /// Puts its data back to what they were when `copy` was made. It must not run.
    ///
    /// # Errors
    /// If it runs, or there is no room.
    pub async fn restore(&self, copy: &Copy) -> Result<()> {
        let data = self.home_at_rest()?.folder.join("data");
        fs::remove_dir_all(&data).with_context(|| data.display().to_string())?;
        duplicate(&copy.folder, &data).await
    }

    /// Where its data are.
    ///
    /// # Errors
    /// If it is somebody else's.
    pub fn folder(&self) -> Result<&Path> {
        Ok(&self.home.as_ref().context("the server is somebody else's")?.folder)
    }

    fn home_at_rest(&self) -> Result<&Home> {
        ensure!(self.child.is_none(), "{:?} runs: its data cannot be copied", self.kind);
        self.home.as_ref().context("the server is somebody else's")
    }

    /// The last of what it has said since its first start.
    #[must_use]
    pub fn words(&self) -> String {
        let Some(home) = &self.home else { return String::new() };
        let words = fs::read(home.folder.join("words")).unwrap_or_default();
        let tail = words.get(words.len().saturating_sub(4096)..).unwrap_or_default();
        String::from_utf8_lossy(tail).into_owned()
    }

    async fn until_it_answers(&mut self) -> Result<()> {
        let (kind, address) = (self.kind, self.address);
        let child = self.child.as_mut().context("it does not run")?;
        let answers = wait_until("a server that answers", PATIENCE, || async move {
            let asked = timeout(Duration::from_secs(2), answers(kind, address)).await;
            Ok(matches!(asked, Ok(Ok(true))).then_some(()))
        });
        tokio::select! {
            answers = answers => answers,
            ended = child.wait() => bail!("it ended with {}", ended?),
        }
    }
}

/// The data of a server at an earlier time.
#[derive(Debug)]
pub struct Copy {
    folder: PathBuf,
}

/// Below the ports that Linux gives to outgoing connections: one of those could take it while the server is down.
async fn free_port() -> Result<SocketAddr> {
    const BELOW: u64 = 32_768;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.subsec_nanos();
    let mut rng = Rng::new(u64::from(now) << 32 | u64::from(process::id()));
    for _ in 0..100 {
        let port = u16::try_from(20_000 + rng.below(BELOW - 20_000))?;
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)).await {
            return Ok(listener.local_addr()?);
        }
    }
    bail!("no free port")
}

/// SurrealDB says over HTTP when it lets clients in (it says earlier that it is well); whoever takes connections at Qdrant's port has opened its collections.
async fn answers(kind: Kind, address: SocketAddr) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(address).await?;
    if kind == Kind::Qdrant {
        return Ok(true);
    }
    stream.write_all(b"GET /ready HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer.starts_with("HTTP/1.1 200"))
}

async fn duplicate(from: &Path, to: &Path) -> Result<()> {
    let output = Command::new("cp").arg("-a").arg(from).arg(to).output().await.context("cp")?;
    ensure!(output.status.success(), "cp: {}", String::from_utf8_lossy(&output.stderr).trim());
    File::open(to)?.sync_all().with_context(|| to.display().to_string())
}
