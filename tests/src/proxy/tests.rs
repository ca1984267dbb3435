//! Each fault as a client and a store see it.

use std::io::ErrorKind;
use std::time::Instant;

use anyhow::ensure;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::wait::run;

/// A store that answers each byte with itself, and tells what it has been sent on all its connections.
struct Echo {
    address: SocketAddr,
    heard: watch::Receiver<Vec<u8>>,
    _task: JoinHandle<()>,
}

async fn echo() -> Result<Echo> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let (hears, heard) = watch::channel(Vec::new());
    let task = tokio::spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let hears = hears.clone();
            connections.spawn(async move {
                let mut buffer = [0; 1024];
                while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                    let bytes = &buffer[..count];
                    hears.send_modify(|heard| heard.extend_from_slice(bytes));
                    if stream.write_all(bytes).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    Ok(Echo { address, heard, _task: task })
}

async fn ask(stream: &mut TcpStream, text: &str) -> std::io::Result<String> {
    stream.write_all(text.as_bytes()).await?;
    let mut answer = vec![0; text.len()];
    stream.read_exact(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

struct Net {
    echo: Echo,
    proxy: Proxy,
}

impl Net {
    async fn new() -> Result<Self> {
        let echo = echo().await?;
        let proxy = Proxy::start(echo.address).await?;
        Ok(Self { echo, proxy })
    }

    async fn connect(&self) -> std::io::Result<TcpStream> {
        TcpStream::connect(self.proxy.address()).await
    }

    fn heard(&self) -> String {
        String::from_utf8_lossy(&self.echo.heard.borrow()).into_owned()
    }

    async fn until_heard(&mut self, text: &str) -> Result<()> {
        let heard = self.echo.heard.wait_for(|heard| heard == text.as_bytes());
        tokio::time::timeout(PATIENCE, heard).await.context("it never heard that")??;
        Ok(())
    }
}

fn kind(result: std::io::Result<String>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

#[test]
fn without_a_fault_everything_is_carried() -> Result<()> {
    run(async {
        let net = Net::new().await?;
        let mut stream = net.connect().await?;
        let long = "x".repeat(1 << 20);
        let (mut read, mut write) = stream.split();
        let sent = async { write.write_all(long.as_bytes()).await };
        let mut answer = vec![0; long.len()];
        let (sent, read) = tokio::join!(sent, read.read_exact(&mut answer));
        sent?;
        read?;
        ensure!(answer == long.as_bytes() && net.heard() == long);
        ensure!(net.proxy.counts().resets == 0);
        Ok(())
    })
}

#[test]
fn refused_means_refused_and_the_port_comes_back() -> Result<()> {
    run(async {
        let net = Net::new().await?;
        let mut open = net.connect().await?;
        ensure!(ask(&mut open, "a").await? == "a");
        for _ in 0..3 {
            net.proxy.set(Fault::Refuse).await?;
            ensure!(net.connect().await.err().map(|error| error.kind()) == Some(ErrorKind::ConnectionRefused));
            net.proxy.set(Fault::None).await?;
            ensure!(ask(&mut net.connect().await?, "b").await? == "b");
        }
        ensure!(kind(ask(&mut open, "c").await) == Some(ErrorKind::ConnectionReset), "the old one was not cut");
        ensure!(net.heard() == "abbb", "{}", net.heard());
        Ok(())
    })
}

#[test]
fn a_reset_before_the_request_lets_nothing_through() -> Result<()> {
    run(async {
        let net = Net::new().await?;
        let mut open = net.connect().await?;
        ensure!(ask(&mut open, "a").await? == "a");
        net.proxy.set(Fault::ResetRequest).await?;
        ensure!(kind(ask(&mut open, "b").await) == Some(ErrorKind::ConnectionReset));
        ensure!(kind(ask(&mut net.connect().await?, "c").await) == Some(ErrorKind::ConnectionReset));
        net.proxy.set(Fault::None).await?;
        ensure!(ask(&mut net.connect().await?, "d").await? == "d");
        ensure!(net.heard() == "ad" && net.proxy.counts().resets == 2, "{} {:?}", net.heard(), net.proxy.counts());
        Ok(())
    })
}

#[test]
fn a_reset_before_the_reply_comes_after_the_request() -> Result<()> {
    run(async {
        let mut net = Net::new().await?;
        let mut open = net.connect().await?;
        ensure!(ask(&mut open, "a").await? == "a");
        net.proxy.set(Fault::ResetReply { past: 0 }).await?;
        ensure!(kind(ask(&mut open, "b").await) == Some(ErrorKind::ConnectionReset));
        net.until_heard("ab").await?;
        net.proxy.set(Fault::ResetReply { past: 2 }).await?;
        let mut new = net.connect().await?;
        ensure!(ask(&mut new, "cd").await? == "cd", "two bytes may pass");
        ensure!(kind(ask(&mut new, "e").await) == Some(ErrorKind::ConnectionReset));
        net.until_heard("abcde").await
    })
}

#[test]
fn silence_stays_on_its_connections() -> Result<()> {
    run(async {
        let net = Net::new().await?;
        let mut open = net.connect().await?;
        ensure!(ask(&mut open, "a").await? == "a");
        net.proxy.set(Fault::Silence).await?;
        open.write_all(b"lost").await?;
        let mut new = net.connect().await?;
        new.write_all(b"lost, too").await?;
        net.proxy.until("both", |counts| counts.swallowed == 13).await?;
        net.proxy.set(Fault::None).await?;
        open.write_all(b"still lost").await?;
        net.proxy.until("the third", |counts| counts.swallowed == 23).await?;
        ensure!(ask(&mut net.connect().await?, "b").await? == "b");
        ensure!(net.heard() == "ab", "{}", net.heard());
        Ok(())
    })
}

#[test]
fn what_is_held_back_arrives_after_its_client_is_gone() -> Result<()> {
    run(async {
        let mut net = Net::new().await?;
        let mut dying = net.connect().await?;
        ensure!(ask(&mut dying, "a").await? == "a");
        net.proxy.set(Fault::Hold).await?;
        dying.write_all(b"late").await?;
        net.proxy.until("the late bytes", |counts| counts.held == 4).await?;
        dying.set_zero_linger()?;
        drop(dying);
        net.proxy.set(Fault::None).await?;
        ensure!(ask(&mut net.connect().await?, "b").await? == "b", "others are carried meanwhile");
        ensure!(net.heard() == "ab", "{}", net.heard());
        net.proxy.release();
        net.until_heard("ablate").await?;
        let counts = net.proxy.until("the answer to nobody", |counts| counts.unheard == 4).await?;
        ensure!((counts.held, counts.released) == (0, 4), "{counts:?}");
        Ok(())
    })
}

#[test]
fn what_is_held_back_for_a_living_client_is_only_late() -> Result<()> {
    run(async {
        let net = Net::new().await?;
        let mut stream = net.connect().await?;
        net.proxy.set(Fault::Hold).await?;
        stream.write_all(b"a").await?;
        net.proxy.until("the byte", |counts| counts.held == 1).await?;
        net.proxy.set(Fault::None).await?;
        net.proxy.release();
        let mut answer = [0];
        stream.read_exact(&mut answer).await?;
        ensure!(ask(&mut stream, "b").await? == "b" && answer == *b"a");
        Ok(())
    })
}

#[test]
fn a_delay_delays() -> Result<()> {
    run(async {
        let net = Net::new().await?;
        let mut stream = net.connect().await?;
        net.proxy.set(Fault::Delay(Duration::from_millis(40))).await?;
        let begun = Instant::now();
        ensure!(ask(&mut stream, "a").await? == "a");
        ensure!(begun.elapsed() >= Duration::from_millis(80), "{:?}", begun.elapsed());
        net.proxy.set(Fault::Slower(10)).await?;
        // An answer in many parts waits once.
        let long = "b".repeat(1 << 16);
        let (mut read, mut write) = stream.split();
        let mut answer = vec![0; long.len()];
        let (sent, read) = tokio::join!(write.write_all(long.as_bytes()), read.read_exact(&mut answer));
        sent?;
        read?;
        ensure!(answer == long.as_bytes() && net.proxy.counts().delayed > 2, "{:?}", net.proxy.counts());
        Ok(())
    })
}

#[test]
fn a_cut_resets_what_is_open_and_nothing_else() -> Result<()> {
    run(async {
        let net = Net::new().await?;
        let mut open = net.connect().await?;
        ensure!(ask(&mut open, "a").await? == "a");
        net.proxy.cut();
        net.proxy.until("the cut", |counts| counts.resets == 1).await?;
        ensure!(ask(&mut open, "b").await.is_err());
        ensure!(ask(&mut net.connect().await?, "c").await? == "c");
        Ok(())
    })
}

#[test]
fn without_a_store_clients_are_reset() -> Result<()> {
    run(async {
        let net = Net::new().await?;
        let nobody = TcpListener::bind(("127.0.0.1", 0)).await?.local_addr()?;
        net.proxy.retarget(nobody);
        let mut stream = net.connect().await?;
        ensure!(ask(&mut stream, "a").await.is_err());
        net.proxy.retarget(net.echo.address);
        ensure!(ask(&mut net.connect().await?, "b").await? == "b");
        Ok(())
    })
}
