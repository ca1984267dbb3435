//! A TCP proxy that misbehaves on demand.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// What happens to bytes from the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// They go on.
    Pass,
    /// They are kept back until [`Proxy::let_go`], also when the client has left.
    Hold,
    /// They go on, and the connection is reset as soon as the server answers: before the answer reaches the client.
    CutAnswers,
    /// The connection is reset before any of them goes on.
    CutRequests,
}

/// A proxy before one server.
pub(crate) struct Proxy {
    address: SocketAddr,
    mode: watch::Sender<Mode>,
    /// Counts up when what is kept back may go.
    released: watch::Sender<usize>,
    /// What the server has answered to bytes that were kept back.
    late_answers: Arc<AtomicUsize>,
    held: Arc<AtomicUsize>,
    task: AbortHandle,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proxy {
    pub(crate) async fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (mode, released) = (watch::Sender::new(Mode::Pass), watch::Sender::new(0));
        let (late_answers, held) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let shared = (mode.clone(), released.clone(), Arc::clone(&late_answers), Arc::clone(&held));
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (mode, released, late_answers, held) = shared.clone();
                if let Ok(upstream) = TcpStream::connect(server).await {
                    tokio::spawn(carry(client, upstream, mode, released, late_answers, held));
                }
            }
        })
        .abort_handle();
        Self { address, mode, released, late_answers, held, task }
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Bytes that are kept back.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Acquire)
    }

    /// Lets go what is kept back, and passes what comes.
    pub(crate) fn let_go(&self) {
        self.mode.send_replace(Mode::Pass);
        self.released.send_modify(|count| *count += 1);
    }

    /// Bytes that the server has answered to clients that had left.
    pub(crate) fn late_answers(&self) -> usize {
        self.late_answers.load(Ordering::Acquire)
    }
}

async fn carry(
    client: TcpStream,
    upstream: TcpStream,
    mode: watch::Sender<Mode>,
    released: watch::Sender<usize>,
    late_answers: Arc<AtomicUsize>,
    held: Arc<AtomicUsize>,
) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = upstream.into_split();
    let answers_mode = mode.clone();
    let left = AtomicBool::new(false);
    let requests = async {
        let mut bytes = vec![0; 64 << 10];
        let mut kept: Vec<u8> = Vec::new();
        let mut release = released.subscribe();
        release.mark_unchanged();
        loop {
            let now = *mode.borrow();
            if now == Mode::CutRequests {
                return;
            }
            tokio::select! {
                read = from_client.read(&mut bytes) => match read {
                    Ok(0) | Err(_) if kept.is_empty() => return,
                    Ok(0) | Err(_) => {
                        // The client has left; what it sent may still go.
                        left.store(true, Ordering::Release);
                        drop(release.changed().await);
                        drop(to_server.write_all(&kept).await);
                        // The server's answer is waited for by the other half.
                        std::future::pending::<()>().await;
                    }
                    Ok(count) => {
                        let now = *mode.borrow();
                        if now == Mode::CutRequests {
                            return;
                        }
                        if now == Mode::Hold {
                            kept.extend_from_slice(&bytes[..count]);
                            held.fetch_add(count, Ordering::AcqRel);
                        } else if to_server.write_all(&bytes[..count]).await.is_err() {
                            return;
                        }
                    }
                },
                changed = release.changed() => {
                    if changed.is_err() || to_server.write_all(&std::mem::take(&mut kept)).await.is_err() {
                        return;
                    }
                }
            }
        }
    };
    let answers = async {
        let mut bytes = vec![0; 64 << 10];
        loop {
            let Ok(count @ 1..) = from_server.read(&mut bytes).await else { return };
            if *answers_mode.borrow() == Mode::CutAnswers {
                return;
            }
            if left.load(Ordering::Acquire) {
                late_answers.fetch_add(count, Ordering::AcqRel);
            } else if to_client.write_all(&bytes[..count]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = requests => {}
        () = answers => {}
    }
}
