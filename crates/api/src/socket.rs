//! Where the daemon's socket is.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::{env, fmt, fs, io};

use crate::Error;

/// The address of a Unix socket has room for so many bytes of path.
pub const MAX_SOCKET_BYTES: usize = 107;

/// The environment variable that names the socket.
pub const SOCKET_VARIABLE: &str = "LOCKSTEP_SOCKET";

/// Where the socket is if no one says: below the data directory of a trial, or of the service.
const USUAL: [&str; 2] = ["./lockstep-data/lockstep.sock", "/run/lockstep/lockstep.sock"];

/// The daemon's socket: `given` (a `--socket` flag), else what `LOCKSTEP_SOCKET` says, else the first of
/// `./lockstep-data/lockstep.sock` and `/run/lockstep/lockstep.sock` that is there.
///
/// A socket that was named is not looked for elsewhere, and need not be there yet.
pub fn find_socket(given: Option<&Path>) -> Result<PathBuf, Error> {
    choose(given, env::var_os(SOCKET_VARIABLE), &USUAL.map(Path::new))
}

/// Refuses a path that is too long for the address of a Unix socket, before the system refuses it darkly.
pub fn check_socket(socket: &Path) -> Result<(), Error> {
    let bytes = socket.as_os_str().as_bytes().len();
    if bytes > MAX_SOCKET_BYTES {
        return Err(Error::LongSocket { socket: socket.to_owned(), bytes });
    }
    Ok(())
}

/// Who may use a socket, as far as this user may know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketAccess(Option<(u32, String)>);

impl SocketAccess {
    /// Of the socket at this path.
    pub(crate) fn of(socket: &Path) -> Self {
        Self(fs::metadata(socket).ok().map(|file| (file.mode() & 0o777, group(file.gid()))))
    }
}

impl fmt::Display for SocketAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some((mode, group)) => write!(f, " (mode {mode:04o}, group {group})"),
            None => f.write_str(" (nor look into its directory)"),
        }
    }
}

/// The group's name, or its number where the system's list of groups lacks it.
fn group(gid: u32) -> String {
    let list = fs::read_to_string("/etc/group").unwrap_or_default();
    let named = list.lines().find_map(|line| {
        let mut parts = line.split(':');
        let name = parts.next()?;
        (parts.nth(1)?.parse() == Ok(gid)).then(|| name.to_owned())
    });
    named.unwrap_or_else(|| gid.to_string())
}

fn choose(given: Option<&Path>, variable: Option<OsString>, usual: &[&Path]) -> Result<PathBuf, Error> {
    let named = given.map(Path::to_owned).or_else(|| variable.filter(|path| !path.is_empty()).map(PathBuf::from));
    let socket = match named {
        Some(socket) => socket,
        // What may not be looked at is perhaps there for others: if there is no other, who connects is told so.
        None => match usual.iter().find(|path| path.exists()).or_else(|| usual.iter().find(|path| is_hidden(path))) {
            Some(path) => path.to_path_buf(),
            None => return Err(Error::NoSocket { tried: usual.iter().map(|path| path.to_path_buf()).collect() }),
        },
    };
    check_socket(&socket)?;
    Ok(socket)
}

fn is_hidden(path: &Path) -> bool {
    path.try_exists().is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_goes_before_the_variable_and_that_before_the_usual_places() {
        let dir = tempfile::tempdir().unwrap();
        let (first, second) = (dir.path().join("first"), dir.path().join("second"));
        let usual = [first.as_path(), second.as_path()];
        let flag = Path::new("flag.sock");
        assert_eq!(choose(Some(flag), Some("variable.sock".into()), &usual).unwrap(), flag);
        assert_eq!(choose(None, Some("variable.sock".into()), &usual).unwrap(), Path::new("variable.sock"));

        let error = choose(None, Some(OsString::new()), &usual).unwrap_err();
        let said = error.to_string();
        assert!(said.contains(&first.display().to_string()) && said.contains(&second.display().to_string()), "{said}");
        assert!(said.contains("lockstepd --data DIR"), "{said}");

        fs::write(&second, "").unwrap();
        assert_eq!(choose(None, None, &usual).unwrap(), second);
        fs::write(&first, "").unwrap();
        assert_eq!(choose(None, None, &usual).unwrap(), first);
        // What is no directory hides nothing behind it.
        let below = first.join("lockstep.sock");
        assert_eq!(choose(None, None, &[&below, &second]).unwrap(), second);
        assert!(matches!(choose(None, None, &[&below]), Err(Error::NoSocket { .. })));
    }

    #[test]
    fn who_may_use_a_socket_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let access = SocketAccess::of(&path);
        assert_eq!(access.to_string(), " (nor look into its directory)");
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o660)).unwrap();
        let said = SocketAccess::of(&path).to_string();
        let gid = fs::metadata(&path).unwrap().gid();
        assert_eq!(said, format!(" (mode 0660, group {})", group(gid)));
        assert_eq!((group(0).as_str(), group(u32::MAX).as_str()), ("root", "4294967295"));
        let source = io::ErrorKind::PermissionDenied.into();
        let error = Error::NotAllowed { access: SocketAccess::of(&path), socket: path, source };
        assert!(error.to_string().contains("daemon.socket_mode") && !error.to_string().contains("running"), "{error}");
        assert!(error.is_transient());
    }

    #[test]
    fn a_path_of_107_bytes_fits_and_one_of_108_does_not() {
        let fits = "s".repeat(MAX_SOCKET_BYTES);
        assert!(choose(Some(Path::new(&fits)), None, &[]).is_ok());
        let long = "s".repeat(MAX_SOCKET_BYTES + 1);
        let error = choose(Some(Path::new(&long)), None, &[]).unwrap_err();
        assert!(error.to_string().contains("108 bytes, at most 107"), "{error}");
        assert!(!error.is_transient());
    }
}
