//! A daemon as a child process, and everything it says.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use lockstep_api::Client;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::budget::say;
use crate::program::{built, freeze};
use crate::wait::PATIENCE;

/// So many lines of a daemon are shown where a test has failed.
const LAST_LINES: usize = 40;

/// How a daemon is to be started.
#[derive(Debug, Clone)]
pub struct Launch {
    program: PathBuf,
    data: PathBuf,
    arguments: Vec<OsString>,
    variables: Vec<(OsString, OsString)>,
}

impl Launch {
    /// The built `lockstepd` on `data`.
    ///
    /// # Errors
    /// If it has not been built.
    pub fn on(data: impl Into<PathBuf>) -> Result<Self> {
        let program = built("lockstepd")?;
        Ok(Self { program, data: data.into(), arguments: Vec::new(), variables: Vec::new() })
    }

    /// The same, with another program.
    #[must_use]
    pub fn program(self, program: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), ..self }
    }

    /// The same, on another directory.
    #[must_use]
    pub fn data(self, data: impl Into<PathBuf>) -> Self {
        Self { data: data.into(), ..self }
    }

    /// The same, with one more argument.
    #[must_use]
    pub fn argument(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// The same, with one more variable in its environment.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// Where its data are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.data
    }

    /// Starts it, and does not wait for anything.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(&self) -> Result<Daemon> {
        let mut command = Command::new(&self.program);
        for name in ["LOCKSTEP_DATA", "LOCKSTEP_CONFIG", "LOCKSTEP_SOCKET", "LOCKSTEP_FAULT"] {
            command.env_remove(name);
        }
        command.arg("--data").arg(&self.data).args(&self.arguments).envs(self.variables.iter().cloned());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().with_context(|| format!("starting {}", self.program.display()))?;
        let stderr = child.stderr.take().context("no stderr")?;
        let (sender, said) = watch::channel(Said::default());
        let listener = tokio::spawn(listen(stderr, sender));
        let socket = self.data.join("lockstep.sock");
        Ok(Daemon { child, said, listener, client: Client::new(socket), waited_for: false })
    }

    /// Starts it, and waits until it says that it takes operations.
    ///
    /// # Errors
    /// If it ends, or a minute passes.
    pub async fn ready(&self) -> Result<Daemon> {
        let mut daemon = self.start()?;
        daemon.until_ready().await?;
        Ok(daemon)
    }
}

/// What a daemon has said so far.
#[derive(Debug, Default, Clone)]
struct Said {
    lines: Arc<Vec<String>>,
    ready: bool,
    ended: bool,
}

/// A running daemon. It is killed when this is dropped.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    said: watch::Receiver<Said>,
    listener: JoinHandle<()>,
    client: Client,
    waited_for: bool,
}

/// How a daemon ended, and what it said.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status.
    pub status: ExitStatus,
    /// Its standard error.
    pub said: String,
}

impl Daemon {
    /// A client that shares its connections with this daemon's other clients.
    #[must_use]
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// Its process.
    ///
    /// # Errors
    /// If it has ended.
    pub fn pid(&self) -> Result<Pid> {
        let id = self.child.id().context("the daemon has ended")?;
        Pid::from_raw(i32::try_from(id)?).context("no process has this number")
    }

    /// Waits for the line `lockstepd ready`.
    ///
    /// # Errors
    /// If it ends before, or a minute passes.
    pub async fn until_ready(&mut self) -> Result<()> {
        let seen = timeout(PATIENCE, self.said.wait_for(|said| said.ready || said.ended)).await;
        match seen.map(|said| said.map(|said| said.ready)) {
            Ok(Ok(true)) => Ok(()),
            Ok(_) => bail!("lockstepd ended before it was ready; it said:\n{}", self.words()),
            Err(_) => bail!("lockstepd is not ready after {PATIENCE:?}; it said:\n{}", self.words()),
        }
    }

