//! The tests of the tests: a daemon that breaks a promise on purpose must be caught. `tests/negative.sh` runs them.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use lockstep_tests::budget::{number, say, skip};
use lockstep_tests::campaign::{Broken, Plan, run as campaign};
use lockstep_tests::program::faulty;
use lockstep_tests::seed::Rng;
use lockstep_tests::wait::run;

use crate::kill::{LONG, SHORT};
use crate::support::fresh;

/// The kill test must see a checkpoint that lets intents leave the log before Edge has flushed what they wrote.
/// Fails when the kill test looks at SurrealDB alone.
#[test]
fn the_kill_test_catches_a_checkpoint_that_lies() -> Result<()> {
    caught("lying_checkpoint")
}

/// The kill test must see answers that leave before their end marks are durable.
/// Fails when the kill test does not compare the log with what clients were told.
#[test]
fn the_kill_test_catches_answers_that_do_not_wait_for_their_end_mark() -> Result<()> {
    caught("eager_answers")
}

/// No release build obeys `LOCKSTEP_FAULT`: compiled as a release is, the only file that reads it does not even hold its name, and no profile
/// and no default feature changes that.
/// Fails when the door is open in a release, when somebody else reads the variable, or when a profile turns debug assertions on.
#[test]
fn no_release_build_can_be_asked_for_a_fault() -> Result<()> {
    const NAME: &str = "LOCKSTEP_FAULT";
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("no folder above")?;
    let door = root.join("crates/wal/src/fault.rs");
    let folder = tempfile::tempdir()?;
    for (option, has) in [("opt-level=3", false), ("debug-assertions=on", true)] {
        let object = folder.path().join(option);
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let mut command = Command::new(rustc);
        command.args([
            "--edition",
            "2024",
            "--crate-type",
            "lib",
            "--crate-name",
            "door",
            "--emit",
            "obj",
            "-C",
            option,
        ]);
        let output = command.arg("-o").arg(&object).arg(&door).output().context("rustc")?;
        ensure!(output.status.success(), "rustc: {}", String::from_utf8_lossy(&output.stderr));
        let object = fs::read(&object)?;
        let found = object.windows(NAME.len()).any(|part| part == NAME.as_bytes());
        ensure!(found == has, "compiled with {option}, the door holds {NAME}: {found}");
    }

    let mut sources = Vec::new();
    for folder in ["crates", "wal-tools"] {
        files(&root.join(folder), &mut sources)?;
    }
    let of_programs = sources.iter().filter(|path| path.components().any(|part| part.as_os_str() == "src"));
    let literal = format!("\"{NAME}\"");
    for path in of_programs.filter(|path| path.extension() == Some(OsStr::new("rs")) && **path != door) {
        ensure!(!fs::read_to_string(path)?.contains(&literal), "{} reads {NAME}", path.display());
    }
    for path in sources.iter().filter(|path| path.ends_with("Cargo.toml")).chain([&root.join("Cargo.toml")]) {
        let text = fs::read_to_string(path)?;
        let opens = |line: &&str| {
            line.contains("debug-assertions") || (line.starts_with("default") && line.contains("fault-injection"))
        };
        if let Some(line) = text.lines().find(opens) {
            bail!("{}: {line}", path.display());
        }
    }
    Ok(())
}

fn files(folder: &Path, all: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { files(&path, all)? } else { all.push(path) }
    }
    Ok(())
}

fn caught(fault: &'static str) -> Result<()> {
    let Some(folder) = faulty() else {
        skip(&format!("kill test against LOCKSTEP_FAULT={fault}"), "run tests/negative.sh");
        return Ok(());
    };
    run(async move {
        let seed = Rng::seed()?;
        let cycles: u32 = number("LOCKSTEP_NEGATIVE_CYCLES", 80)?;
        say(format!("kill test against {fault}: at most {cycles} cycles, LOCKSTEP_SEED={seed}"));
        match against(&folder, fault, cycles, seed).await {
            Ok(()) => bail!("{cycles} cycles against a daemon with {fault}, and nothing was noticed"),
            Err(error) if error.downcast_ref::<Broken>().is_some() => {
                let said = format!("{error:#}");
                let first = said.lines().next().unwrap_or_default();
                say(format!("caught {fault}: {first}"));
                Ok(())
            }
            Err(error) => Err(error.context("the campaign failed for another reason than the fault")),
        }
    })
}

async fn against(folder: &Path, fault: &str, cycles: u32, seed: u64) -> Result<()> {
    let (_data, launch) = fresh()?;
    let launch = launch.program(folder.join("lockstepd")).variable("LOCKSTEP_FAULT", fault);
    campaign(&Plan { launch, cycles, seed, clients: 6, short: SHORT, long: LONG }).await.map(drop)
}
