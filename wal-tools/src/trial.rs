//! Whether sled opens a log whose records can all be read. sled keeps notes of its own among them, which the raw reader has no use for, and
//! refuses a log, or loses records, where they are damaged. Opening writes, so it is tried on a private copy.

use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use lockstep_model::Lsn;
use lockstep_wal::LogError;
use lockstep_wal::repair::{RepairError, sled_opens};
use uuid::Uuid;

use crate::directory::Directory;
use crate::failure::Failure;
use crate::finding::{Finding, Severity};
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
    /// If the log cannot be copied for another reason than a lack of room: then it is not known to be clean.
    pub(crate) fn judge(&self, log: &mut Directory, output: &Output) -> Result<(), Failure> {
        let is_told =
            |finding: &Finding| finding.severity == Severity::Damage || matches!(finding.code, "held" | "unborn");
        if log.findings.iter().any(is_told) {
            return Ok(());
        }
        let durable = log.raw.high_water().map_or(Lsn(0), |mark| mark.durable);
        match self.open(durable, &log.path) {
            Ok(Ok(())) => {}
            Ok(Err(refused)) => {
                log.findings.push(Finding::unopenable(&log.path, &refused));
                log.settle();
            }
            Err(RepairError::NoRoom { needed, free, .. }) => output.warning(untried(needed, free)),
            Err(error) => return Err(Failure::Repair(error)),
        }
        Ok(())
    }

    /// Whether sled, and the check of what it gives back, take the log in `dir`, which was durable so far. sled panics on some damage: that is
    /// an answer, and no words for an operator.
    pub(crate) fn open(&self, durable: Lsn, dir: &Path) -> Result<Result<(), String>, RepairError> {
        let parent = self.copy_to.clone().unwrap_or_else(std::env::temp_dir);
        let scratch = Scratch::below(&parent).map_err(|source| {
            RepairError::Write(LogError::Io { doing: "create a directory in", path: parent, source })
        })?;
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let opened = sled_opens(durable, dir, &scratch.0);
        std::panic::set_hook(loud);
        opened
    }
}

/// What to say when there was no room for the copy.
pub(crate) fn untried(needed: u64, free: u64) -> String {
    format!(
        "every record is whole; whether sled opens the log was not tried: the copy takes {}, and {} are free (--copy-to \
         DIR). If lockstepd refuses it all the same: repair --rebuild --write",
        bytes(needed),
        bytes(free)
    )
}

/// A directory of our own, gone when this is dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn below(parent: &Path) -> io::Result<Self> {
        let dir = parent.join(format!("wal-tools-{}", Uuid::new_v4()));
        std::fs::create_dir(&dir)?;
        Ok(Self(dir))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A copy that stays in a temporary directory harms nobody.
        drop(std::fs::remove_dir_all(&self.0));
    }
}
