//! One connection: bytes from the client to the store and back, as the switch says.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::time::{Duration, Instant, sleep, sleep_until};

use super::{Fault, HELD_BYTES, Shared, Switch};

const BUFFER_BYTES: usize = 64 << 10;
/// So many parts of answers are late at most; then the store is not listened to.
const LATE_PARTS: usize = 64;
/// No request is on its way.
const ANSWERED: u64 = u64::MAX;

/// Why a connection ends.
enum End {
    /// One side closed it: the other sees that.
    Closed,
    /// Both sides see a reset.
    Reset,
}

/// Carries until one side closes, or a fault ends it.
pub(super) async fn carry(mut client: TcpStream, number: u64, shared: Arc<Shared>) {
    let target = *shared.target.borrow();
    let end = match connected(target).await {
        Some(mut server) => {
            let end = both(&mut client, &mut server, number, &shared).await;
            if matches!(end, End::Reset) {
                reset(&server);
            }
            end
        }
        None => End::Reset,
    };
    if matches!(end, End::Reset) {
        reset(&client);
        shared.count(|counts| counts.resets += 1);
    }
}

async fn connected(target: SocketAddr) -> Option<TcpStream> {
    let server = TcpStream::connect(target).await.ok()?;
    server.set_nodelay(true).ok()?;
    Some(server)
}

/// The close that follows is a reset.
fn reset(stream: &TcpStream) {
    // A socket that is gone needs none.
    let _ = stream.set_zero_linger();
}

async fn both(client: &mut TcpStream, server: &mut TcpStream, number: u64, shared: &Arc<Shared>) -> End {
    // What the fault does to small packets is enough.
    let _ = client.set_nodelay(true);
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let connection = Connection {
        shared,
        number,
        begun: Instant::now(),
        tainted: AtomicBool::new(false),
        orphaned: AtomicBool::new(false),
        sent: AtomicU64::new(0),
        turn: AtomicU64::new(0),
        asked_us: AtomicU64::new(ANSWERED),
    };
    tokio::select! {
        end = connection.requests(from_client, to_server) => end,
        end = connection.answers(from_server, to_client) => end,
        () = connection.cut() => End::Reset,
    }
}

struct Connection<'a> {
    shared: &'a Arc<Shared>,
    number: u64,
    begun: Instant,
    /// Bytes are missing: nothing may be passed on any more.
    tainted: AtomicBool,
    /// The client is gone, and what it sent is still to be delivered.
    orphaned: AtomicBool,
    /// Bytes passed on to the store since the fault was switched.
    sent: AtomicU64,
    /// The turn that `sent` belongs to.
    turn: AtomicU64,
    /// When the last request was passed on, in microseconds after `begun`, until its answer begins.
    asked_us: AtomicU64,
}

