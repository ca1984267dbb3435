//! A daemon of few words for the tests: it plays the answers that a test gives it, on a real socket.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use axum::Router;
use tokio::net::UnixListener;

/// A directory with a socket.
pub(crate) struct Daemon {
    dir: tempfile::TempDir,
}

impl Daemon {
    /// A place for a socket; nothing listens yet.
    pub(crate) fn absent() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    /// Listens and answers by `routes`, until the test ends.
    pub(crate) fn with(routes: Router) -> Self {
        let daemon = Self::absent();
        let listener = UnixListener::bind(daemon.socket()).unwrap();
        tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        daemon
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("lockstep.sock")
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Runs `lockstep` with its socket and `input` on stdin.
    pub(crate) async fn lockstep(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = lockstep(arguments);
        command.env("LOCKSTEP_SOCKET", self.socket()).current_dir(self.dir());
        let input = input.to_owned();
        tokio::task::spawn_blocking(move || run(command, &input)).await.unwrap()
    }
}

/// The built program, away from the caller's environment.
pub(crate) fn lockstep(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockstep"));
    command.args(arguments).env_remove("LOCKSTEP_SOCKET");
    command
}

/// Runs a command to its end.
pub(crate) fn run(mut command: Command, input: &str) -> Output {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    drop(stdin.write_all(input.as_bytes()));
    drop(stdin);
    child.wait_with_output().unwrap()
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Runs `lockstep` as at a terminal where `typed` is typed; its exit code, and all that appears there.
pub(crate) async fn on_a_terminal(daemon: &Daemon, arguments: &str, typed: &str) -> (i32, String) {
    let mut command = Command::new("script");
    let lockstep = format!("{} {arguments}", env!("CARGO_BIN_EXE_lockstep"));
    command.args(["--quiet", "--return", "--command", &lockstep, "/dev/null"]);
    command.env("LOCKSTEP_SOCKET", daemon.socket()).env("TERM", "xterm").current_dir(daemon.dir());
    let typed = typed.to_owned();
    let output = tokio::task::spawn_blocking(move || run(command, &typed)).await.unwrap();
    (output.status.code().unwrap(), stdout(&output))
}