    /// Whether it has ended, of itself or not.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.said.borrow().ended
    }

    /// What it has said so far.
    #[must_use]
    pub fn words(&self) -> String {
        self.said.borrow().lines.join("\n")
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// If it has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill_process(self.pid()?, signal)?)
    }

    /// SIGSTOP: it does nothing any more, and answers nobody.
    ///
    /// # Errors
    /// If it has ended.
    pub async fn freeze(&self) -> Result<()> {
        freeze(self.pid()?).await
    }

    /// kill -9, and what it had said. An ERROR line or a panic of its is an error.
    ///
    /// # Errors
    /// If it cannot be killed, or had not been well.
    pub async fn kill(mut self) -> Result<String> {
        self.child.start_kill().context("kill -9")?;
        let ended = self.ended(PATIENCE).await?;
        check_words(&ended.said)?;
        Ok(ended.said)
    }

    /// SIGTERM, and how it ended. An ERROR line or a panic of its is an error, and any exit code but 0.
    ///
    /// # Errors
    /// If it does not end well within a minute.
    pub async fn terminate(self) -> Result<String> {
        self.signal(Signal::TERM)?;
        let ended = self.ended(PATIENCE).await?;
        check_words(&ended.said)?;
        ensure!(ended.status.success(), "after SIGTERM lockstepd ended with {}: {}", ended.status, ended.said);
        Ok(ended.said)
    }

    /// SIGTERM, whatever it has said: for tests that give it a reason for an ERROR line. A panic is still an error.
    ///
    /// # Errors
    /// If it does not end well within a minute.
    pub async fn stopped(self) -> Result<String> {
        self.signal(Signal::TERM)?;
        let ended = self.ended(PATIENCE).await?;
        ensure!(!ended.said.contains("panicked"), "lockstepd panicked: {}", ended.said);
        ensure!(ended.status.success(), "after SIGTERM lockstepd ended with {}: {}", ended.status, ended.said);
        Ok(ended.said)
    }

    /// Waits until it ends, whatever it says.
    ///
    /// # Errors
    /// If it has not ended after `deadline`.
    pub async fn ended(mut self, deadline: Duration) -> Result<Ended> {
        let Ok(status) = timeout(deadline, self.child.wait()).await else {
            bail!("lockstepd has not ended within {deadline:?}; it said:\n{}", self.words());
        };
        let status = status?;
        self.waited_for = true;
        (&mut self.listener).await.context("the listener")?;
        Ok(Ended { status, said: self.words() })
    }
}

impl Drop for Daemon {
    /// Nobody waited for its end: the test has failed before, and what the daemon said may tell why.
    fn drop(&mut self) {
        if !self.waited_for {
            let words = self.words();
            let lines: Vec<&str> = words.lines().collect();
            let last = lines.get(lines.len().saturating_sub(LAST_LINES)..).unwrap_or_default();
            say(format!("lockstepd is dropped; its last words:\n  {}", last.join("\n  ")));
        }
    }
}

/// SurrealKV calls the torn end of its own log an error, and repairs it: a kill in the middle of a write leaves one. Whether anything is
/// missing is seen in the stores.
const TORN_END: &str = " ERROR surrealkv::wal::";

/// An ERROR line says that a human is needed, and a panic that a promise of ours is broken: no test expects either.
///
/// # Errors
/// If there is one.
pub fn check_words(said: &str) -> Result<()> {
    let bad =
        |line: &&str| line.contains("panicked") || line.split(|c: char| !c.is_alphanumeric()).any(|w| w == "ERROR");
    match said.lines().filter(|line| !line.contains(TORN_END)).find(bad) {
        None => Ok(()),
        Some(line) => bail!("lockstepd said: {line}\nand before and after that:\n{said}"),
    }
}

async fn listen(stderr: impl AsyncRead + Unpin, sender: watch::Sender<Said>) {
    let mut lines = BufReader::new(stderr).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        sender.send_modify(|said| {
            said.ready |= line.starts_with("lockstepd ready");
            Arc::make_mut(&mut said.lines).push(line);
        });
    }
    sender.send_modify(|said| said.ended = true);
}
