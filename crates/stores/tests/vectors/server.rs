//! `test-qdrant` as a child process.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use lockstep_stores::{QdrantRemote, QdrantStore};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// A machine that does much else may be slow.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until it is so, but not for ever.
pub(crate) async fn until(mut so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < PATIENCE, "it never came to be so");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A server; it ends with this.
pub(crate) struct Server {
    child: Child,
    address: String,
    arguments: Vec<String>,
    home: tempfile::TempDir,
}

/// The binary, from the directory that holds the tests' own directory.
fn binary() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().and_then(Path::parent).unwrap().join("test-qdrant");
    assert!(
        path.exists(),
        "{} is missing: cargo build -p lockstep-test-servers --no-default-features --features qdrant",
        path.display()
    );
    path
}

/// A remote with patience.
pub(crate) fn remote(endpoint: String) -> QdrantRemote {
    let (timeout, batch_bytes) = (PATIENCE, 16 << 20);
    QdrantRemote { endpoint, api_key: None, ca_file: None, timeout, batch_bytes, ordering: None }
}

impl Server {
    /// Starts it, on a free port, in a directory of its own.
    pub(crate) async fn start(arguments: &[&str]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let (child, address) = spawn(home.path(), "127.0.0.1:0", &arguments).await;
        Self { child, address, arguments, home }
    }

    pub(crate) fn remote(&self) -> QdrantRemote {
        remote(format!("http://{}", self.address))
    }

    pub(crate) fn store(&self) -> QdrantStore {
        QdrantStore::connect(&self.remote()).unwrap()
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// kill -9.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// Starts it again where it was.
    pub(crate) async fn start_again(&mut self) {
        (self.child, _) = spawn(self.home.path(), &self.address, &self.arguments).await;
    }

    /// SIGSTOP: it is there and says nothing any more.
    pub(crate) fn freeze(&self) {
        waitid(WaitId::Pid(self.signal(Signal::STOP)), WaitIdOptions::STOPPED).unwrap();
    }

    /// SIGCONT.
    pub(crate) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) -> Pid {
        let pid = Pid::from_raw(i32::try_from(self.child.id().unwrap()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
        pid
    }

    /// Makes it misbehave from the next call on; with "" it stops doing so.
    pub(crate) fn fault(&self, words: &str) {
        let (new, file) = (self.home.path().join("faults.new"), self.home.path().join("faults"));
        std::fs::write(&new, words).unwrap();
        std::fs::rename(new, file).unwrap();
    }
}

async fn spawn(home: &Path, listen: &str, arguments: &[String]) -> (Child, String) {
    let mut child = Command::new(binary())
        .args(["--listen", listen, "--data"])
        .arg(home.join("data"))
        .arg("--fault-file")
        .arg(home.join("faults"))
        .args(arguments)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap();
    let address = line.as_deref().and_then(|line| line.strip_prefix("listening on "));
    let address = address.unwrap_or_else(|| panic!("the server did not start: {line:?}")).to_owned();
    (child, address)
}
