//! SIGTERM and SIGINT: the first one asks for a stop, the second one does not wait for it. SIGHUP: read the configuration again.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::Signals;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::Exit;

/// What signals ask for.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// Cancelled by the first SIGTERM or SIGINT.
    pub stop: CancellationToken,
    /// Notified by SIGHUP. Several that come while one is heeded count as one.
    pub reload: Arc<Notify>,
}

/// Listens. A second SIGTERM or SIGINT ends the process on the spot, with exit code 1: what is in the log is safe, and the
/// next start goes on from there.
///
/// # Errors
/// If the system takes no handler or no thread.
pub fn listen() -> io::Result<Asked> {
    let stopping = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        // The order matters: the flag is looked at before it is set.
        flag::register_conditional_shutdown(signal, i32::from(Exit::Failed.code()), Arc::clone(&stopping))?;
        flag::register(signal, Arc::clone(&stopping))?;
    }
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    let asked = Asked::default();
    let Asked { stop, reload } = asked.clone();
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            if signal == SIGHUP {
                reload.notify_one();
                continue;
            }
            let name = if signal == SIGTERM { "SIGTERM" } else { "SIGINT" };
            tracing::info!(signal = name, "stopping; a second signal stops at once");
            stop.cancel();
        }
    })?;
    Ok(asked)
}
