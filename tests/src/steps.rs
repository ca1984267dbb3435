//! The steps of a daemon: moments at which it can be told to die or to wait (`LOCKSTEP_FAULT=steps:FOLDER`, which only a build
//! with debug assertions obeys).

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// What one daemon after the other is told.
#[derive(Debug, Clone)]
pub struct Steps {
    folder: PathBuf,
}

impl Steps {
    /// Nothing is told yet.
    ///
    /// # Errors
    /// If the folder cannot be made.
    pub fn in_folder(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// What `LOCKSTEP_FAULT` must be.
    #[must_use]
    pub fn fault(&self) -> String {
        format!("steps:{}", self.folder.display())
    }

    /// From now on the daemon counts its steps for `case`, and obeys `orders`: `kill STEP` and `pause STEP`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn plan(&self, case: &str, orders: &[String]) -> Result<()> {
        let (new, place) = (self.folder.join("plan.new"), self.folder.join("plan"));
        fs::write(&new, format!("{case}\n{}\n", orders.join("\n")))?;
        // In one step: the daemon reads it at each of its own.
        fs::rename(&new, &place).with_context(|| place.display().to_string())
    }

    /// Nothing is counted any more.
    ///
    /// # Errors
    /// If there was no plan.
    pub fn end(&self) -> Result<()> {
        let place = self.folder.join("plan");
        fs::remove_file(&place).with_context(|| place.display().to_string())
    }

    /// The steps that have been passed for `case`, in their order.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn passed(&self, case: &str) -> Result<Vec<String>> {
        let place = self.folder.join("passed");
        let text = match fs::read_to_string(&place) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(anyhow::Error::from(error).context(place.display().to_string())),
        };
        let of_case = |line: &str| line.strip_prefix(case)?.strip_prefix('\t').map(str::to_owned);
        Ok(text.lines().filter_map(of_case).collect())
    }
}
