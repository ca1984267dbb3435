//! What the service manager sees while the daemon runs: a status line, and that work moves.
//!
//! The watchdog's rule. `WATCHDOG=1` says that an acknowledgement could be given now. It is sent if nothing is open and nothing
//! waits to be written (then there is nothing to move, and an idle daemon need not wake the disk), or else when a pulse has
//! come back: a group of nothing that the log thread made durable as it does any other, and that the task which tells callers
//! has then met in its queue. A log thread that hangs, a disk that does not answer, a task that is stuck, a runtime without a
//! free thread: none of them lets the pulse through, nothing is sent, and the manager restarts the daemon. A store that is down
//! or slow does let it through: a restart would not help, and `/readyz` and the metrics say so. Time alone never feeds it.

use std::future::Future;
use std::time::Duration;

use lockstep_api::StoreState;
use lockstep_engine::{Engine, Status};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::notify::{Manager, Word};
use crate::views;

/// The status line changes at most so often: counting costs, and nobody reads faster.
const STATUS_EVERY: Duration = Duration::from_secs(5);

/// Tells the manager about the engine until `closing`.
pub(crate) async fn attend(
    engine: &Engine,
    manager: &Manager,
    watchdog: Option<Duration>,
    closing: &CancellationToken,
) {
    if !manager.listens() {
        return closing.cancelled().await;
    }
    let feeding = async {
        match watchdog {
            Some(limit) => feed(limit, || alive(engine), || manager.tell(&[Word::Alive])).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = closing.cancelled() => {}
        () = feeding => closing.cancelled().await,
        () = show(|| line(&engine.status()), |line| manager.tell(&[Word::Status(line)])) => {}
    }
}

/// Feeds the watchdog whenever a beat has come back, three times in the time that it allows. Ends when a beat fails: the engine
/// has stopped by itself then, and the daemon is on its way out.
async fn feed<F: Future<Output = bool>>(limit: Duration, beat: impl Fn() -> F, tell: impl Fn()) {
    let every = limit / 3;
    loop {
        let begun = Instant::now();
        if !beat().await {
            return;
        }
        tell();
        sleep(every.saturating_sub(begun.elapsed())).await;
    }
}

/// Comes back when an acknowledgement could be given; `false`: never again.
async fn alive(engine: &Engine) -> bool {
    if engine.is_idle() {
        return true;
    }
    engine.pulse().await
}

/// Tells the line now and whenever it has changed.
async fn show(line: impl Fn() -> String, tell: impl Fn(&str)) {
    let mut last = String::new();
    loop {
        let now = line();
        if now != last {
            tell(&now);
            last = now;
        }
        sleep(STATUS_EVERY).await;
    }
}

/// `12 open, 0 parked; surreal up, qdrant down; recovering`
fn line(status: &Status) -> String {
    let state = |store| -> StoreState { views::store_state(store) };
    let (surreal, qdrant) = (state(status.surreal.state), state(status.qdrant.state));
    let mut line =
        format!("{} open, {} parked; surreal {surreal}, qdrant {qdrant}", status.wal.open_ops, status.wal.parked);
    if !status.recovery.done {
        line.push_str("; recovering");
    }
    if !status.paused_tables.is_empty() {
        line.push_str(&format!("; {} tables paused", status.paused_tables.len()));
    }
    if status.audit_needed.is_some() {
        line.push_str("; audit needed");
    }
    line
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::future::{pending, ready};

    use tokio::time::timeout;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn the_watchdog_is_fed_by_beats_and_not_by_time() {
        let fed = Cell::new(0);
        let tell = || fed.set(fed.get() + 1);
        assert!(timeout(LIMIT * 10, feed(LIMIT, pending::<bool>, tell)).await.is_err());
        assert_eq!(fed.get(), 0);
        assert!(timeout(LIMIT, feed(LIMIT, || ready(true), tell)).await.is_err());
        assert!((3..=4).contains(&fed.get()), "{}", fed.get());
        fed.set(0);
        feed(LIMIT, || ready(false), tell).await;
        assert_eq!(fed.get(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_status_line_is_told_when_it_changes_and_not_often() {
        let begun = Instant::now();
        let told = RefCell::new(Vec::new());
        let line = || if begun.elapsed() < Duration::from_secs(60) { "a".to_owned() } else { "b".to_owned() };
        let tell = |line: &str| told.borrow_mut().push(line.to_owned());
        assert!(timeout(Duration::from_secs(120), show(line, tell)).await.is_err());
        assert_eq!(told.into_inner(), ["a", "b"]);
    }
}
