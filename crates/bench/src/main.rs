//! `lockstep-bench`: what does both-or-neither cost? The same documents, edges and vectors, written by a plain batched loop and by
//! Lockstep, one after the other on the same machine and the same kinds of stores: embedded ones, or with `--served` the same servers.
//! What counts is the ratio.

#![recursion_limit = "256"]
#![expect(clippy::print_stdout, reason = "a benchmark prints its results")]

mod lockstep;
mod plain;
mod served;

use anyhow::Result;
use clap::Parser;
use lockstep_tests::sample::Sample;
use serde_json::json;

/// Compares committed operations a second of a plain batched loop and of Lockstep.
///
/// Reads the sample that LOCKSTEP_SAMPLE names (a folder), else the cut in the repository.
///
/// Examples:
///   lockstep-bench
///   LOCKSTEP_SAMPLE=../sample lockstep-bench --json
///   lockstep-bench --served --operations 20000
#[derive(Debug, Parser)]
#[command(version, verbatim_doc_comment)]
struct Arguments {
    /// One JSON document instead of text.
    #[arg(long)]
    json: bool,
    /// How many operations are sent one at a time.
    #[arg(long, default_value_t = 500)]
    singles: usize,
    /// So many times each contender loads the sample; the best time counts.
    #[arg(long, default_value_t = 1)]
    rounds: usize,
    /// On servers instead of embedded stores: the tests' own, or those that SURREAL_URL and QDRANT_URL name.
    #[arg(long)]
    served: bool,
    /// How many operations the eight clients send together, with --served.
    #[arg(long, default_value_t = 20_000, requires = "served")]
    operations: usize,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    // SurrealDB's futures are deep in a debug build.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_stack_size(10 << 20).build()?;
    runtime.block_on(async {
        let sample = match Sample::whole()? {
            Some(sample) => sample,
            None => Sample::cut()?,
        };
        if arguments.served {
            return served(&arguments, &sample).await;
        }
        let operations = sample.parsed()?;
        let (mut plain, mut bulk) = (f64::INFINITY, f64::INFINITY);
        for _ in 0..arguments.rounds.max(1) {
            plain = plain.min(plain::load(&operations).await?.as_secs_f64());
            bulk = bulk.min(lockstep::load(&sample.operations, operations.len()).await?.as_secs_f64());
        }
        let latency = lockstep::singles(arguments.singles).await?;
        #[expect(clippy::cast_precision_loss, reason = "a count of lines")]
        let count = operations.len() as f64;
        let build = if cfg!(debug_assertions) { "debug" } else { "release" };
        if arguments.json {
            let report = json!({
                "build": build, "operations": operations.len(), "plain_per_s": count / plain, "lockstep_per_s": count / bulk,
                "ratio": plain / bulk, "single_p50_ms": latency.p50_ms, "single_p99_ms": latency.p99_ms,
            });
            println!("{report}");
        } else {
            println!("{build} build, {} operations, embedded stores", operations.len());
            println!("plain batched loop   {:>9.0} operations a second", count / plain);
            println!("lockstep bulk        {:>9.0} operations a second", count / bulk);
            println!("ratio                {:>9.2}", plain / bulk);
            println!("one at a time        {:>9.1} ms p50, {:.1} ms p99", latency.p50_ms, latency.p99_ms);
        }
        Ok(())
    })
}

async fn served(arguments: &Arguments, sample: &Sample) -> Result<()> {
    let (mut plain, mut lockstep, mut operations) = (f64::INFINITY, f64::INFINITY, 0);
    for _ in 0..arguments.rounds.max(1) {
        let times = Box::pin(served::load(sample, arguments.operations)).await?;
        plain = plain.min(times.plain.as_secs_f64());
        lockstep = lockstep.min(times.lockstep.as_secs_f64());
        operations = times.operations;
    }
    #[expect(clippy::cast_precision_loss, reason = "a count of lines")]
    let count = operations as f64;
    let build = if cfg!(debug_assertions) { "debug" } else { "release" };
    if arguments.json {
        let report = json!({
            "build": build, "operations": operations, "plain_served_per_s": count / plain,
            "lockstep_served_per_s": count / lockstep, "ratio": plain / lockstep,
        });
        println!("{report}");
    } else {
        println!("{build} build, {operations} operations, the same servers");
        println!("plain batched loop   {:>9.0} operations a second", count / plain);
        println!("lockstep, 8 clients  {:>9.0} operations a second", count / lockstep);
        println!("ratio                {:>9.2}", plain / lockstep);
    }
    Ok(())
}
