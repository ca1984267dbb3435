//! A network that can go wrong: a TCP proxy in this process, between a daemon and a store.
//!
//! What is switched holds for connections that are open as well as for new ones. A connection that has lost or held back bytes stays as it
//! is, whatever is switched later: a stream with a hole in it must not go on. Memory is bounded: a connection has one buffer for
//! each direction, and holds back [`HELD_BYTES`] at most; then it stops reading.

mod carry;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::wait::{PATIENCE, wait_until};

/// So much of what a client sends is held back at most, on one connection.
pub const HELD_BYTES: usize = 64 << 20;

/// What the network does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fault {
    /// Carries every byte.
    #[default]
    None,
    /// Nobody listens, and open connections are reset.
    Refuse,
    /// The first byte that a client sends resets its connection; the store sees none of it.
    ResetRequest,
    /// Requests reach the store. Once a connection has carried more than `past` bytes to it, the first byte of an answer resets
    /// the connection instead of being passed on. With 0 that is the first answer; more lets handshakes pass.
    ResetReply {
        /// The bytes from the client that come to nothing worse.
        past: u64,
    },
    /// Connections are taken, everything that clients or the store say is read, and nothing of it is passed on.
    Silence,
    /// Bytes to the store are held back until [`Proxy::release`], and then delivered even if the client is gone.
    Hold,
    /// Every answer comes so many times later than the store gave it.
    Slower(u32),
    /// Bytes take so much longer, in both directions.
    Delay(Duration),
}

/// What has happened so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections taken.
    pub taken: u64,
    /// Connections reset on purpose, open ones that were cut among them.
    pub resets: u64,
    /// Bytes that were read and not passed on.
    pub swallowed: u64,
    /// Bytes that are held back now.
    pub held: u64,
    /// Bytes that had been held back and were delivered.
    pub released: u64,
    /// Bytes that the store answered on connections whose client had gone.
    pub unheard: u64,
    /// Bytes that came late.
    pub delayed: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Switch {
    fault: Fault,
    /// Rises with each switch, so that what was counted under an earlier one is not taken for this one.
    turn: u64,
    /// Connections older than this number are cut.
    cut: u64,
    /// Rises with each release.
    releases: u64,
}

#[derive(Debug)]
struct Shared {
    target: watch::Sender<SocketAddr>,
    switch: watch::Sender<Switch>,
    /// The last turn that the listener has obeyed.
    obeyed: watch::Sender<u64>,
    counts: watch::Sender<Counts>,
}

impl Shared {
    fn count(&self, change: impl FnOnce(&mut Counts)) {
        self.counts.send_modify(change);
    }
}

/// The proxy. Its connections end with it.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    listener: JoinHandle<()>,
}

impl Proxy {
    /// Listens on a free port of the loopback, and carries to `target`.
    ///
    /// # Errors
    /// If there is no port.
    pub async fn start(target: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("a port for the proxy")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            target: watch::Sender::new(target),
            switch: watch::Sender::new(Switch::default()),
            obeyed: watch::Sender::new(0),
            counts: watch::Sender::new(Counts::default()),
        });
        let listener = tokio::spawn(listen(listener, address, Arc::clone(&shared)));
        Ok(Self { address, shared, listener })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// New connections are carried to `target`.
    pub fn retarget(&self, target: SocketAddr) {
        self.shared.target.send_replace(target);
    }

    /// From the return on, the network is like that.
    ///
    /// # Errors
    /// If the proxy has ended.
    pub async fn set(&self, fault: Fault) -> Result<()> {
        let mut turn = 0;
        self.shared.switch.send_modify(|switch| {
            switch.fault = fault;
            switch.turn += 1;
            turn = switch.turn;
        });
        let mut obeyed = self.shared.obeyed.subscribe();
        let obeyed = tokio::time::timeout(PATIENCE, obeyed.wait_for(|obeyed| *obeyed >= turn)).await;
        obeyed.context("the proxy does not obey")?.context("the proxy has ended")?;
        Ok(())
    }

    /// Resets every open connection, those that hold something back, too.
    pub fn cut(&self) {
        let taken = self.counts().taken;
        self.shared.switch.send_modify(|switch| switch.cut = taken + 1);
    }

    /// Delivers what is held back.
    pub fn release(&self) {
        self.shared.switch.send_modify(|switch| switch.releases += 1);
    }

    /// What has happened so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        *self.shared.counts.borrow()
    }

    /// Waits until enough has happened.
    ///
    /// # Errors
    /// If a minute passes.
    pub async fn until(&self, what: &str, enough: impl FnMut(&Counts) -> bool) -> Result<Counts> {
        let mut counts = self.shared.counts.subscribe();
        let seen = tokio::time::timeout(PATIENCE, counts.wait_for(enough)).await;
        let seen = seen.map(|seen| seen.map(|counts| *counts));
        Ok(seen.with_context(|| format!("the proxy has not seen {what}: {:?}", self.counts()))??)
    }

    /// Waits until nothing more has come for a while: what was begun has come whole.
    ///
    /// # Errors
    /// If the proxy has ended.
    pub async fn until_quiet(&self) -> Result<()> {
        let mut counts = self.shared.counts.subscribe();
        while let Ok(more) = tokio::time::timeout(QUIET, counts.changed()).await {
            more?;
        }
        Ok(())
    }
}

/// A request whose next piece has not come after this is whole.
const QUIET: Duration = Duration::from_millis(300);

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

/// A listener, or a socket that keeps the port while nobody may connect.
enum Door {
    Open(TcpListener),
    Shut(TcpSocket),
}

async fn listen(listener: TcpListener, address: SocketAddr, shared: Arc<Shared>) {
    let mut switch = shared.switch.subscribe();
    let mut connections = JoinSet::new();
    let mut door = Door::Open(listener);
    loop {
        let now = *switch.borrow_and_update();
        door = match (now.fault, door) {
            (Fault::Refuse, Door::Open(listener)) => {
                drop(listener);
                match keep(address).await {
                    Ok(socket) => Door::Shut(socket),
                    // `set` reports that the proxy has ended.
                    Err(_) => return,
                }
            }
            (
                Fault::None
                | Fault::ResetRequest
                | Fault::ResetReply { .. }
                | Fault::Silence
                | Fault::Hold
                | Fault::Slower(_)
                | Fault::Delay(_),
                Door::Shut(socket),
            ) => match socket.listen(1024) {
                Ok(listener) => Door::Open(listener),
                Err(_) => return,
            },
            (_, door) => door,
        };
        shared.obeyed.send_replace(now.turn);
        let Door::Open(listener) = &door else {
            if switch.changed().await.is_err() {
                return;
            }
            continue;
        };
        tokio::select! {
            changed = switch.changed() => if changed.is_err() { return },
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { continue };
                take(client, &shared, &mut connections);
            }
        }
    }
}

fn take(client: TcpStream, shared: &Arc<Shared>, connections: &mut JoinSet<()>) {
    let mut number = 0;
    shared.count(|counts| {
        counts.taken += 1;
        number = counts.taken;
    });
    while connections.try_join_next().is_some() {}
    connections.spawn(carry::carry(client, number, Arc::clone(shared)));
}

/// A socket that has the port and does not listen: whoever connects is refused, and nobody else gets the port.
async fn keep(address: SocketAddr) -> Result<TcpSocket> {
    wait_until("the proxy's port", PATIENCE, || async {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        Ok(socket.bind(address).is_ok().then_some(socket))
    })
    .await
}
