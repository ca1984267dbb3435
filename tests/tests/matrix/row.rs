//! A row of the table: one fault of one store, the five kinds of operations beside it.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lockstep_api::Client;
use lockstep_tests::servers::Kind as Store;

use super::scene::{KINDS, Kind};
use super::sent::{End, Ends};

/// What a row came to.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) store: Store,
    pub(crate) name: String,
    pub(crate) cells: BTreeMap<Kind, String>,
    /// From the store's return to the last end.
    pub(crate) drained: Option<Duration>,
}

impl Row {
    pub(crate) fn new(store: Store, name: impl fmt::Display, ends: &Ends, drained: Option<Duration>) -> Self {
        let cells = ends.iter().map(|(kind, ends)| (*kind, summary(ends))).collect();
        Self { store, name: name.to_string(), cells, drained }
    }
}

fn summary(ends: &[End]) -> String {
    let mut text = String::new();
    let committed = ends.iter().filter(|end| **end == End::Committed).count();
    if committed > 0 {
        // A String takes everything.
        let _ = write!(text, "{committed} committed");
    }
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for end in ends {
        if let End::RolledBack(code) = end {
            *reasons.entry(code).or_default() += 1;
        }
    }
    for (code, count) in reasons {
        let _ = write!(text, "{}{count} {code}", if text.is_empty() { "" } else { ", " });
    }
    text
}

/// Everything that is open has ended within `limit`; how long it took.
pub(crate) async fn drain(client: &Client, limit: Duration) -> Result<Duration> {
    let begun = Instant::now();
    let barrier = client.barrier(Some(limit)).await;
    let took = begun.elapsed();
    if !barrier.as_ref().is_ok_and(|answer| answer.status == 200) {
        let open = client.ops(&lockstep_api::OpsFilter::default()).await?.into_body().ops;
        let open: Vec<_> = open.into_iter().filter(|op| op.state.is_open()).collect();
        let status = client.status().await?.into_body();
        ensure!(false, "not drained after {limit:?}: {open:#?}\n{:?}", status.stores);
    }
    Ok(took)
}

/// All must have been committed.
pub(crate) fn all_committed(ends: &Ends) -> Result<()> {
    for kind in KINDS {
        let ends = ends.get(&kind).with_context(|| format!("no {kind}"))?;
        ensure!(ends.iter().all(|end| *end == End::Committed), "{kind}: {ends:?}");
    }
    Ok(())
}

/// The table as text.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut text = String::from("failure matrix\n");
    let _ = write!(text, "{:<8} {:<28}", "store", "fault");
    for kind in KINDS {
        let _ = write!(text, " {kind:<27}");
    }
    text.push_str(" drained\n");
    for row in rows {
        let _ = write!(text, "{:<8} {:<28}", format!("{:?}", row.store), row.name);
        for kind in KINDS {
            let _ = write!(text, " {:<27}", row.cells.get(&kind).map_or("-", String::as_str));
        }
        let drained = row.drained.map_or_else(|| "-".to_owned(), |took| format!("{:.1} s", took.as_secs_f64()));
        let _ = writeln!(text, " {drained}");
    }
    text
}