impl Connection<'_> {
    fn switch(&self) -> Switch {
        *self.shared.switch.borrow()
    }

    async fn cut(&self) {
        let mut switch = self.shared.switch.subscribe();
        let cut = |now: &Switch| now.cut > self.number || now.fault == Fault::Refuse;
        if switch.wait_for(cut).await.is_err() {
            // The proxy ends, and this task with it.
            std::future::pending::<()>().await;
        }
    }

    async fn requests(&self, mut client: ReadHalf<'_>, mut server: WriteHalf<'_>) -> End {
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let bytes = match client.read(&mut buffer).await {
                Ok(0) => return End::Closed,
                Ok(count) => buffer.get(..count).unwrap_or_default(),
                Err(_) => return End::Reset,
            };
            let now = self.switch();
            if self.tainted.load(Ordering::SeqCst) {
                self.swallow(bytes.len());
                continue;
            }
            match now.fault {
                Fault::ResetRequest | Fault::Refuse => return End::Reset,
                Fault::Silence => {
                    self.swallow(bytes.len());
                    continue;
                }
                Fault::Hold => {
                    let held = bytes.to_vec();
                    if let Some(end) = self.hold(held, now.releases, &mut client, &mut server).await {
                        return end;
                    }
                    continue;
                }
                Fault::Delay(by) => self.late(bytes.len(), by).await,
                Fault::None | Fault::ResetReply { .. } | Fault::Slower(_) => {}
            }
            if self.turn.swap(now.turn, Ordering::SeqCst) != now.turn {
                self.sent.store(0, Ordering::SeqCst);
            }
            self.sent.fetch_add(bytes.len() as u64, Ordering::SeqCst);
            self.asked_us.store(self.elapsed_us(), Ordering::SeqCst);
            if server.write_all(bytes).await.is_err() {
                return End::Reset;
            }
        }
    }

    /// Holds back until the next release; the end, if there is nothing left to carry after that.
    async fn hold(
        &self,
        mut held: Vec<u8>,
        releases: u64,
        client: &mut ReadHalf<'_>,
        server: &mut WriteHalf<'_>,
    ) -> Option<End> {
        self.shared.count(|counts| counts.held += held.len() as u64);
        let mut switch = self.shared.switch.subscribe();
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let gone = self.orphaned.load(Ordering::SeqCst);
            tokio::select! {
                released = switch.wait_for(|now| now.releases > releases) => {
                    if released.is_err() { return Some(End::Closed) }
                    break;
                }
                read = client.read(&mut buffer), if !gone && held.len() < HELD_BYTES => match read {
                    Ok(0) | Err(_) => self.orphaned.store(true, Ordering::SeqCst),
                    Ok(count) => {
                        held.extend_from_slice(buffer.get(..count).unwrap_or_default());
                        self.shared.count(|counts| counts.held += count as u64);
                    }
                }
            }
        }
        let delivered = server.write_all(&held).await;
        self.shared.count(|counts| {
            counts.held -= held.len() as u64;
            counts.released += if delivered.is_ok() { held.len() as u64 } else { 0 };
        });
        if delivered.is_err() {
            return Some(End::Reset);
        }
        if self.orphaned.load(Ordering::SeqCst) {
            // The store's answer is still read; its close ends the connection.
            std::future::pending::<()>().await;
        }
        None
    }

    async fn answers(&self, server: ReadHalf<'_>, client: WriteHalf<'_>) -> End {
        let (send, receive) = mpsc::channel(LATE_PARTS);
        let mut pass = pin!(self.pass(receive, client));
        tokio::select! {
            end = self.hear(server, send) => {
                if matches!(end, End::Closed) {
                    // What was said before the end is late, not lost.
                    pass.await;
                }
                end
            }
            () = &mut pass => End::Closed,
        }
    }

    /// Reads what the store says, and when it is to be passed on. What waits is stamped when it comes, so that an answer does not wait for
    /// the lateness of the one before it, too.
    async fn hear(&self, mut server: ReadHalf<'_>, late: mpsc::Sender<(Instant, Vec<u8>)>) -> End {
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let bytes = match server.read(&mut buffer).await {
                Ok(0) => return self.closed_by_server().await,
                Ok(count) => buffer.get(..count).unwrap_or_default(),
                Err(_) => return End::Reset,
            };
            let now = self.switch();
            if self.orphaned.load(Ordering::SeqCst) {
                self.shared.count(|counts| counts.unheard += bytes.len() as u64);
                continue;
            }
            if self.tainted.load(Ordering::SeqCst) || now.fault == Fault::Silence {
                self.swallow(bytes.len());
                continue;
            }
            let more = match now.fault {
                Fault::ResetReply { past } if self.has_sent_since(now.turn) > past => return End::Reset,
                Fault::Slower(times) => self.since_asked().saturating_mul(times.saturating_sub(1)),
                Fault::Delay(by) => by,
                Fault::None
                | Fault::Refuse
                | Fault::ResetRequest
                | Fault::ResetReply { .. }
                | Fault::Silence
                | Fault::Hold => Duration::ZERO,
            };
            if !more.is_zero() {
                self.shared.count(|counts| counts.delayed += bytes.len() as u64);
            }
            if late.send((Instant::now() + more, bytes.to_vec())).await.is_err() {
                return End::Reset;
            }
        }
    }

    /// Passes on what is due.
    async fn pass(&self, mut late: mpsc::Receiver<(Instant, Vec<u8>)>, mut client: WriteHalf<'_>) {
        while let Some((due, bytes)) = late.recv().await {
            sleep_until(due).await;
            if client.write_all(&bytes).await.is_err() {
                // The other direction notices, too, and may still have something to deliver.
                self.shared.count(|counts| counts.unheard += bytes.len() as u64);
            }
        }
    }

    /// How long the store took for the answer that now begins; nothing if it has begun before.
    fn since_asked(&self) -> Duration {
        let asked = self.asked_us.swap(ANSWERED, Ordering::SeqCst);
        if asked == ANSWERED { Duration::ZERO } else { Duration::from_micros(self.elapsed_us().saturating_sub(asked)) }
    }

    /// In a silent network nobody learns that the other side is gone.
    async fn closed_by_server(&self) -> End {
        if self.tainted.load(Ordering::SeqCst) || self.switch().fault == Fault::Silence {
            self.tainted.store(true, Ordering::SeqCst);
            std::future::pending::<()>().await;
        }
        End::Closed
    }

    fn swallow(&self, count: usize) {
        self.tainted.store(true, Ordering::SeqCst);
        self.shared.count(|counts| counts.swallowed += count as u64);
    }

    async fn late(&self, count: usize, by: Duration) {
        sleep(by).await;
        self.shared.count(|counts| counts.delayed += count as u64);
    }

    fn has_sent_since(&self, turn: u64) -> u64 {
        if self.turn.load(Ordering::SeqCst) == turn { self.sent.load(Ordering::SeqCst) } else { 0 }
    }

    fn elapsed_us(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}
