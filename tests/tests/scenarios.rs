//! docs/scenarios.md says which test covers what: what it names is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

fn root() -> Result<PathBuf> {
    Ok(Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace")?.to_owned())
}

/// The names of all functions in the project's Rust files.
fn functions(folder: &Path, names: &mut BTreeSet<String>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            functions(&path, names)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            for line in fs::read_to_string(&path)?.lines() {
                let name = line.trim_start().split_once("fn ").map(|(_, rest)| rest);
                let end = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
                names.extend(name.and_then(|rest| rest.split(end).next()).map(str::to_owned));
            }
        }
    }
    Ok(())
}

/// What stands between backticks and reads like the name of a test: at least four words.
fn named(text: &str) -> Vec<&str> {
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let quoted = text.split('`').skip(1).step_by(2);
    quoted.filter(|name| name.trim_end_matches('…').chars().all(word) && name.matches('_').count() >= 3).collect()
}

/// P7: fails when a test is renamed or removed and the table still counts on it.
#[test]
fn p7_every_test_that_the_table_names_exists() -> Result<()> {
    let root = root()?;
    let mut names = BTreeSet::new();
    for folder in ["crates", "wal-tools", "tests/src", "tests/tests", "tests/servers"] {
        functions(&root.join(folder), &mut names)?;
    }
    let text = fs::read_to_string(root.join("docs/scenarios.md"))?;
    let wanted = named(&text);
    ensure!(wanted.len() > 100, "only {} tests are named", wanted.len());
    let there = |name: &str| match name.strip_suffix('…') {
        Some(beginning) => names.iter().any(|name| name.starts_with(beginning)),
        None => names.contains(name),
    };
    let missing: Vec<_> = wanted.into_iter().filter(|name| !there(name)).collect();
    ensure!(missing.is_empty(), "docs/scenarios.md names tests that are not there: {missing:?}");
    Ok(())
}
