//! A whole life: booted from a configuration on sockets of the service manager, reloaded, stopped; and what the manager hears.

use std::fs;
use std::os::unix::net::UnixDatagram as Heard;
use std::path::Path;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UnixDatagram, UnixStream};
use tokio::time::timeout;

use super::support::{Answer, PATIENCE, read, run};
use crate::Exit;
use crate::boot::boot;
use crate::config::{Setup, Sources, load};
use crate::daemon::Surroundings;
use crate::notify::Manager;
use crate::reload::Reloader;
use crate::signals::Asked;
use crate::socket::Activated;
use crate::telemetry::LogLevel;

async fn get(mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin, path: &str) -> Answer {
    let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    read(&mut stream).await
}

/// Words that the manager hears, one by one.
struct Words {
    socket: UnixDatagram,
    heard: Vec<String>,
}

impl Words {
    async fn wait_for(&mut self, word: &str) -> String {
        let mut buffer = vec![0; 4096];
        loop {
            if let Some(at) = self.heard.iter().position(|line| line.starts_with(word)) {
                return self.heard.remove(at);
            }
            let length = timeout(PATIENCE, self.socket.recv(&mut buffer)).await.expect(word).unwrap();
            let text = String::from_utf8(buffer[..length].to_vec()).unwrap();
            self.heard.extend(text.lines().map(str::to_owned));
        }
    }
}

fn sources(dir: &Path) -> Sources {
    Sources { config: Some(dir.join("config")), data: Some(dir.to_owned()), ..Sources::default() }
}

#[test]
fn from_activation_to_the_end_and_the_manager_hears_it() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let config = |limits: &str| {
            let text = format!("[surreal]\nendpoint = 'mem://'\n[limits]\n{limits}\n");
            fs::write(dir.path().join("config"), text).unwrap();
        };
        config("op_bytes = 1048576");
        let sources = sources(dir.path());
        let read_config = load(&sources, std::iter::empty()).unwrap();
        let setup = Setup::new(&read_config, &sources).unwrap();
        let level = LogLevel::of_nothing();

        let notify = dir.path().join("notify");
        let heard = Heard::bind(&notify).unwrap();
        heard.set_nonblocking(true).unwrap();
        let mut words = Words { socket: UnixDatagram::from_std(heard).unwrap(), heard: Vec::new() };

        // What systemd would hand over: another path than the configuration's, and a TCP socket.
        let socket = dir.path().join("activated.sock");
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let metrics = tcp.local_addr().unwrap();
        let unix = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let daemon = Box::pin(boot(setup, Activated { unix: Some(unix), tcp: Some(tcp) })).await.unwrap();
        assert!(!dir.path().join("lockstep.sock").exists(), "the manager's socket is the one");

        let asked = Asked::default();
        let around = Surroundings {
            asked: asked.clone(),
            manager: Manager::from_variable(Some(notify.as_os_str())),
            watchdog: Some(Duration::from_secs(60)),
            reloader: Reloader::new(sources, read_config, level),
        };
        let running = tokio::spawn(Box::pin(daemon.run(around)));
        words.wait_for("READY=1").await;
        assert!(words.wait_for("STATUS=lockstepd ready socket=").await.contains("activated.sock"));
        assert!(words.wait_for("STATUS=0 open, 0 parked; surreal ").await.contains("qdrant "));
        words.wait_for("WATCHDOG=1").await;

        let ready = get(UnixStream::connect(&socket).await.unwrap(), "/readyz").await;
        assert_eq!(ready.status, 200, "{ready:?}");
        let shown = get(TcpStream::connect(metrics).await.unwrap(), "/metrics").await;
        assert!(String::from_utf8(shown.body).unwrap().contains("lockstep_ready 1\n"));

        config("op_bytes = 1024");
        asked.reload.notify_one();
        words.wait_for("RELOADING=1").await;
        words.wait_for("MONOTONIC_USEC=").await;
        words.wait_for("READY=1").await;
        let mut stream = UnixStream::connect(&socket).await.unwrap();
        let head = "POST /v1/ops HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 2000\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        assert_eq!(read(&mut stream).await.status, 413, "the limit is the new one");

        config("op_bytes = 'many'");
        asked.reload.notify_one();
        words.wait_for("RELOADING=1").await;
        words.wait_for("READY=1").await;
        assert_eq!(get(UnixStream::connect(&socket).await.unwrap(), "/healthz").await.status, 200, "it goes on");

        asked.stop.cancel();
        words.wait_for("STOPPING=1").await;
        assert_eq!(timeout(PATIENCE, running).await.unwrap().unwrap(), Exit::Stopped);
        assert!(socket.exists(), "its file is the manager's");
    });
}

#[test]
fn stores_that_are_away_keep_nobody_from_being_ready() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        // Ports on which nobody listens: they were free a moment ago.
        let nobody = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let text = format!(
            "[surreal]\nendpoint = 'ws://{}'\ntimeout_s = 1\n[qdrant]\nendpoint = 'http://{}'\ntimeout_s = 1\n[daemon]\nauto_create = true\nshutdown_grace_s = 0\n",
            nobody(),
            nobody()
        );
        fs::write(dir.path().join("config"), text).unwrap();
        let sources = sources(dir.path());
        let config = load(&sources, std::iter::empty()).unwrap();
        let setup = Setup::new(&config, &sources).unwrap();
        let report = crate::preflight::report(&setup).await;
        let stores: Vec<&str> = report.iter().map(|finding| finding.store.as_str()).collect();
        assert_eq!(stores, ["surreal", "qdrant"], "{report:?}");
        assert!(report.iter().all(|finding| finding.severity == lockstep_stores::Severity::Error), "{report:?}");
        assert!(report[1].remedy.contains("qdrant.endpoint"), "{report:?}");

        let socket = setup.socket.clone();
        let daemon = Box::pin(boot(setup, Activated::default())).await.unwrap();
        let asked = Asked::default();
        let level = LogLevel::of_nothing();
        let around = Surroundings {
            asked: asked.clone(),
            manager: Manager::default(),
            watchdog: None,
            reloader: Reloader::new(sources, config, level),
        };
        let running = tokio::spawn(Box::pin(daemon.run(around)));
        let mut stream = UnixStream::connect(&socket).await.unwrap();
        let op = r#"{"op":"put","key":"a:1","document":{}}"#;
        let head = format!(
            "POST /v1/ops?ack=logged HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{op}",
            op.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let taken = read(&mut stream).await;
        assert_eq!(taken.status, 202, "{taken:?}");
        assert_eq!(get(UnixStream::connect(&socket).await.unwrap(), "/readyz").await.status, 200);
        // The log knows of the one; of the other nobody knows anything.
        let open = get(UnixStream::connect(&socket).await.unwrap(), "/v1/entities/a/1").await;
        assert_eq!((open.status, &open.json()["verdict"]), (200, &"unknown".into()), "{open:?}");
        assert_eq!(open.json()["open_ops"].as_array().unwrap().len(), 1, "{open:?}");
        let unknown = get(UnixStream::connect(&socket).await.unwrap(), "/v1/entities/a/2").await;
        assert_eq!((unknown.status, &unknown.json()["code"]), (503, &"store_unavailable".into()), "{unknown:?}");
        assert!(unknown.head.contains("retry-after: "), "{unknown:?}");
        asked.stop.cancel();
        assert_eq!(timeout(PATIENCE, running).await.unwrap().unwrap(), Exit::Stopped);
        assert!(!socket.exists());
    });
}
