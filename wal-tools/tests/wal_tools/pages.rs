//! The man pages and completions that are kept are those of this program.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::run;

/// Every file below a directory.
fn files(dir: &Path) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for part in ["man1", "completions"] {
        for item in fs::read_dir(dir.join(part)).unwrap().map(Result::unwrap) {
            let name = item.file_name().into_string().unwrap();
            if name.contains("wal-tools") {
                files.insert(format!("{part}/{name}"), fs::read_to_string(item.path()).unwrap());
            }
        }
    }
    files
}

#[test]
fn the_pages_are_those_of_the_program() {
    let dir = tempfile::tempdir().unwrap();
    let said = run(Command::new(env!("CARGO_BIN_EXE_wal-tools")).arg("pages").arg(dir.path()));
    assert_eq!(said.code, 0, "{said:?}");
    let kept = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/man"));
    let now = files(dir.path());
    assert!(now.len() > 10, "{:?}", now.keys());
    assert_eq!(kept.keys().collect::<Vec<_>>(), now.keys().collect::<Vec<_>>());
    for (name, page) in now {
        assert!(kept[&name] == page, "{name} has changed: cargo run -p lockstep-wal-tools -- pages docs/man");
    }
}
