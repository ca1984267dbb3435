//! What the log's threads meet at and what they stand on: locks, threads, time, the channel of a ticket, the database, the
//! system's durability calls.
//!
//! A usual build has the real ones. With the feature `schedules` a test decides which thread goes on after each of them, when
//! time passes and what the disk does ([`schedules`](crate::schedules)); the code above is the same. What no two threads
//! wait for each other in stays with the standard library: counters, and the lock of [`space`](crate::space), under which
//! none of these is called.

#[cfg(not(feature = "schedules"))]
mod real {
    pub(crate) use std::sync::{Condvar, Mutex, MutexGuard, RwLock};
    pub(crate) use std::thread::{self, JoinHandle};
    pub(crate) use std::time::Instant;

    pub(crate) use sled as database;
    pub(crate) use tokio::sync::oneshot;

    /// The system's calls on a file; the path is for who simulates them.
    pub(crate) mod os {
        use std::fs::File;
        use std::io;
        use std::os::unix::fs::FileExt;
        use std::path::Path;

        pub(crate) fn write_all_at(file: &File, bytes: &[u8], at: u64, _: &Path) -> io::Result<()> {
            file.write_all_at(bytes, at)
        }

        pub(crate) fn sync_all(file: &File, _: &Path) -> io::Result<()> {
            file.sync_all()
        }

        pub(crate) fn sync_data(file: &File, _: &Path) -> io::Result<()> {
            file.sync_data()
        }
    }
}

#[cfg(not(feature = "schedules"))]
pub(crate) use real::{Condvar, Instant, JoinHandle, Mutex, MutexGuard, RwLock, database, oneshot, os, thread};

#[cfg(feature = "schedules")]
pub(crate) use shuttle::{
    sync::{Mutex, MutexGuard, RwLock},
    thread::{self, JoinHandle},
};

#[cfg(feature = "schedules")]
pub(crate) use crate::schedules::{
    clock::{Condvar, Instant},
    database, oneshot, os,
};
