//! The daemon from its ready line to its end.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use lockstep_engine::{Chain, Engine, Fatal};
use tokio_util::sync::CancellationToken;

use crate::Exit;
use crate::boot::Daemon;
use crate::bounds::Room;
use crate::notify::{Manager, Word};
use crate::preflight;
use crate::reload::Reloader;
use crate::routes::App;
use crate::serve::{Panicked, serve};
use crate::service::attend;
use crate::signals::Asked;

/// Those who read metrics are few.
const METRICS_CONNECTIONS: usize = 64;

/// Who the daemon listens to and talks to beside its clients.
#[derive(Debug)]
pub struct Surroundings {
    /// What signals ask for.
    pub asked: Asked,
    /// The service manager.
    pub manager: Manager,
    /// How long the service manager waits for a sign of life.
    pub watchdog: Option<Duration>,
    /// The configuration, to be read again.
    pub reloader: Reloader,
}

impl Daemon {
    /// Serves until `stop` is asked for, or something fails.
    pub async fn run(self, around: Surroundings) -> Exit {
        let Self { parts, app, router, socket, metrics, setup } = self;
        let Surroundings { asked, manager, watchdog, reloader } = around;
        let engine = app.engine.clone();
        let mut failure = engine.failure();
        let closing = CancellationToken::new();
        let serving = async {
            let operations = serve(&socket.listener, router, Arc::clone(&app.room), closing.clone());
            let Some((listener, router)) = metrics else { return operations.await };
            let observers = serve(&listener, router, Room::new(METRICS_CONNECTIONS), closing.clone());
            tokio::try_join!(operations, observers).map(drop)
        };
        tokio::pin!(serving);
        let ready = format!(
            "lockstepd ready socket={} wal={} open={}",
            socket.path().display(),
            setup.wal_dir.display(),
            engine.open_ops()
        );
        announce(&ready, &manager);

        let expected = setup.expected();
        let beside = async {
            tokio::join!(
                attend(&engine, &manager, watchdog, &closing),
                reload(&app, &manager, &asked, reloader),
                preflight::log_surreal(parts.documents.as_ref(), &expected, &closing),
                preflight::log_qdrant(parts.vectors.as_ref(), &expected, &closing),
            )
        };
        let stopping = async {
            asked.stop.cancelled().await;
            manager.tell(&[Word::Stopping]);
            // Who asks meanwhile is served: with what is shown, and with refusals that say why.
            Box::pin(engine.stop(setup.grace)).await;
        };
        let exit = tokio::select! {
            served = &mut serving => not_served(served),
            why = failure.wait_for(Option::is_some) => exit_of(why.ok().and_then(|why| why.clone()).as_deref()),
            () = stopping => exit_at_stop(&engine),
            // Both go on for as long as the daemon does.
            _ = Box::pin(beside) => Exit::Failed,
        };
        closing.cancel();
        if exit != Exit::Stopped {
            return exit;
        }
        if let Err(error) = serving.await {
            tracing::error!(error = %Chain(&error), "while stopping");
            return Exit::Failed;
        }
        exit
    }
}

/// Whatever SIGHUP asks for.
async fn reload(app: &App, manager: &Manager, asked: &Asked, mut reloader: Reloader) {
    loop {
        asked.reload.notified().await;
        manager.tell(&[Word::Reloading]);
        // Files are read: off the runtime's thread, as far as others are concerned.
        match tokio::task::block_in_place(|| reloader.read(std::env::vars_os())) {
            Ok((setup, changes)) => {
                app.reload(&setup);
                if changes.live.is_empty() {
                    tracing::info!("the configuration was read again: nothing changes while the daemon runs");
                } else {
                    tracing::info!(changed = changes.live.join(" "), "the configuration was read again");
                }
                if !changes.restart.is_empty() {
                    let keys = changes.restart.join(" ");
                    tracing::warn!(keys, "these keys have changed, too, and hold from the next start on");
                }
            }
            Err(error) => {
                tracing::error!(error = %Chain(&error), "the configuration is wrong: everything stays as it was");
            }
        }
        manager.tell(&[Word::Ready]);
    }
}

/// Serving ends only when it is told to.
fn not_served(served: Result<(), Panicked>) -> Exit {
    if let Err(error) = served {
        tracing::error!(error = %Chain(&error), "stopping: restart lockstepd, recovery will run");
    }
    Exit::Failed
}

/// The engine stopped by itself, and has said so in the log.
const fn exit_of(why: Option<&Fatal>) -> Exit {
    match why {
        Some(Fatal::Lost(_)) => Exit::Unreadable,
        Some(Fatal::Log(_) | Fatal::Task(_) | Fatal::Fenced(_)) | None => Exit::Failed,
    }
}

/// It was asked to stop, and may have failed on the way.
fn exit_at_stop(engine: &Engine) -> Exit {
    let why = engine.failure().borrow().clone();
    if why.is_none() { Exit::Stopped } else { exit_of(why.as_deref()) }
}

/// The ready line is part of the contract: it goes out whatever is logged, and how.
fn announce(line: &str, manager: &Manager) {
    if let Err(error) = writeln!(std::io::stderr(), "{line}") {
        tracing::debug!(%error, "nobody reads stderr");
    }
    manager.tell(&[Word::Ready, Word::Status(line)]);
}
