//! SurrealDB's own server as a child process: `test-surreal`, of the package `lockstep-test-servers`.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

/// A debug build starts in a second or two; a busy machine takes longer.
const STARTS_WITHIN: Duration = Duration::from_secs(60);

/// How long nothing happens between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A server, killed when it is dropped, or when this process ends.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    port: u16,
    data: String,
    tls: bool,
}

impl Server {
    /// Starts one on data in `dir`, or in memory.
    pub(crate) fn start(dir: Option<&Path>) -> Self {
        Self::start_with(dir, false)
    }

    /// Starts one that speaks TLS, with the certificate in [`tls_file`].
    pub(crate) fn start_tls() -> Self {
        Self::start_with(None, true)
    }

    fn start_with(dir: Option<&Path>, tls: bool) -> Self {
        let data = dir.map_or_else(|| "memory".to_owned(), |dir| format!("surrealkv://{}", dir.display()));
        // Another process may take the port before the server does; then the server ends, and another port is tried.
        for _ in 0..5 {
            let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
            let mut server = Self { child: spawn(port, &data, tls), port, data: data.clone(), tls };
            if server.is_ready() {
                return server;
            }
        }
        panic!("the server ended five times on its start");
    }

    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Kill -9.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again on its port and its data, after [`Server::kill`].
    pub(crate) fn start_again(&mut self) {
        self.child = spawn(self.port, &self.data, self.tls);
        assert!(self.is_ready(), "the server ended on its start");
    }

    /// SIGSTOP: no thread of it does anything any more.
    pub(crate) fn stop(&self) {
        waitid(WaitId::Pid(self.signal(Signal::STOP)), WaitIdOptions::STOPPED).unwrap();
    }

    /// SIGCONT.
    pub(crate) fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) -> Pid {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap();
        pid
    }

    fn is_ready(&mut self) -> bool {
        let started = Instant::now();
        while started.elapsed() < STARTS_WITHIN {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            if TcpStream::connect(self.address()).is_ok() {
                return true;
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        panic!("the server was not ready within {STARTS_WITHIN:?}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// With a pipe for its standard input: the server ends when the pipe does, however this process ends.
fn spawn(port: u16, data: &str, tls: bool) -> Child {
    let mut command = Command::new(binary());
    command.args(["start", "--bind", &format!("127.0.0.1:{port}"), "--user", "root", "--pass", "root"]).args([
        "--no-banner",
        "--log",
        "error",
        data,
    ]);
    if tls {
        command.arg("--web-crt").arg(tls_file("server.pem")).arg("--web-key").arg(tls_file("server.key"));
    }
    command
        .env("TEST_SERVER_ENDS_WITH_STDIN", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// A file with a certificate or a key.
pub(crate) fn tls_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/documents/tls").join(name)
}

/// Beside the directory of this test's own executable.
fn binary() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let path = own.parent().and_then(Path::parent).unwrap().join("test-surreal");
    assert!(path.exists(), "{} is missing: cargo build -p lockstep-test-servers --bin test-surreal", path.display());
    path
}
