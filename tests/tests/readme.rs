//! The README's examples, run as they stand there. An example that is changed or added is run too, or is named here with the reason.

use std::path::{Path, PathBuf};
use std::process::Output;

use anyhow::{Context, Result, ensure};
use lockstep_tests::budget::skip;
use lockstep_tests::daemon::Launch;
use lockstep_tests::program::built;
use lockstep_tests::wait::{PATIENCE, run};
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::timeout;

use crate::support::write;

const README: &str = include_str!("../../README.md");
const EXAMPLE: &str = include_str!("../../crates/api/examples/readme.rs");

/// The shell's examples that are not run as they stand, by a part of their text, and why.
const NOT_RUN: [(&str, &str); 6] = [
    ("target/debug/lockstep demo", "the test of the demo runs it"),
    ("cargo test --workspace", "this is it"),
    ("cargo build --release", "it takes half an hour"),
    ("lockstepd --data ./lockstep-data\n", "the test has started it"),
    ("pgrep -x lockstepd", "it would kill every daemon on this machine; the kill tests do it to their own"),
    ("docker compose", "there is no container engine; .ci/run checks the file"),
];

/// Its examples for the shell, for Python and for Rust do what is said, one after the other against one daemon.
/// Fails when a command, a flag, a route or a field in them is not there, or they are refused.
#[test]
fn the_examples_of_the_readme_work() -> Result<()> {
    run(async {
        let folder = tempfile::Builder::new().prefix("lockstep-test-").tempdir()?;
        let folder = folder.path();
        let daemon = Launch::on(folder.join("lockstep-data"))?.ready().await?;
        let lines: Vec<String> =
            (0..3).map(|n| json!({"op": "put", "key": format!("memory:{n}"), "document": {}}).to_string()).collect();
        write(folder, "operations.ndjson", &lines.join("\n"))?;

        let mut python_ran = false;
        let mut looks_into_the_log = Vec::new();
        for block in blocks() {
            match block.language {
                "sh" if NOT_RUN.iter().any(|(part, _)| block.text.contains(part)) => {}
                "sh" if block.text.contains("wal-tools") => looks_into_the_log.push(block),
                "sh" => {
                    let said = shell(folder, block).await?;
                    if block.text.contains("/v1/ops") {
                        let answer: Value = serde_json::from_str(&said).with_context(|| said.clone())?;
                        ensure!(answer["state"] == "committed", "{answer}");
                    }
                }
                "python" => python_ran = python(folder, block).await?,
                "rust" => rust(folder, block).await?,
                "json" => drop(serde_json::from_str::<Value>(block.text).with_context(|| block.text.to_owned())?),
                "text" => {}
                other => anyhow::bail!("nobody runs the README's example in {other:?}: {}", block.text),
            }
        }
        // What they wrote is there for whoever comes after them.
        let by_python = python_ran.then_some("memory:flood");
        for key in ["memory:tide", "memory:neap", "memory:ebb", "memory:2"].into_iter().chain(by_python) {
            let entity = daemon.client().entity(key).await?.into_body();
            ensure!(entity.verdict == "consistent", "{entity:?}");
        }
        daemon.terminate().await?;
        ensure!(!looks_into_the_log.is_empty(), "the README shows wal-tools");
        for block in looks_into_the_log {
            shell(folder, block).await?;
        }
        Ok(())
    })
}

/// The README's first command, but for the build: the demo finds that nothing was lost.
/// Fails when the demo does, or the README names another command.
#[test]
fn the_demo_of_the_readme_loses_nothing() -> Result<()> {
    run(async {
        ensure!(
            blocks().any(|block| block.text.contains("target/debug/lockstep demo")),
            "the README begins with the demo"
        );
        let output = output(Command::new(built("lockstep")?).arg("demo")).await?;
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success() && said.contains("nothing was lost"), "{output:?}");
        Ok(())
    })
}

/// The reasons that are given above are for examples that are there.
#[test]
fn no_example_is_excused_that_is_not_there() -> Result<()> {
    for (part, reason) in NOT_RUN {
        ensure!(blocks().any(|block| block.language == "sh" && block.text.contains(part)), "{part:?} ({reason})");
    }
    Ok(())
}

#[derive(Clone, Copy)]
struct Block {
    language: &'static str,
    text: &'static str,
}

/// What stands between fences.
fn blocks() -> impl Iterator<Item = Block> {
    README.split("```").skip(1).step_by(2).filter_map(|fenced| {
        let (language, text) = fenced.split_once('\n')?;
        Some(Block { language, text })
    })
}

/// Runs an example for the shell, where the README's reader stands.
async fn shell(folder: &Path, block: Block) -> Result<String> {
    let mut command = Command::new("bash");
    command.args(["-euo", "pipefail", "-c", block.text]).current_dir(folder);
    let output = output(&mut command).await?;
    ensure!(output.status.success(), "{}\n{output:?}", block.text);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs the example in Python, if there is httpx for it; whether there is.
async fn python(folder: &Path, block: Block) -> Result<bool> {
    let Some(python) = python_with_httpx(folder).await? else {
        skip("the README's example in Python", "pip must be able to install httpx, or python3 must have it");
        return Ok(false);
    };
    let file = write(folder, "example.py", block.text)?;
    let output = output(Command::new(python).arg(file).current_dir(folder)).await?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success() && said.contains("is in both stores\n1.000 memory:flood\n"), "{output:?}");
    Ok(true)
}

async fn python_with_httpx(folder: &Path) -> Result<Option<PathBuf>> {
    let system = PathBuf::from("python3");
    if output(Command::new(&system).args(["-c", "import httpx"])).await?.status.success() {
        return Ok(Some(system));
    }
    let environment = folder.join("python");
    let made = output(Command::new(&system).args(["-m", "venv"]).arg(&environment)).await?;
    let own = environment.join("bin/python");
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "httpx==0.28.1"];
    let installed = made.status.success() && output(Command::new(&own).args(install)).await?.status.success();
    Ok(installed.then_some(own))
}

/// Runs the example in Rust, which Cargo has built, and which must be the README's.
async fn rust(folder: &Path, block: Block) -> Result<()> {
    ensure!(
        EXAMPLE.ends_with(block.text),
        "crates/api/examples/readme.rs is not the README's example:\n{}",
        block.text
    );
    let example = built("examples/readme")?;
    let output = output(Command::new(example).current_dir(folder)).await?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success() && said.contains("is in both stores\n1.000 memory:neap\n"), "{output:?}");
    Ok(())
}

/// Runs a command in an environment in which the built programs are found, and no other daemon's socket.
async fn output(command: &mut Command) -> Result<Output> {
    let lockstep = built("lockstep")?;
    let programs = lockstep.parent().context("a folder of programs")?;
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", programs.display()));
    for name in ["LOCKSTEP_DATA", "LOCKSTEP_CONFIG", "LOCKSTEP_SOCKET"] {
        command.env_remove(name);
    }
    let run = command.kill_on_drop(true).output();
    let output = timeout(PATIENCE * 2, run).await.with_context(|| format!("{command:?} takes too long"))?;
    output.with_context(|| format!("{command:?}"))
}
