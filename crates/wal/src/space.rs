//! Room on the disk: a floor that has to stay free, and a ballast to give up when it does not.
//!
//! sled needs space to free space. So new work is refused while there is still room, and a file of `reserve_bytes` holds
//! room that is given back when the floor is reached, for marks, images and removals to go on with. It comes back when
//! there is room for it twice over. On a disk too small for all of it, the ballast takes half of what is above the floor.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::fs::{FallocateFlags, fallocate, statvfs};

use crate::disk;
use crate::error::LogError;
use crate::layout::Layout;
use crate::log::Space;
use crate::sync::Instant;

/// Says how many bytes are free on the file system of a directory.
pub type SpaceProbe = Arc<dyn Fn(&Path) -> io::Result<u64> + Send + Sync>;

/// How long an answer of the probe is good for.
const PROBE_EVERY: Duration = Duration::from_millis(200);

/// What is free to an unprivileged process, as `statvfs` says.
pub(crate) fn free_bytes(dir: &Path) -> io::Result<u64> {
    let found = statvfs(dir)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

/// Watches the room on the log's file system and keeps the ballast.
pub(crate) struct SpaceKeeper {
    dir: PathBuf,
    ballast: PathBuf,
    floor: u64,
    reserve: u64,
    probe: SpaceProbe,
    state: Mutex<State>,
}

struct State {
    seen: Option<Instant>,
    free: Option<u64>,
    /// Bytes of ballast on disk.
    ballast: u64,
    /// How large the ballast is to be when there is room again.
    target: u64,
    space: Space,
}

/// What the keeper saw last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) free: Option<u64>,
    pub(crate) ballast: u64,
    pub(crate) space: Space,
}

impl SpaceKeeper {
    /// Begins to watch. If there is less than the floor, the ballast is given up, before sled needs the room.
    pub(crate) fn start(layout: &Layout, floor: u64, reserve: u64, probe: SpaceProbe) -> Self {
        let ballast = layout.ballast();
        let found = ballast.metadata().map_or(0, |meta| meta.len());
        let keeper = Self {
            dir: layout.dir().to_path_buf(),
            ballast,
            floor,
            reserve,
            probe,
            state: Mutex::new(State { seen: None, free: None, ballast: found, target: found, space: Space::Ample }),
        };
        keeper.look(true);
        keeper
    }

    /// Makes the ballast for the first time in this process, as large as the disk allows.
    pub(crate) fn settle(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let free = state.free.unwrap_or(u64::MAX).saturating_add(state.ballast);
        let spare = free.saturating_sub(self.floor);
        state.target = if spare / 2 >= self.reserve { self.reserve } else { spare / 2 };
        if state.target < self.reserve {
            tracing::warn!(
                dir = %self.dir.display(), free, floor = self.floor, reserve = self.reserve, ballast = state.target,
                "the disk is too small for the whole ballast"
            );
        }
        // Without room for any, the whole is waited for.
        if state.target == 0 {
            state.target = self.reserve;
        } else if state.ballast != state.target && state.free.is_none_or(|free| free >= self.floor) {
            self.grow(&mut state);
        }
        self.judge(&mut state);
    }

    /// What was seen last; looks again if that was a while ago.
    pub(crate) fn room(&self) -> Room {
        self.look(false)
    }

    /// Looks at the disk, now if `now` says so, and gives up or restores the ballast.
    fn look(&self, now: bool) -> Room {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let stale = state.seen.is_none_or(|seen| seen.elapsed() >= PROBE_EVERY);
        if stale || now {
            state.seen = Some(Instant::now());
            state.free = (self.probe)(&self.dir).ok();
            self.balance(&mut state);
        }
        Room { free: state.free, ballast: state.ballast, space: state.space }
    }

    /// Looks at once: a write is about to happen, and the disk may have been filled since the last look.
    pub(crate) fn look_now(&self) -> Room {
        self.look(true)
    }

    fn balance(&self, state: &mut State) {
        // Nothing known is no reason to refuse work: the write itself will tell.
        let Some(free) = state.free else { return };
        if free < self.floor && state.ballast > 0 {
            match disk::remove_if_there(&self.ballast) {
                Ok(_) => {
                    tracing::warn!(dir = %self.dir.display(), free, floor = self.floor, "space is short: ballast given up");
                    state.ballast = 0;
                    state.free = (self.probe)(&self.dir).ok();
                }
                Err(error) => tracing::error!(dir = %self.dir.display(), %error, "the ballast cannot be given up"),
            }
        } else if state.space != Space::Ample
            && state.ballast == 0
            && free > self.floor.saturating_add(state.target.saturating_mul(2))
        {
            self.grow(state);
        }
        self.judge(state);
    }

