//! Who is asked: the daemon that has the log, or else the directory.

use std::path::Path;

use crate::daemon::Daemon;
use crate::directory::{Directory, Look};
use crate::failure::Failure;
use crate::holder::Holder;
use crate::output::Output;
use crate::place::Place;

/// Where answers come from.
#[derive(Debug)]
pub(crate) enum Source {
    /// The log's directory.
    Directory(Box<Directory>),
    /// The daemon.
    Daemon(Daemon),
}

impl Source {
    /// The daemon, if a live one has the directory and answers; else the directory.
    pub(crate) fn find(place: Place, output: &Output) -> Result<Self, Failure> {
        let dir = match place {
            Place::Socket(socket) => return Daemon::find(socket).map(Self::Daemon),
            Place::Directory(dir) => dir,
        };
        let holder = Holder::of(&dir);
        if let Some(holder) = &holder {
            match holder.socket.clone().map(Daemon::find) {
                Some(Ok(daemon)) => return Ok(Self::Daemon(daemon)),
                Some(Err(failure)) => output.warning(format_args!(
                    "{} has the log open and does not answer ({}); reading the directory, which may move meanwhile",
                    holder.name(),
                    failure.chain()
                )),
                None => output.warning(format_args!(
                    "{} has the log open and says no socket; reading the directory, which may move meanwhile",
                    holder.name()
                )),
            }
        }
        Directory::read(&dir, holder.as_ref(), Look::Skim).map(|directory| Self::Directory(Box::new(directory)))
    }
}

/// The directory, for what no daemon answers. A daemon says where it is.
pub(crate) fn directory(
    place: Place,
    command: &'static str,
    look: Look,
    output: &Output,
) -> Result<Directory, Failure> {
    match place {
        Place::Socket(socket) => {
            let said = Daemon::find(socket)?.status()?.into_body().wal_dir;
            read(Path::new(&said.ok_or(Failure::NeedsDirectory { command })?), look, output)
        }
        Place::Directory(dir) => read(&dir, look, output),
    }
}

fn read(dir: &Path, look: Look, output: &Output) -> Result<Directory, Failure> {
    let holder = Holder::of(dir);
    if let Some(holder) = &holder {
        output.warning(format_args!(
            "{} has the log open: this is the directory as it is now, and it moves. What is shown was in the log; what is \
             missing or damaged may be a write seen half-way. For the present state ask the daemon: wal-tools status",
            holder.name()
        ));
    }
    Directory::read(dir, holder.as_ref(), look)
}
