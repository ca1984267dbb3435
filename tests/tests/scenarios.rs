//! docs/scenarios.md says which test covers what, docs/reliability.md which keeps a bug mended, the patches of bugs which notices them:
//! what they name is there.

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

/// What the second lines of the patches in a folder name: a test, or how several begin.
fn caught_by(folder: &Path) -> Result<Vec<String>> {
    let mut tests = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "patch") {
            let text = fs::read_to_string(&path)?;
            let test = text.lines().nth(1).and_then(|line| line.strip_prefix("Caught by: ")?.split(": ").nth(1));
            tests.extend(test.and_then(|test| test.rsplit("::").next()).map(|test| format!("{test}…")));
        }
    }
    Ok(tests)
}

/// P7: fails when a test is renamed or removed and one of the tables or of the patches still counts on it.
#[test]
fn p7_every_test_that_the_tables_and_the_patches_name_exists() -> Result<()> {
    let root = root()?;
    let mut names = BTreeSet::new();
    for folder in ["crates", "wal-tools", "tests/src", "tests/tests", "tests/servers"] {
        functions(&root.join(folder), &mut names)?;
    }
    let there = |name: &str| match name.strip_suffix('…') {
        Some(beginning) => names.iter().any(|name| name.starts_with(beginning)),
        None => names.contains(name),
    };
    let text = |page: &str| fs::read_to_string(root.join(page));
    let (scenarios, reliability) = (text("docs/scenarios.md")?, text("docs/reliability.md")?);
    let patches = caught_by(&root.join("tests/mutants/scenarios"))?;
    let bugs = caught_by(&root.join("tests/mutants"))?;
    ensure!(patches.len() > 50 && !bugs.is_empty(), "only {} and {} patches name a test", patches.len(), bugs.len());
    for (page, wanted) in [("scenarios", named(&scenarios)), ("reliability", named(&reliability))] {
        ensure!(wanted.len() > 100, "only {} tests are named in {page}", wanted.len());
        let missing: Vec<_> = wanted.into_iter().filter(|name| !there(name)).collect();
        ensure!(missing.is_empty(), "docs/{page}.md names tests that are not there: {missing:?}");
    }
    let missing: Vec<_> = patches.iter().chain(&bugs).filter(|name| !there(name)).collect();
    ensure!(missing.is_empty(), "patches name tests that are not there: {missing:?}");
    Ok(())
}