    fn judge(&self, state: &mut State) {
        let free = state.free.unwrap_or(u64::MAX);
        let has_ballast = state.ballast > 0 || self.reserve == 0;
        state.space = match (free >= self.floor, has_ballast) {
            (true, true) => Space::Ample,
            (true, false) | (false, true) => Space::Reserve,
            // What the ballast gave is still there, or it is not.
            (false, false) if free >= self.floor / 4 => Space::Reserve,
            (false, false) => Space::Full,
        };
    }

    fn grow(&self, state: &mut State) {
        match fill(&self.ballast, state.target) {
            Ok(()) => {
                state.ballast = state.target;
                state.free = (self.probe)(&self.dir).ok();
            }
            Err(error) => {
                tracing::warn!(dir = %self.dir.display(), %error, "no ballast");
                state.ballast = 0;
                if let Err(error) = disk::remove_if_there(&self.ballast) {
                    tracing::error!(dir = %self.dir.display(), %error, "half a ballast cannot be removed");
                }
            }
        }
    }

    /// The refusal of new work, if space is short.
    pub(crate) fn refusal(&self) -> Option<LogError> {
        let room = self.room();
        (room.space != Space::Ample).then_some(LogError::Full { free_bytes: room.free, floor_bytes: self.floor })
    }
}

/// Makes `path` a file of `len` bytes that really takes the room.
fn fill(path: &Path, len: u64) -> Result<(), LogError> {
    let open = || OpenOptions::new().write(true).create(true).truncate(true).open(path);
    let file = open().map_err(disk::io_error("create", path))?;
    match fallocate(&file, FallocateFlags::empty(), 0, len) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::OPNOTSUPP) => zeros(file, len).map_err(disk::io_error("fill", path)),
        Err(errno) => Err(disk::io_error("preallocate", path)(errno.into())),
    }
}

fn zeros(mut file: File, len: u64) -> io::Result<()> {
    let block = [0; 1 << 16];
    let mut left = len;
    while left > 0 {
        let step = usize::try_from(left).unwrap_or(block.len()).min(block.len());
        file.write_all(&block[..step])?;
        left -= step as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    fn keeper(dir: &Path, floor: u64, reserve: u64, free: u64) -> (SpaceKeeper, Arc<AtomicU64>) {
        let free = Arc::new(AtomicU64::new(free));
        let told = Arc::clone(&free);
        let keeper =
            SpaceKeeper::start(&Layout::new(dir), floor, reserve, Arc::new(move |_| Ok(told.load(Ordering::SeqCst))));
        keeper.settle();
        (keeper, free)
    }

    #[test]
    fn the_ballast_goes_at_the_floor_and_comes_back_with_room_for_two() {
        let dir = tempfile::tempdir().unwrap();
        let ballast = dir.path().join("ballast");
        let (keeper, free) = keeper(dir.path(), 1000, 4096, 1 << 20);
        assert_eq!(ballast.metadata().unwrap().len(), 4096);
        assert!(keeper.refusal().is_none());

        free.store(999, Ordering::SeqCst);
        assert_eq!(keeper.look_now(), Room { free: Some(999), ballast: 0, space: Space::Reserve });
        assert!(!ballast.exists());
        assert!(matches!(keeper.refusal(), Some(LogError::Full { .. })));

        free.store(100, Ordering::SeqCst);
        assert_eq!(keeper.look_now().space, Space::Full);

        // Enough for the floor, not for the ballast: still short, or it would flap.
        free.store(1000 + 2 * 4096, Ordering::SeqCst);
        assert_eq!(keeper.look_now().space, Space::Reserve);
        free.store(1001 + 2 * 4096, Ordering::SeqCst);
        assert_eq!(keeper.look_now().space, Space::Ample);
        assert_eq!(ballast.metadata().unwrap().len(), 4096);
    }

    #[test]
    fn a_small_disk_gets_a_small_ballast() {
        let dir = tempfile::tempdir().unwrap();
        let (keeper, _) = keeper(dir.path(), 1000, 1 << 20, 9000);
        assert_eq!(keeper.room(), Room { free: Some(9000), ballast: 4000, space: Space::Ample });
    }

    #[test]
    fn on_a_full_disk_the_ballast_goes_before_anything_else() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ballast"), [0; 100]).unwrap();
        let (keeper, _) = keeper(dir.path(), 1000, 100, 0);
        assert!(!dir.path().join("ballast").exists());
        assert_eq!(keeper.room().space, Space::Full);
    }
}
