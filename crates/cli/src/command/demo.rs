//! `lockstep demo`

use std::fs;
use std::io::{self, Cursor, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use lockstep_api::{Ack, Client};
use serde_json::json;
use tempfile::TempDir;

use crate::bulk::{Fed, Feed, Input, Progress};
use crate::demo::{Finding, Lockstepd, Sample, find_lockstepd, prove};
use crate::failure::Failure;
use crate::output::Output;
use crate::session::Session;
use crate::text::{count, duration};

/// Watch nothing get lost: load a sample, kill the daemon in the middle, start it again, check
///
/// Starts lockstepd on embedded stores in a temporary directory, feeds it the sample that is part of this
/// program (12,911 operations of Debian 12's packages), kills it with SIGKILL when half of them are answered,
/// starts it again, lets the feed go on, and compares what the stores hold with the sample. Nothing is kept,
/// and a daemon that runs elsewhere is not touched.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The daemon to run [default: beside this program, else in PATH]
    #[arg(long, value_name = "PATH")]
    lockstepd: Option<PathBuf>,
    /// Use this directory, new or empty, and keep the data in it
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  lockstep demo
  lockstep demo --keep ./lockstep-demo

Exit codes: 0 nothing was lost, 1 something is wrong.";

/// The feed waits so long for the daemon that is started again.
const PATIENCE: Duration = Duration::from_secs(120);

impl Arguments {
    pub(crate) async fn run(self, session: &Session) -> Result<ExitCode, Failure> {
        // Ends by itself on Ctrl-C, so that the daemon and the directory go too.
        tokio::select! {
            ended = self.play(session.output) => ended,
            _ = tokio::signal::ctrl_c() => Err(Failure::Interrupted),
        }
    }

    async fn play(&self, output: Output) -> Result<ExitCode, Failure> {
        let place = Place::new(self.keep.as_deref())?;
        let program = find_lockstepd(self.lockstepd.clone());
        let (data, log) = (place.path().join("data"), place.path().join("lockstepd.log"));
        let client = Client::new(data.join("lockstep.sock"));
        let sample = Sample::load()?;
        let began = Instant::now();

        let daemon = Lockstepd::start(&program, &data, &log, &client).await?;
        output.line(format_args!("{} started on {}, ready", told(began), data.display()))?;

        let bytes = sample.operations.len() as u64;
        let feed = Feed {
            client: client.clone(),
            ack: Ack::Committed,
            patience: PATIENCE,
            input: Input::new(Cursor::new(sample.operations.clone()), false),
            progress: Progress::new(Some(bytes)),
        };
        let mut answered = feed.progress.answered();
        let half = sample.lines / 2;
        let feeding = tokio::spawn(feed.run());
        // The wait also ends when the feed does.
        let at_kill = answered.wait_for(|answered| *answered >= half).await.map(|answered| *answered).ok();
        daemon.kill().await?;
        let answered_by_then =
            at_kill.map_or_else(|| "the feed ended early".to_owned(), |n| format!("{} operations answered", count(n)));
        output.line(format_args!("{} killed with SIGKILL, {answered_by_then}", told(began)))?;

        let again = Instant::now();
        let daemon = Lockstepd::start(&program, &data, &log, &client).await?;
        let recovery_took = again.elapsed();
        output.line(format_args!("{} started again, ready after {}", told(began), duration(recovery_took)))?;

        let Fed { tally, took, failure } = feeding.await.map_err(|error| Failure::Child(io::Error::other(error)))?;
        output.line(format_args!("{} fed: {}", told(began), tally.summary(took)))?;
        if let Some(failure) = failure {
            return Err(failure);
        }
        let recovery = client.status().await?.into_body().recovery;
        output.line(format_args!(
            "{} the restart found {} operations under way: {} finished, {} rolled back, {} parked",
            told(began),
            count(recovery.finished + recovery.rolled_back + recovery.parked),
            count(recovery.finished),
            count(recovery.rolled_back),
            count(recovery.parked)
        ))?;

        let findings = prove(&client, &sample, &tally).await?;
        for Finding { right, said } in &findings {
            let mark = if *right { "ok   " } else { "WRONG" };
            output.line(format_args!("{} {mark} {said}", told(began)))?;
        }
        let stopped = daemon.stop().await?;
        let right = findings.iter().all(|finding| finding.right) && stopped.success() && at_kill.is_some();
        let verdict = if right { "nothing was lost" } else { "something is wrong" };
        let checks: Vec<_> =
            findings.iter().map(|finding| json!({"right": finding.right, "said": finding.said})).collect();
        let value = json!({
            "right": right, "answered_at_kill": at_kill, "restart_s": recovery_took.as_secs_f64(), "feed_s": took.as_secs_f64(),
            "total_s": began.elapsed().as_secs_f64(), "tally": tally, "recovery": recovery, "checks": checks,
            "kept": self.keep,
        });
        output.value(&value, format_args!("{} stopped ({stopped}): {verdict}{}", told(began), place.told()))?;
        if !right && self.keep.is_none() {
            output.warning("run it with --keep DIR to look at the data and at what lockstepd said");
        }
        Ok(if right { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// Where the demo plays: removed at the end, unless it is to be kept.
enum Place {
    Passing(TempDir),
    Kept(PathBuf),
}

impl Place {
    fn new(keep: Option<&Path>) -> Result<Self, Failure> {
        let Some(keep) = keep else {
            let unusable = |source| Failure::DemoDirectory { path: std::env::temp_dir(), source };
            return tempfile::Builder::new().prefix("lockstep-demo-").tempdir().map(Self::Passing).map_err(unusable);
        };
        let unusable = |source| Failure::DemoDirectory { path: keep.to_owned(), source };
        fs::create_dir_all(keep).map_err(unusable)?;
        if fs::read_dir(keep).map_err(unusable)?.next().is_some() {
            return Err(unusable(io::Error::new(ErrorKind::DirectoryNotEmpty, "it is not empty")));
        }
        Ok(Self::Kept(keep.to_owned()))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Passing(dir) => dir.path(),
            Self::Kept(dir) => dir,
        }
    }

    fn told(&self) -> String {
        match self {
            Self::Passing(_) => String::new(),
            Self::Kept(dir) => format!("; everything is kept in {}", dir.display()),
        }
    }
}

fn told(began: Instant) -> String {
    format!("{:>6.1} s ", began.elapsed().as_secs_f64())
}
