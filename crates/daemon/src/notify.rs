//! Words to the service manager, as in sd_notify(3): ready, reloading, stopping, status, watchdog.
//!
//! By hand, because it is one datagram, and because a test can then give it a socket of its own without touching the
//! environment of the whole process. Telling never blocks and never fails the daemon: a manager that does not listen is
//! warned of once.

use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The way to the service manager, if there is one. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Manager {
    socket: Option<Arc<UnixDatagram>>,
    complained: Arc<AtomicBool>,
}

/// What the service manager is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word<'a> {
    /// Operations are taken; or a reload is over.
    Ready,
    /// The configuration is read again, until [`Word::Ready`].
    Reloading,
    /// The daemon is on its way out.
    Stopping,
    /// One line for `systemctl status`.
    Status(&'a str),
    /// Work moves.
    Alive,
}

impl Manager {
    /// The one that `NOTIFY_SOCKET` names; without it, or on a socket that is not there, nobody is told anything.
    #[must_use]
    pub fn from_variable(variable: Option<&OsStr>) -> Self {
        let Some(name) = variable.filter(|name| !name.is_empty()) else { return Self::default() };
        match connect(name) {
            Ok(socket) => Self { socket: Some(Arc::new(socket)), complained: Arc::default() },
            Err(error) => {
                tracing::warn!(%error, "NOTIFY_SOCKET names no socket that takes words: the service manager is told nothing");
                Self::default()
            }
        }
    }

    /// Whether anybody listens.
    #[must_use]
    pub const fn listens(&self) -> bool {
        self.socket.is_some()
    }

    /// Tells.
    pub fn tell(&self, words: &[Word<'_>]) {
        let Some(socket) = &self.socket else { return };
        let mut text = String::new();
        for word in words {
            word.write(&mut text);
        }
        match socket.send(text.as_bytes()) {
            Ok(_) => self.complained.store(false, Ordering::Relaxed),
            Err(error) if !self.complained.swap(true, Ordering::Relaxed) => {
                tracing::warn!(%error, "the service manager could not be told");
            }
            Err(_) => {}
        }
    }
}

impl Word<'_> {
    fn write(&self, text: &mut String) {
        match self {
            Self::Ready => text.push_str("READY=1\n"),
            Self::Reloading => {
                text.push_str("RELOADING=1\n");
                // From systemd 253 on a reload without it fails.
                let now = clock_gettime(ClockId::Monotonic);
                let micros = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1000;
                text.push_str(&format!("MONOTONIC_USEC={micros}\n"));
            }
            Self::Stopping => text.push_str("STOPPING=1\n"),
            Self::Status(line) => {
                text.push_str("STATUS=");
                text.extend(line.chars().map(|c| if c == '\n' { ' ' } else { c }));
                text.push('\n');
            }
            Self::Alive => text.push_str("WATCHDOG=1\n"),
        }
    }
}

fn connect(name: &OsStr) -> std::io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    match name.as_bytes() {
        [b'@', hidden @ ..] => socket.connect_addr(&SocketAddr::from_abstract_name(hidden)?)?,
        _ => socket.connect(name)?,
    }
    Ok(socket)
}

/// How often the service manager wants to hear [`Word::Alive`], from `WATCHDOG_USEC` and `WATCHDOG_PID`; none if it does not.
#[must_use]
pub fn watchdog(usec: Option<&str>, pid: Option<&str>) -> Option<Duration> {
    let ours = pid.is_none_or(|pid| pid.parse() == Ok(std::process::id()));
    let usec = usec?.parse::<u64>().ok().filter(|usec| *usec > 0)?;
    ours.then(|| Duration::from_micros(usec))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_sd_notify() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("n");
        let heard = UnixDatagram::bind(&path).unwrap();
        let manager = Manager::from_variable(Some(path.as_os_str()));
        assert!(manager.listens());
        let mut buffer = [0; 500];
        let mut next = |words: &[Word<'_>]| {
            manager.tell(words);
            let length = heard.recv(&mut buffer).unwrap();
            String::from_utf8(buffer[..length].to_vec()).unwrap()
        };
        assert_eq!(next(&[Word::Ready, Word::Status("a\nb")]), "READY=1\nSTATUS=a b\n");
        assert_eq!(next(&[Word::Stopping]), "STOPPING=1\n");
        assert_eq!(next(&[Word::Alive]), "WATCHDOG=1\n");
        let reloading = next(&[Word::Reloading]);
        let micros = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap().trim();
        assert!(micros.parse::<u64>().unwrap() > 0, "{reloading}");
    }

    #[test]
    fn an_abstract_socket_and_none() {
        let name = format!("@lockstep-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name.as_bytes()[1..]).unwrap();
        let heard = UnixDatagram::bind_addr(&address).unwrap();
        Manager::from_variable(Some(OsStr::new(&name))).tell(&[Word::Ready]);
        let mut buffer = [0; 20];
        assert_eq!(heard.recv(&mut buffer).unwrap(), 8);
        assert!(!Manager::from_variable(None).listens());
        assert!(!Manager::from_variable(Some(OsStr::new("/nowhere/n"))).listens());
    }

    #[test]
    fn the_watchdog_is_ours_or_not() {
        let me = std::process::id().to_string();
        assert_eq!(watchdog(Some("60000000"), Some(&me)), Some(Duration::from_secs(60)));
        assert_eq!(watchdog(Some("60000000"), None), Some(Duration::from_secs(60)));
        assert_eq!(watchdog(Some("60000000"), Some("1")), None);
        assert_eq!(watchdog(Some("0"), None), None);
        assert_eq!(watchdog(None, None), None);
    }
}
