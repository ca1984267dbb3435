//! `lockstepd`, the daemon.

#![recursion_limit = "256"]

use std::io::Write;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Error};
use lockstep_daemon::arguments::Command;
use lockstep_daemon::boot::{BootError, boot};
use lockstep_daemon::config::{ConfigError, Setup, Sources, load};
use lockstep_daemon::daemon::Surroundings;
use lockstep_daemon::notify::{Manager, watchdog};
use lockstep_daemon::reload::Reloader;
use lockstep_daemon::socket::{Activated, Unexpected};
use lockstep_daemon::{Arguments, Exit, metrics, preflight, signals, telemetry};
use tokio::runtime::{Builder, Runtime};

/// SurrealDB's futures recurse as deep as documents nest; 2 MiB are not enough for them in a debug build.
const STACK_BYTES: usize = 10 << 20;
/// How long the stores may take to close.
const STORES_CLOSE: Duration = Duration::from_secs(5);
/// What threads may still be at when everything has ended.
const LAST_WORDS: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    match run(&lockstep_api::help::parse::<Arguments>()) {
        Ok(exit) => exit.into(),
        Err(error) => {
            // Nobody to tell, nothing to do about it.
            let _ = writeln!(std::io::stderr(), "lockstepd: {error:#}");
            exit_of(&error).into()
        }
    }
}

fn exit_of(error: &Error) -> Exit {
    if let Some(error) = error.downcast_ref::<BootError>() {
        return error.exit();
    }
    if error.is::<ConfigError>() || error.is::<Unexpected>() { Exit::Usage } else { Exit::Failed }
}

fn run(arguments: &Arguments) -> Result<Exit, Error> {
    let activated = Activated::from_environment()?;
    let sources = Sources::new(arguments, std::env::var_os("CREDENTIALS_DIRECTORY").map(Into::into));
    let config = load(&sources, std::env::vars_os())?;
    let setup = Setup::new(&config, &sources)?;
    let level = telemetry::start(setup.log_format, &setup.log_level).context("daemon.log_level")?;
    match arguments.command {
        Some(Command::Check { json }) => check(setup, json),
        None => serve(setup, activated, Reloader::new(sources, config, level)),
    }
}

/// `lockstepd check`
fn check(setup: Setup, json: bool) -> Result<Exit, Error> {
    let runtime = runtime().context("cannot start threads")?;
    let checked = runtime.block_on(runtime.spawn(async move { preflight::check(&setup, json).await }));
    runtime.block_on(stores_have_closed());
    runtime.shutdown_timeout(LAST_WORDS);
    checked.context("the check's own task panicked")?.context("nobody reads what the check found")
}

/// `lockstepd`
fn serve(setup: Setup, activated: Activated, reloader: Reloader) -> Result<Exit, Error> {
    for warning in &setup.warnings {
        tracing::warn!("{warning}");
    }
    let asked = signals::listen().context("cannot listen to signals")?;
    let variable = |name| std::env::var(name).ok();
    let around = Surroundings {
        asked: asked.clone(),
        manager: Manager::from_variable(std::env::var_os("NOTIFY_SOCKET").as_deref()),
        watchdog: watchdog(variable("WATCHDOG_USEC").as_deref(), variable("WATCHDOG_PID").as_deref()),
        reloader,
    };
    // Before the engine reports to it.
    drop(metrics::registry());
    let runtime = runtime().context("cannot start threads")?;
    // On a thread of the runtime, for its stack.
    let daemon = runtime.spawn(async move {
        let booted = tokio::select! {
            booted = Box::pin(boot(setup, activated)) => booted?,
            () = asked.stop.cancelled() => return Ok(Exit::Stopped),
        };
        Ok::<Exit, BootError>(Box::pin(booted.run(around)).await)
    });
    let ended = runtime.block_on(daemon);
    runtime.block_on(stores_have_closed());
    runtime.shutdown_timeout(LAST_WORDS);
    Ok(ended.context("the daemon's own task panicked")??)
}

/// The stores' own tasks end by themselves once nobody holds the stores; cut short they complain. Nothing depends on it.
async fn stores_have_closed() {
    let tasks = tokio::runtime::Handle::current().metrics();
    let ended = async {
        while tasks.num_alive_tasks() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let _ = tokio::time::timeout(STORES_CLOSE, ended).await;
}

fn runtime() -> std::io::Result<Runtime> {
    let started = AtomicUsize::new(0);
    Builder::new_multi_thread()
        .enable_all()
        .thread_stack_size(STACK_BYTES)
        .thread_name_fn(move || format!("lockstepd-{}", started.fetch_add(1, Ordering::Relaxed)))
        .build()
}
