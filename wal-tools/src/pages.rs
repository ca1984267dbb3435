//! Man pages and completions, made from the arguments themselves.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::arguments::Arguments as All;
use crate::failure::Failure;
use crate::outcome::Outcome;

/// Write man pages and shell completions into a directory
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The directory, which is made if it is not there
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

impl Arguments {
    /// Writes `man1/*.1` and `completions/*`.
    pub(crate) fn run(self) -> Result<Outcome, Failure> {
        write_all(&self.dir).map_err(Failure::Output)?;
        Ok(Outcome::Clean)
    }
}

fn write_all(dir: &Path) -> io::Result<()> {
    let man = dir.join("man1");
    fs::create_dir_all(&man)?;
    let mut all = All::command();
    all.build();
    page(&man, &all)?;
    for command in all.get_subcommands().filter(|command| !command.is_hide_set() && command.get_name() != "help") {
        page(&man, command)?;
    }
    let completions = dir.join("completions");
    fs::create_dir_all(&completions)?;
    for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
        clap_complete::generate_to(shell, &mut All::command(), "wal-tools", &completions)?;
    }
    Ok(())
}

/// `wal-tools-verify.1`: the name with hyphens, as other programs with commands do it.
fn page(dir: &Path, command: &Command) -> io::Result<()> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let mut page = Vec::new();
    Man::new(command.clone()).title(name.to_uppercase()).render(&mut page)?;
    fs::write(dir.join(format!("{name}.1")), page)
}
