//! The tests of the tests: a daemon that breaks a promise on purpose must be caught. Those that soon are, are tried always;
//! `tests/negative.sh` tries all of them, for longer.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use lockstep_tests::budget::{number, say, skip};
use lockstep_tests::campaign::{self as kills, Broken};
use lockstep_tests::history::campaign as history;
use lockstep_tests::program::faulty;
use lockstep_tests::seed::Rng;
use lockstep_tests::wait::run;

use crate::kill::{LONG, SHORT};
use crate::support::fresh;

/// The kill test must see a checkpoint that lets intents leave the log before Edge has flushed what they wrote.
/// Fails when the kill test looks at SurrealDB alone.
#[test]
fn the_kill_test_catches_a_checkpoint_that_lies() -> Result<()> {
    by_the_kill_test("lying_checkpoint", ALWAYS)
}

/// The kill test must see answers that leave before their end marks are durable.
/// Fails when the kill test does not compare the log with what clients were told.
#[test]
fn the_kill_test_catches_answers_that_do_not_wait_for_their_end_mark() -> Result<()> {
    by_the_kill_test("eager_answers", BY_COMMAND)
}

/// The campaign must see records that were never written, although their writers were told so.
/// Fails when it believes what the daemon says of SurrealDB.
#[test]
fn the_campaign_catches_records_that_are_forgotten() -> Result<()> {
    by_the_campaign("forgotten_records", BY_COMMAND)
}

/// The campaign must see points that are missing, or that outlive their records.
/// Fails when it looks at SurrealDB alone.
#[test]
fn the_campaign_catches_points_that_are_forgotten() -> Result<()> {
    by_the_campaign("forgotten_points", BY_COMMAND)
}

/// No release build obeys `LOCKSTEP_FAULT`: compiled as a release is, the only file that reads it does not even hold its name, and no profile
/// and no feature changes that.
/// Fails when the door is open in a release, when a feature opens it, when somebody else reads the variable, or when a profile turns
/// debug assertions on.
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

    ensure!(!fs::read_to_string(&door)?.contains("feature"), "a feature opens the door");

    let (mut sources, mut of_tests) = (Vec::new(), Vec::new());
    for folder in ["crates", "wal-tools"] {
        files(&root.join(folder), &mut sources)?;
    }
    files(&root.join("tests"), &mut of_tests)?;
    let of_programs = sources.iter().filter(|path| path.components().any(|part| part.as_os_str() == "src"));
    let literal = format!("\"{NAME}\"");
    for path in of_programs.filter(|path| path.extension() == Some(OsStr::new("rs")) && **path != door) {
        ensure!(!fs::read_to_string(path)?.contains(&literal), "{} reads {NAME}", path.display());
    }
    of_tests.push(root.join("Cargo.toml"));
    for path in sources.iter().chain(&of_tests).filter(|path| path.ends_with("Cargo.toml")) {
        let text = fs::read_to_string(path)?;
        let opens = |line: &&str| line.contains("debug-assertions") || line.contains("fault-injection");
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

/// So many kills at most for a control that every run tries: what it looks for shows in the first few.
const ALWAYS: u64 = 80;
/// None, unless `LOCKSTEP_NEGATIVE_CYCLES` says so: what it looks for may take minutes to show.
const BY_COMMAND: u64 = 0;

/// Runs an attack of so many kills at most, from a seed, against the daemon in the folder.
fn caught<F>(by: &str, fault: &'static str, usual: u64, attack: impl FnOnce(PathBuf, u64, u64) -> F) -> Result<()>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let (kills, seed) = (number("LOCKSTEP_NEGATIVE_CYCLES", usual)?, Rng::seed()?);
    let (true, Some(folder)) = (kills > 0, faulty()?) else {
        skip(&format!("{by} against LOCKSTEP_FAULT={fault}"), "run tests/negative.sh");
        return Ok(());
    };
    say(format!("{by} against {fault}: at most {kills} kills, LOCKSTEP_SEED={seed}"));
    match run(attack(folder, kills, seed)) {
        Ok(()) => bail!("{kills} kills of a daemon with {fault}, and nothing was noticed"),
        Err(error) if error.downcast_ref::<Broken>().is_some() => {
            let said = format!("{error:#}");
            let first = said.lines().next().unwrap_or_default();
            say(format!("caught {fault}: {first}"));
            Ok(())
        }
        Err(error) => Err(error.context("it failed for another reason than the fault")),
    }
}

fn by_the_kill_test(fault: &'static str, usual: u64) -> Result<()> {
    caught("kill test", fault, usual, |folder, kills, seed| async move {
        let (_data, launch) = fresh()?;
        let launch = launch.program(folder.join("lockstepd")).variable("LOCKSTEP_FAULT", fault);
        let cycles = u32::try_from(kills)?;
        kills::run(&kills::Plan { launch, cycles, seed, clients: 6, short: SHORT, long: LONG }).await.map(drop)
    })
}

fn by_the_campaign(fault: &'static str, usual: u64) -> Result<()> {
    caught("campaign", fault, usual, |folder, kills, seed| async move {
        history::run(&history::Plan { kills, seed, writers: 6, fault: Some((folder, fault)) }).await.map(drop)
    })
}
