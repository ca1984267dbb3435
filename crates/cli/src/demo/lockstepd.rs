//! A daemon as a child process.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use lockstep_api::Client;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use crate::failure::Failure;

const READY_WITHIN: Duration = Duration::from_secs(60);
const STOPPED_WITHIN: Duration = Duration::from_secs(40);
const POLL: Duration = Duration::from_millis(20);
const SAID_LINES: usize = 20;

/// The program: what the user named, else what lies beside this program, else what PATH finds.
pub(crate) fn find_lockstepd(named: Option<PathBuf>) -> PathBuf {
    let beside = || env::current_exe().ok().map(|here| here.with_file_name("lockstepd")).filter(|path| path.is_file());
    named.or_else(beside).unwrap_or_else(|| PathBuf::from("lockstepd"))
}

/// A running daemon. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Lockstepd {
    child: Child,
    log: PathBuf,
}

impl Lockstepd {
    /// Starts it on `data`, with what it says in the file `log`, and waits until it takes operations.
    pub(crate) async fn start(program: &Path, data: &Path, log: &Path, client: &Client) -> Result<Self, Failure> {
        let unusable = |source| Failure::DemoDirectory { path: log.to_owned(), source };
        let out = File::options().create(true).append(true).open(log).map_err(unusable)?;
        let child = Command::new(program)
            .arg("--data")
            .arg(data)
            .env_remove("LOCKSTEP_SOCKET")
            .env_remove("LOCKSTEP_CONFIG")
            .stdin(Stdio::null())
            .stdout(out.try_clone().map_err(unusable)?)
            .stderr(out)
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| Failure::Lockstepd { program: program.to_owned(), source })?;
        let mut daemon = Self { child, log: log.to_owned() };
        daemon.wait_until_ready(client).await?;
        Ok(daemon)
    }

    async fn wait_until_ready(&mut self, client: &Client) -> Result<(), Failure> {
        let started = Instant::now();
        while started.elapsed() < READY_WITHIN {
            if let Some(status) = self.child.try_wait().map_err(Failure::Child)? {
                return Err(Failure::LockstepdEnded { status, said: self.last_words() });
            }
            if client.readyz().await.is_ok_and(|answer| answer.ready) {
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
        }
        Err(Failure::LockstepdNotReady { seconds: READY_WITHIN.as_secs(), said: self.last_words() })
    }

    /// kill -9: it learns nothing of it.
    pub(crate) async fn kill(mut self) -> Result<(), Failure> {
        self.child.kill().await.map_err(Failure::Child)
    }

    /// SIGTERM, and how it ended.
    pub(crate) async fn stop(mut self) -> Result<ExitStatus, Failure> {
        if let Some(pid) = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) {
            kill_process(pid, Signal::TERM).map_err(|errno| Failure::Child(errno.into()))?;
        }
        match tokio::time::timeout(STOPPED_WITHIN, self.child.wait()).await {
            Ok(status) => status.map_err(Failure::Child),
            Err(_) => {
                self.child.kill().await.map_err(Failure::Child)?;
                self.child.wait().await.map_err(Failure::Child)
            }
        }
    }

    fn last_words(&self) -> String {
        let said = fs::read(&self.log).unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        let lines: Vec<&str> = said.lines().collect();
        lines[lines.len().saturating_sub(SAID_LINES)..].join("\n")
    }
}
