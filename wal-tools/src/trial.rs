//! Whether sled opens a log whose records can all be read. sled keeps notes of its own among them, which the raw reader has no use for, and
//! refuses a log, or loses records, where they are damaged. Opening writes, so it is tried on a private copy.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use clap::Args;
use lockstep_model::Lsn;
use lockstep_wal::repair::{self, sled_opens};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};
use uuid::Uuid;

use crate::directory::Directory;
use crate::failure::Failure;
use crate::finding::{Finding, Severity};
use crate::holder::Holder;
use crate::output::Output;
use crate::text::bytes;

/// Where it is tried.
#[derive(Debug, Args)]
pub(crate) struct Trial {
    /// Where sled is tried on a private copy of the log [default: the system's temporary directory]
    #[arg(long, value_name = "DIR")]
    copy_to: Option<PathBuf>,
}

impl Trial {
    /// Tries it on a log that nobody has open and that looks whole, and adds what came of it to its findings.
    ///
    /// # Errors
    /// See [`Trial::refused`].
    pub(crate) fn judge(&self, log: &mut Directory, output: &Output) -> Result<(), Failure> {
        let is_told =
            |finding: &Finding| finding.severity == Severity::Damage || matches!(finding.code, "held" | "unborn");
        if log.findings.iter().any(is_told) {
            return Ok(());
        }
        let durable = log.raw.high_water().map_or(Lsn(0), |mark| mark.durable);
        if let Some(refused) = self.refused(durable, &log.path, output)? {
            log.findings.push(Finding::unopenable(&log.path, &refused));
            log.settle();
        }
        Ok(())
    }

    /// Why sled, or the check of what it gives back, refuses the log in `dir`, which was durable so far. What cannot be tried is said.
    ///
    /// # Errors
    /// There is no place at `--copy-to`.
    pub(crate) fn refused(&self, durable: Lsn, dir: &Path, output: &Output) -> Result<Option<String>, Failure> {
        let parent = self.copy_to.clone().unwrap_or_else(std::env::temp_dir);
        let scratch = match Scratch::below(&parent) {
            Ok(scratch) => scratch,
            Err(source) if self.copy_to.is_some() => return Err(Failure::NoPlaceForCopy { dir: parent, source }),
            Err(error) => {
                output.warning(untried(&format!("cannot create a directory in {}: {error}", parent.display())));
                return Ok(None);
            }
        };
        // sled panics on some damage: that is an answer, and no words for an operator.
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let trial = sled_opens(durable, dir, &scratch.dir);
        std::panic::set_hook(loud);
        let why = match trial {
            repair::Trial::Opens => return Ok(None),
            repair::Trial::Refused(why) => match Holder::of(dir) {
                // What was copied while somebody wrote says nothing.
                Some(holder) => format!("{} has opened the log meanwhile", holder.name()),
                None => return Ok(Some(why)),
            },
            repair::Trial::NoRoom { needed, free } => {
                format!("the copy takes {}, and {} are free", bytes(needed), bytes(free))
            }
            repair::Trial::NotTried(why) => why,
        };
        output.warning(untried(&why));
        Ok(None)
    }
}

fn untried(why: &str) -> String {
    format!(
        "every record is whole; whether sled opens the log was not tried: {why} (--copy-to DIR). If lockstepd refuses it all the same: \
         repair --rebuild --write"
    )
}

/// A directory of our own, which nobody else may look into; gone when this is dropped, or a signal ends the process.
struct Scratch {
    dir: PathBuf,
    signals: Handle,
}

impl Scratch {
    fn below(parent: &Path) -> io::Result<Self> {
        let dir = parent.join(format!("wal-tools-{}", Uuid::new_v4()));
        let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
        let handle = signals.handle();
        DirBuilder::new().mode(0o700).create(&dir)?;
        let copy = dir.clone();
        std::thread::spawn(move || {
            if let Some(signal) = signals.forever().next() {
                remove(&copy);
                // Ends the process as the signal would have.
                drop(signal_hook::low_level::emulate_default_handler(signal));
            }
        });
        Ok(Self { dir, signals: handle })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.signals.close();
        remove(&self.dir);
    }
}

/// When a signal came the copy is still being made or opened, so more may come while it goes. What stays in a temporary directory harms
/// nobody.
fn remove(dir: &Path) {
    for _ in 0..100 {
        match fs::remove_dir_all(dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {}
            Ok(()) | Err(_) => return,
        }
    }
}
