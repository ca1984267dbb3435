//! `lockstep`: the command line of Lockstep.
//!
//! Every command is a file of its name in `command`. It reads its arguments, asks the daemon over its
//! socket, and prints the answer: as the daemon wrote it with `--json`, for people otherwise. Answers go to
//! stdout, errors to stderr. Exit codes: 0 done, 1 not done, 2 usage.
//!
//! Nothing here knows the log or the stores: what the daemon does not say, this program does not know.

mod arguments;
mod bulk;
mod clearing;
mod command;
mod decision;
mod demo;
mod failure;
mod json_argument;
mod operation;
mod output;
mod session;
mod text;
mod waiting;

use std::process::ExitCode;

use crate::arguments::Arguments;
use crate::failure::Failure;
use crate::output::Output;

fn main() -> ExitCode {
    let arguments = lockstep_api::help::parse::<Arguments>();
    let output = Output::new(arguments.json);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(source) => return output.failure(&Failure::Runtime(source)),
    };
    let outcome = runtime.block_on(arguments.run(output));
    // Not waited for: a thread that still reads a silent stdin would hold the exit back.
    runtime.shutdown_background();
    outcome.unwrap_or_else(|failure| output.failure(&failure))
}
