//! What every command says of a log in every condition, held as files: `tests/golden/<condition>.txt`.
//!
//! `LOCKSTEP_GOLDEN=write` writes them anew; read what changed before you commit it. What depends on the moment (ages) is
//! replaced. Every look also sees that no byte of the directory changes, and every answer in JSON is
//! held against its schema.

use std::env;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::live::live;
use crate::logs::{CONDITIONS, in_condition};
use crate::schema::holds;
use crate::support::{Said, contents, run};

/// The commands, and the schema of what each says with `--json`.
pub(crate) const COMMANDS: [(&str, &str); 9] = [
    ("status", "status"),
    ("list", "list"),
    ("list --state parked --limit 5", "list"),
    ("show 2", "show"),
    ("explain 2", "explain"),
    ("plan", "plan"),
    ("plan --all --limit 3", "plan"),
    ("verify", "verify"),
    ("dump", "dump"),
];

/// In the log with an operation in each state, each is explained.
const EACH: [&str; 10] = [
    "explain 8",
    "explain 12",
    "show 12",
    "explain 17",
    "explain 20",
    "explain 23",
    "explain 25",
    "explain 28",
    "explain 30",
    "explain 31",
];

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.txt"))
}

/// Without what another moment would say: `for 3h`, `(3h ago)`, and the column of ages in a list, whatever its width.
fn timeless(text: &str) -> String {
    let is_age = |word: &str| {
        let bare = word.trim_start_matches('(').trim_end_matches([')', ',']);
        bare.strip_suffix(['s', 'm', 'h', 'd']).is_some_and(|number| number.parse::<u64>().is_ok())
    };
    let mut all = String::new();
    for line in text.lines() {
        let mut said = String::new();
        for word in line.split(' ') {
            let is_said = is_age(word) && (said.ends_with("for ") || line.contains(" ago)"));
            let is_in_row = is_age(word) && line.starts_with(' ') && said.len() < 60;
            if is_in_row {
                said.truncate(said.trim_end().len());
                said.push_str("  AGE ");
            } else if is_said {
                said.push_str("AGE ");
            } else {
                said.push_str(word);
                said.push(' ');
            }
        }
        all.push_str(said.strip_suffix(' ').unwrap_or(&said));
        all.push('\n');
    }
    all
}

/// Runs the program beside the log, so that paths are the same everywhere, and sees that no byte changes.
fn at(log: &Path, arguments: &[&str]) -> Said {
    let before = contents(log);
    let mut command = Command::new(env!("CARGO_BIN_EXE_wal-tools"));
    let said = run(command.args(["--wal", "./wal"]).args(arguments).current_dir(log.parent().unwrap()));
    assert_eq!(contents(log), before, "{arguments:?} changed the directory");
    said
}

/// Ages are numbers in JSON.
fn timeless_json(text: &str) -> String {
    let parse = |line: &str| -> Value {
        let mut value: Value = serde_json::from_str(line).unwrap();
        if let Some(age) = value.pointer_mut("/wal/oldest_open_age_s").filter(|age| age.is_number()) {
            *age = "AGE".into();
        }
        value
    };
    text.lines().map(|line| format!("{:#}\n", parse(line))).collect()
}

fn write_down(all: &mut String, command: &str, said: &Said, out: &str) {
    write!(all, "$ wal-tools {command}\n{out}").unwrap();
    if !said.err.is_empty() {
        said.err.lines().for_each(|line| writeln!(all, "stderr: {line}").unwrap());
    }
    writeln!(all, "exit {}\n", said.code).unwrap();
}

#[test]
fn every_command_says_what_it_said_of_every_log() {
    for condition in CONDITIONS {
        let (_place, log) = in_condition(condition);
        let mut all = String::new();
        let each = EACH.iter().filter(|_| condition == "every_state").map(|command| (*command, ""));
        for (command, schema) in COMMANDS.into_iter().chain(each) {
            let arguments: Vec<&str> = command.split(' ').collect();
            let said = at(&log, &arguments);
            if command.starts_with("dump") {
                said.lines().iter().for_each(|line| holds(schema, line));
            } else {
                said.fits();
            }
            write_down(&mut all, command, &said, &timeless(&said.out));
            let said = at(&log, &[&["--json"], &arguments[..]].concat());
            let schema = command.split(' ').next().unwrap();
            said.lines().iter().for_each(|line| holds(schema, line));
            if said.code == 3 {
                holds("failure", &serde_json::from_str(&said.err).unwrap());
            }
            if condition == "every_state" && !command.contains(' ') {
                let out = timeless_json(&said.out);
                write_down(&mut all, &format!("--json {command}"), &said, &out);
            }
        }
        compare(condition, &all);
    }
}

#[test]
fn every_command_says_what_it_said_of_a_log_that_a_daemon_has() {
    let mut log = live();
    log.put("memory:01");
    let (socket, pid) = (log.socket().display().to_string(), std::process::id().to_string());
    let mut all = String::new();
    for command in ["status", "list", "show 2", "explain 2", "plan", "dump"] {
        let mut said = at(&log.path(), &command.split(' ').collect::<Vec<_>>());
        said.err = said.err.replace(&format!("process {pid}"), "process PID");
        let out = timeless(&said.out).replace(&socket, "SOCKET");
        write_down(&mut all, command, &said, &out);
    }
    log.close();
    compare("held", &all);
}

/// Compares with what was said before, or keeps it.
fn compare(name: &str, all: &str) {
    let file = golden(name);
    if env::var_os("LOCKSTEP_GOLDEN").is_some_and(|what| what == "write") {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, all).unwrap();
    }
    let kept = fs::read_to_string(&file).unwrap_or_default();
    for (place, (was, is)) in kept.lines().zip(all.lines()).enumerate() {
        assert_eq!(was, is, "line {} of {}", place + 1, file.display());
    }
    assert_eq!(kept.lines().count(), all.lines().count(), "{}", file.display());
}
