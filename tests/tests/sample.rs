//! Real input, whole: the cut in the repository always, the whole sample where the run has it.

use std::collections::BTreeSet;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use lockstep_api::Client;
use lockstep_tests::budget::{say, skip};
use lockstep_tests::program::built;
use lockstep_tests::sample::{Sample, Sampled};
use lockstep_tests::wait::run;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::{fresh, nearest, query};

/// P2: `lockstep bulk` commits every line of the cut, both stores hold all of it, and searches find what they should.
/// Fails when a line is lost between the client's reading and the stores, or an edge is written twice.
#[test]
fn p2_the_cut_of_the_sample_is_complete_and_searchable() -> Result<()> {
    run(async { fed("the cut", Sample::cut()?).await })
}

/// P2: the same with the whole sample.
#[test]
fn p2_the_whole_sample_is_complete_and_searchable() -> Result<()> {
    run(async {
        let Some(sample) = Sample::whole()? else {
            skip("the whole sample", "name its folder in LOCKSTEP_SAMPLE");
            return Ok(());
        };
        fed("the whole sample", sample).await
    })
}

async fn fed(name: &str, sample: Sample) -> Result<()> {
    let (folder, launch) = fresh()?;
    let daemon = launch.ready().await?;
    let file = folder.path().join("operations.ndjson");
    std::fs::write(&file, &sample.operations)?;
    let began = Instant::now();
    let fed = Command::new(built("lockstep")?)
        .arg("--socket")
        .arg(daemon.client().socket())
        .args(["--json", "bulk"])
        .arg(&file)
        .kill_on_drop(true)
        .output()
        .await?;
    let took = began.elapsed().as_secs_f64();
    let (out, err) = (String::from_utf8_lossy(&fed.stdout), String::from_utf8_lossy(&fed.stderr));
    ensure!(fed.status.success(), "lockstep bulk ended with {}: {out} {err}", fed.status);

    let operations = sample.parsed()?;
    let mut keys = BTreeSet::new();
    let mut edges = BTreeSet::new();
    for operation in &operations {
        match operation {
            Sampled::Put { key, .. } => drop(keys.insert(key.clone())),
            Sampled::Relate { edge, from, to } => drop(edges.insert((edge.clone(), from.clone(), to.clone()))),
        }
    }
    let client = daemon.client();
    let committed = client.status().await?.totals.committed;
    ensure!(committed == operations.len() as u64, "{committed} of {} operations committed", operations.len());
    for (table, expected) in [("package", keys.len()), ("depends_on", edges.len())] {
        let counted = query(client, &format!("SELECT count() FROM {table} GROUP ALL")).await?;
        ensure!(counted.pointer("/0/count") == Some(&json!(expected)), "{table}: {counted}, not {expected}");
    }
    same_edges(client, &edges).await?;
    let (found, wanted) = recall(client, &sample).await?;
    say(format!(
        "{name}: {committed} operations committed in {took:.1} s ({:.0} a second), {} edges, {found} of {wanted} neighbours found",
        operations.len() as f64 / took,
        edges.len()
    ));
    ensure!(found * 10 >= wanted * 95 / 10, "{found} of {wanted} neighbours");
    for key in keys.iter().step_by(97) {
        let entity = client.entity(key).await?;
        ensure!(entity.verdict == "consistent" && entity.surreal.version == entity.qdrant.version, "{entity:?}");
    }
    daemon.terminate().await.map(drop)
}

async fn same_edges(client: &Client, edges: &BTreeSet<(String, String, String)>) -> Result<()> {
    let rows = query(client, "SELECT in, out FROM depends_on").await?;
    let end = |row: &Value, name: &str| Some(row.get(name)?.get("$record")?.as_str()?.to_owned());
    let mut held = BTreeSet::new();
    for row in rows.as_array().context("no rows")? {
        let from = end(row, "in").with_context(|| row.to_string())?;
        let to = end(row, "out").with_context(|| row.to_string())?;
        held.insert(("depends_on".to_owned(), from, to));
    }
    ensure!(held == *edges, "the edges in SurrealDB are not those of the file");
    Ok(())
}

async fn recall(client: &Client, sample: &Sample) -> Result<(usize, usize)> {
    let (mut found, mut wanted) = (0, 0);
    for asked in &sample.queries {
        let hits = nearest(client, &asked.table, json!(asked.vector), 10).await?;
        wanted += asked.top10.len();
        found += asked.top10.iter().filter(|key| hits.contains(key)).count();
    }
    Ok((found, wanted))
}
