//! The daemon from its ready line to its end.

use std::io::Write;

use lockstep_engine::{Chain, Fatal};
use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;

use crate::Exit;
use crate::boot::Daemon;
use crate::serve::serve;

impl Daemon {
    /// Serves until `stop` is cancelled, or something fails.
    pub async fn run(self, stop: CancellationToken) -> Exit {
        let Self { engine, router, socket, setup } = self;
        let mut failure = engine.failure();
        let closing = CancellationToken::new();
        let serving = serve(&socket.listener, router, setup.connections, closing.clone());
        tokio::pin!(serving);
        let ready = format!(
            "lockstepd ready socket={} wal={} open={}",
            socket.path().display(),
            setup.wal_dir.display(),
            engine.open_ops()
        );
        announce(&ready);

        let stopping = async {
            stop.cancelled().await;
            notify(&[NotifyState::Stopping]);
            // Who asks meanwhile is served: with what is shown, and with refusals that say why.
            Box::pin(engine.stop(setup.grace)).await;
        };
        let exit = tokio::select! {
            served = &mut serving => match served {
                Err(error) => {
                    tracing::error!(error = %Chain(&error), "stopping: restart lockstepd, recovery will run");
                    Exit::Failed
                }
                // It ends only when it is told to.
                Ok(()) => Exit::Failed,
            },
            why = failure.wait_for(Option::is_some) => exit_of(why.ok().and_then(|why| why.clone()).as_deref()),
            () = stopping => exit_at_stop(engine.failure().borrow().as_deref()),
        };
        closing.cancel();
        if exit == Exit::Stopped
            && let Err(error) = serving.await
        {
            tracing::error!(error = %Chain(&error), "while stopping");
            return Exit::Failed;
        }
        exit
    }
}

/// The engine stopped by itself, and has said so in the log.
const fn exit_of(why: Option<&Fatal>) -> Exit {
    match why {
        Some(Fatal::Lost(_)) => Exit::Unreadable,
        Some(Fatal::Log(_) | Fatal::Task(_)) | None => Exit::Failed,
    }
}

/// It was asked to stop, and may have failed on the way.
const fn exit_at_stop(why: Option<&Fatal>) -> Exit {
    if why.is_none() { Exit::Stopped } else { exit_of(why) }
}

/// The ready line is part of the contract: it goes out whatever is logged, and how.
fn announce(line: &str) {
    if let Err(error) = writeln!(std::io::stderr(), "{line}") {
        tracing::debug!(%error, "nobody reads stderr");
    }
    notify(&[NotifyState::Ready, NotifyState::Status(line)]);
}

fn notify(states: &[NotifyState<'_>]) {
    // Without NOTIFY_SOCKET this does nothing.
    if let Err(error) = sd_notify::notify(false, states) {
        tracing::warn!(%error, "systemd could not be told");
    }
}
