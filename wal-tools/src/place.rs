//! Where the log is, or the daemon.

use std::env;
use std::path::{Path, PathBuf};

use clap::Args;
use lockstep_api::check_socket;

use crate::failure::Failure;

/// The environment variable that names lockstepd's data directory.
const DATA_VARIABLE: &str = "LOCKSTEP_DATA";
/// Where the log is if no one says: below the data directory of a trial, or of the service.
const USUAL: [&str; 2] = ["./lockstep-data/wal", "/var/lib/lockstep/wal"];

/// The flags that say where to look.
#[derive(Debug, Args)]
pub(crate) struct PlaceArguments {
    /// The log's directory [default: $LOCKSTEP_DATA/wal, else ./lockstep-data/wal, else /var/lib/lockstep/wal]
    #[arg(long, global = true, value_name = "DIR", conflicts_with_all = ["data", "socket"])]
    wal: Option<PathBuf>,
    /// lockstepd's data directory: the log is DIR/wal
    #[arg(long, global = true, value_name = "DIR", conflicts_with = "socket")]
    data: Option<PathBuf>,
    /// Ask the daemon at this socket; plan, verify and dump read the directory that it names
    #[arg(long, global = true, value_name = "PATH")]
    socket: Option<PathBuf>,
}

/// Where to look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the log's directory.
    Directory(PathBuf),
    /// At the daemon.
    Socket(PathBuf),
}

impl PlaceArguments {
    /// Where to look: what a flag says, else the first of the usual places that is there.
    pub(crate) fn find(self) -> Result<Place, Failure> {
        self.choose(env::var_os(DATA_VARIABLE).filter(|dir| !dir.is_empty()).map(PathBuf::from), &USUAL.map(Path::new))
    }

    fn choose(self, variable: Option<PathBuf>, usual: &[&Path]) -> Result<Place, Failure> {
        if let Some(socket) = self.socket {
            check_socket(&socket)?;
            return Ok(Place::Socket(socket));
        }
        let named = self.wal.or_else(|| self.data.or(variable).map(|data| data.join("wal")));
        match named.or_else(|| usual.iter().find(|dir| dir.is_dir()).map(|dir| dir.to_path_buf())) {
            Some(dir) => Ok(Place::Directory(dir)),
            None => Err(Failure::NoPlace { tried: usual.iter().map(|dir| dir.to_path_buf()).collect() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: PlaceArguments = PlaceArguments { wal: None, data: None, socket: None };

    #[test]
    fn a_flag_goes_before_the_variable_and_that_before_the_usual_places() {
        let dir = tempfile::tempdir().unwrap();
        let usual = [Path::new("nowhere"), dir.path()];
        let variable = || Some(PathBuf::from("variable"));
        let choose = |arguments: PlaceArguments, variable| arguments.choose(variable, &usual).unwrap();
        let wal = PlaceArguments { wal: Some("flag".into()), ..NONE };
        assert_eq!(choose(wal, variable()), Place::Directory("flag".into()));
        let data = PlaceArguments { data: Some("flag".into()), ..NONE };
        assert_eq!(choose(data, variable()), Place::Directory("flag/wal".into()));
        let socket = PlaceArguments { socket: Some("flag.sock".into()), ..NONE };
        assert_eq!(choose(socket, variable()), Place::Socket("flag.sock".into()));
        assert_eq!(choose(NONE, variable()), Place::Directory("variable/wal".into()));
        assert_eq!(choose(NONE, None), Place::Directory(dir.path().into()));
        let failure = NONE.choose(None, &[Path::new("nowhere")]).unwrap_err();
        assert!(failure.to_string().contains("nowhere") && failure.exit_code() == 3, "{failure}");
    }
}
