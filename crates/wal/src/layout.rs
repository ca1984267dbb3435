//! The names of the files in a log's directory.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A log's directory and what lies in it.
///
/// Ours are `lock`, `highwater`, `ballast` and, after a repair, `quarantine`; sled's are `db`, `conf`, `blobs` (always empty) and `snap.*`.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    dir: PathBuf,
}

impl Layout {
    pub(crate) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_path_buf() }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn db(&self) -> PathBuf {
        self.dir.join("db")
    }

    pub(crate) fn conf(&self) -> PathBuf {
        self.dir.join("conf")
    }

    pub(crate) fn high_water(&self) -> PathBuf {
        self.dir.join("highwater")
    }

    /// What the high-water file is called until it is whole.
    pub(crate) fn high_water_new(&self) -> PathBuf {
        self.dir.join("highwater.new")
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.dir.join("lock")
    }

    pub(crate) fn ballast(&self) -> PathBuf {
        self.dir.join("ballast")
    }

    /// The one copy that is kept when sled finds damage: beside the directory, `<dir>.kept`.
    pub(crate) fn kept(&self) -> PathBuf {
        self.beside(".kept")
    }

    /// The copy while it is not known whether it is needed: `<dir>.kept.new`.
    pub(crate) fn kept_new(&self) -> PathBuf {
        self.beside(".kept.new")
    }

    /// A repaired log while it is made, and for a moment the one that it replaces: `<dir>.repairing`.
    pub(crate) fn repairing(&self) -> PathBuf {
        self.beside(".repairing")
    }

    /// The log as it was before its first, second, … repair: `<dir>.damaged-1`, …
    pub(crate) fn damaged(&self, number: u32) -> PathBuf {
        self.beside(&format!(".damaged-{number}"))
    }

    /// What repairs put aside.
    pub(crate) fn quarantine(&self) -> PathBuf {
        self.dir.join("quarantine")
    }

    /// Says that the directory is a repaired log that is being made, or has just taken its place.
    pub(crate) fn repair_marker(&self) -> PathBuf {
        self.dir.join("repair")
    }

    /// The directory that holds the log's directory.
    pub(crate) fn parent(&self) -> PathBuf {
        match self.dir.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
            _ => PathBuf::from("."),
        }
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.dir.file_name().unwrap_or_default().to_os_string();
        name.push(suffix);
        self.parent().join(name)
    }

    /// What lies in the directory now.
    pub(crate) fn contents(&self) -> io::Result<Contents> {
        let mut contents = Contents::default();
        for item in fs::read_dir(&self.dir)? {
            let item = item?;
            let name = item.file_name();
            let name = name.to_string_lossy();
            match name.as_ref() {
                "highwater" => contents.high_water = true,
                "db" => contents.db = true,
                "conf" => contents.conf = true,
                "lock" | "ballast" | "highwater.new" | "blobs" | "lost+found" | "quarantine" | "repair" => {}
                _ if name.starts_with("snap.") => {
                    if name.ends_with(".generating") {
                        contents.leftovers.push(item.path());
                    } else {
                        contents.snapshots.push(item.path());
                    }
                }
                _ => contents.foreign.push(name.into_owned()),
            }
        }
        Ok(contents)
    }
}

/// Which of a log's files are there.
#[derive(Debug, Clone, Default)]
pub(crate) struct Contents {
    pub(crate) high_water: bool,
    pub(crate) db: bool,
    pub(crate) conf: bool,
    /// sled's snapshots, whole ones.
    pub(crate) snapshots: Vec<PathBuf>,
    /// sled's snapshots that were being written: sled refuses to open because of them, and needs none of them.
    pub(crate) leftovers: Vec<PathBuf>,
    /// What belongs to no log.
    pub(crate) foreign: Vec<String>,
}

impl Contents {
    /// Whether sled has left anything here.
    pub(crate) fn any_of_sled(&self) -> bool {
        self.db || self.conf || !self.snapshots.is_empty()
    }
}
