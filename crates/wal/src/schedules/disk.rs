//! The simulated disk: what is seen, what is in the files, and what of it survives a power cut.

use lockstep_model::Lsn;

use super::PowerCut;
use super::database::{Pages, Writes};
use crate::chunk::{Header, Joiner, Key};
use crate::log::SideKey;

/// A call that changes the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Apply,
    Flush,
    SyncDb,
    WriteMark,
    SyncMark,
}

/// The database's file and the high-water file.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk {
    pub(crate) visible: Pages,
    flushed: Pages,
    synced: Pages,
    /// What the high-water file says, to who reads it now and to who reads it after a power cut.
    written_mark: u64,
    synced_mark: u64,
    pub(crate) wrong: Option<String>,
}

impl Disk {
    pub(crate) fn apply(&mut self, writes: Writes) {
        for (key, value) in writes {
            match value {
                Some(value) => self.visible.insert(key, value),
                None => self.visible.remove(&key),
            };
        }
    }

    pub(crate) fn flush(&mut self) {
        self.flushed = self.visible.clone();
    }

    pub(crate) fn sync_db(&mut self) {
        self.synced = self.flushed.clone();
    }

    /// The file may be on disk as soon as it is written: it must not lead even then.
    pub(crate) fn write_mark(&mut self, mark: Lsn) {
        let durable = self.durable();
        if mark > durable {
            self.complain(format!("the high-water file says {mark}, and the log is durable up to {durable}"));
        }
        if mark.0 < self.written_mark {
            self.complain(format!("the high-water file goes back from {} to {mark}", self.written_mark));
        }
        self.written_mark = mark.0;
    }

    pub(crate) fn sync_mark(&mut self) {
        self.synced_mark = self.written_mark;
    }

    /// The last LSN that a power cut leaves.
    pub(crate) fn durable(&self) -> Lsn {
        let entries = Key::entry(Lsn(0), 0).as_ref().to_vec()..Key::side(&SideKey::Summary(Lsn(0))).as_ref().to_vec();
        let last = self.synced.range(entries).next_back().and_then(|(_, chunk)| Header::parse(chunk).ok());
        last.map_or(Lsn(0), |header| header.owner.place())
    }

    /// Keeps what is wrong; the first counts.
    pub(crate) fn complain(&mut self, what: String) {
        self.wrong.get_or_insert(what);
    }

    /// What the high-water file says after a power cut.
    pub(crate) const fn mark(&self) -> Lsn {
        Lsn(self.synced_mark)
    }

    /// A value beside the sequence, as it survives a power cut.
    pub(crate) fn durable_side(&self, key: &SideKey) -> Option<Vec<u8>> {
        let chunk = self.synced.get(Key::side(key).as_ref())?;
        Joiner::begin(chunk).and_then(Joiner::finish).ok().map(|(_, value)| value)
    }

    /// As little as was asked for, with a high-water file that was faster; and as much as was written, with one that was not.
    pub(crate) fn cut_power(&self) -> [PowerCut; 2] {
        [
            PowerCut::new(self.synced.clone(), Lsn(self.written_mark)),
            PowerCut::new(self.visible.clone(), Lsn(self.synced_mark)),
        ]
    }
}
