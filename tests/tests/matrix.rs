//! The failure matrix: every way in which a store can fail, times every kind of operation, against real servers.
//!
//! `LOCKSTEP_MATRIX` names a part of it, as in `surreal`, `qdrant/SIGSTOP` or `/slow`.

mod fault;
mod missing;
mod older;
mod outage;
mod refusal;
mod row;
mod scene;
mod sent;

use std::env;
use std::future::Future;
use std::pin::Pin;
use std::time::Instant;

use anyhow::{Result, bail};
use futures_util::{StreamExt, stream};
use lockstep_tests::budget::{number, say, skip};
use lockstep_tests::machine::is_root;
use lockstep_tests::servers::{Kind as Store, is_ours};
use lockstep_tests::wait::run;

use self::fault::{FAULTS, Fault};
use self::row::Row;

/// So many rows run side by side: most of a row is waiting.
const AT_ONCE: usize = 2;

type Work = Pin<Box<dyn Future<Output = Result<Row>> + Send>>;

/// The rows that can be run here, with their names.
fn rows() -> Vec<(String, Work)> {
    let part = env::var("LOCKSTEP_MATRIX").unwrap_or_default();
    let mut rows: Vec<(String, Work)> = Vec::new();
    for store in [Store::Surreal, Store::Qdrant] {
        let mut add = |name: &str, ours: bool, work: Work| {
            let name = format!("{}/{name}", format!("{store:?}").to_lowercase());
            if !name.contains(&part) {
                return;
            }
            if ours && !is_ours(store) {
                skip(
                    &format!("failure matrix, {name}"),
                    "unset SURREAL_URL and QDRANT_URL: it needs a server of its own",
                );
            } else {
                rows.push((name, work));
            }
        };
        for fault in FAULTS {
            if fault == Fault::DiskFull && store == Store::Surreal && !is_root() {
                skip("failure matrix, surreal/full disk", "run as root: it mounts a small disk");
                continue;
            }
            add(&fault.to_string(), !fault.spares_the_server(), Box::pin(outage::row(store, fault)));
        }
        add("older copy", true, Box::pin(older::row(store)));
        add("missing", false, Box::pin(missing::row(store)));
        add("refusal", false, Box::pin(refusal::row(store)));
    }
    rows
}

/// On a task of its own: a panic ends one row.
async fn finished(name: String, work: Work) -> (String, Result<Row>) {
    let row = tokio::spawn(work).await;
    (name, row.map_err(anyhow::Error::from).flatten())
}

/// P1, P2, P3, P5, P7: an operation that was acknowledged as committed is in both stores after every fault; one that was logged is in
/// both, or in neither and says why; everything has ended within 5 s of the store's return. Where one operation is refused, its
/// neighbours commit; where one table is missing, the others go on. Read past the daemon, from the servers themselves.
///
/// Fails when an outage is taken for a refusal, a lost answer for success or failure, a half-open connection for a slow one, or
/// when what a store has lost is not written again.
#[test]
fn p1_p2_p5_the_failure_matrix() -> Result<()> {
    run(async {
        let at_once = number("LOCKSTEP_MATRIX_AT_ONCE", AT_ONCE)?;
        let begun = Instant::now();
        let running: Vec<_> = rows().into_iter().map(|(name, work)| finished(name, work)).collect();
        let ran: Vec<_> = stream::iter(running).buffered(at_once.max(1)).collect().await;
        let (mut rows, mut failed) = (Vec::new(), Vec::new());
        for (name, row) in ran {
            match row {
                Ok(row) => rows.push(row),
                Err(error) => failed.push(format!("{name}: {error:?}")),
            }
        }
        say(format!("{}{} rows in {:.0} s", row::table(&rows), rows.len(), begun.elapsed().as_secs_f64()));
        if !failed.is_empty() {
            bail!("{} rows failed:\n{}", failed.len(), failed.join("\n\n"));
        }
        Ok(())
    })
}
