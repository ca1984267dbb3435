//! SIGTERM and SIGINT: the first one asks for a stop, the second one does not wait for it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::Signals;
use tokio_util::sync::CancellationToken;

use crate::Exit;

/// A token that is cancelled by the first signal. The second one ends the process on the spot, with exit code 1: what is
/// in the log is safe, and the next start goes on from there.
///
/// # Errors
/// If the system takes no handler or no thread.
pub fn listen() -> io::Result<CancellationToken> {
    let asked = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        // The order matters: the flag is looked at before it is set.
        flag::register_conditional_shutdown(signal, i32::from(Exit::Failed.code()), Arc::clone(&asked))?;
        flag::register(signal, Arc::clone(&asked))?;
    }
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    let stop = CancellationToken::new();
    let told = stop.clone();
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            let name = if signal == SIGTERM { "SIGTERM" } else { "SIGINT" };
            tracing::info!(signal = name, "stopping; a second signal stops at once");
            told.cancel();
        }
    })?;
    Ok(stop)
}
