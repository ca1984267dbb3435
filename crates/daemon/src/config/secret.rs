//! Secrets: read from files that a key names, or that the service manager hands over. Never printed.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::ConfigError;

/// A token may be long, a key file is no data set.
const MAX_BYTES: u64 = 64 << 10;

/// A password, a token or a key.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The secret itself, for who signs in with it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Where secrets may come from, and what was odd about those that were read.
pub(super) struct Secrets<'a> {
    /// Where relative paths start.
    pub(super) base: &'a Path,
    /// The directory in which the service manager puts credentials.
    pub(super) credentials: Option<&'a Path>,
    /// What is worth a warning.
    pub(super) warnings: Vec<String>,
}

impl Secrets<'_> {
    /// The secret in the file that `key` names, or else the credential `name`, if there is one.
    pub(super) fn find(
        &mut self,
        key: &str,
        file: Option<&PathBuf>,
        name: &str,
    ) -> Result<Option<Secret>, ConfigError> {
        if let Some(file) = file {
            let path = self.base.join(file);
            let (secret, mode) = read(key, &path)?;
            if mode & 0o004 != 0 {
                self.warnings.push(format!(
                    "{key}: everybody on this machine can read {}; chmod 600 it, and let only lockstepd's user own it",
                    path.display()
                ));
            }
            return Ok(Some(secret));
        }
        let Some(path) = self.credentials.map(|dir| dir.join(name)) else { return Ok(None) };
        if !path.exists() {
            return Ok(None);
        }
        // The service manager sees to who can read it.
        read(&format!("the credential {name}"), &path).map(|(secret, _)| Some(secret))
    }
}

/// The trimmed text of a file, and its mode.
fn read(key: &str, path: &Path) -> Result<(Secret, u32), ConfigError> {
    let unreadable = |source| ConfigError::Secret { key: key.to_owned(), path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.mode();
    let mut text = String::new();
    file.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(ConfigError::value(key, format!("{} has over {MAX_BYTES} bytes", path.display())));
    }
    let secret = text.trim();
    if secret.is_empty() {
        return Err(ConfigError::value(key, format!("{} is empty", path.display())));
    }
    if secret.chars().any(char::is_control) {
        return Err(ConfigError::value(
            key,
            format!("{} has more than one line, or control characters", path.display()),
        ));
    }
    Ok((Secret(secret.to_owned()), mode))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn write(path: &Path, text: &str, mode: u32) {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_key_goes_before_a_credential_and_whitespace_goes() {
        let dir = tempfile::tempdir().unwrap();
        let credentials = dir.path().join("c");
        fs::create_dir(&credentials).unwrap();
        write(&dir.path().join("file"), "  from the file \n", 0o600);
        write(&credentials.join("surreal-password"), "from the manager\n", 0o644);
        let mut secrets = Secrets { base: dir.path(), credentials: Some(&credentials), warnings: Vec::new() };
        let file = PathBuf::from("file");
        let find = |secrets: &mut Secrets<'_>, file| secrets.find("surreal.password_file", file, "surreal-password");
        assert_eq!(find(&mut secrets, Some(&file)).unwrap().unwrap().reveal(), "from the file");
        assert_eq!(find(&mut secrets, None).unwrap().unwrap().reveal(), "from the manager");
        assert!(secrets.warnings.is_empty(), "{:?}", secrets.warnings);
        assert_eq!(secrets.find("qdrant.api_key_file", None, "qdrant-api-key").unwrap(), None);
        assert_eq!(format!("{:?}", find(&mut secrets, None)), "Ok(Some(Secret(…)))");
    }

    #[test]
    fn what_everybody_can_read_is_warned_of_and_what_is_no_secret_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut secrets = Secrets { base: dir.path(), credentials: None, warnings: Vec::new() };
        let mut find = |text: &str, mode| {
            write(&dir.path().join("f"), text, mode);
            secrets.find("qdrant.api_key_file", Some(&PathBuf::from("f")), "x")
        };
        assert!(find("k", 0o604).is_ok());
        for (text, said) in [("", "is empty"), (" \n", "is empty"), ("a\nb", "more than one line")] {
            let error = find(text, 0o600).unwrap_err().to_string();
            assert!(error.starts_with("qdrant.api_key_file: ") && error.contains(said), "{error}");
        }
        let long = find(&"k".repeat((64 << 10) + 1), 0o600).unwrap_err().to_string();
        assert!(long.contains("65536 bytes") && !long.contains("kk"), "{long}");
        assert_eq!(secrets.warnings.len(), 1, "{:?}", secrets.warnings);
        assert!(secrets.warnings[0].contains("chmod 600"));
        let none = secrets.find("qdrant.api_key_file", Some(&PathBuf::from("none")), "x").unwrap_err();
        assert!(matches!(none, ConfigError::Secret { .. }), "{none}");
    }
}
