//! Asking the stores, through the daemon, whether all of the sample is there.

use lockstep_api::{Client, QueryRequest, SearchRequest};
use serde_json::{Value, json};

use crate::bulk::Tally;
use crate::demo::Sample;
use crate::failure::Failure;
use crate::text::count;

/// Every so many keys one is compared in both stores.
const COMPARED: usize = 10;
/// Of the ten nearest, so many must be found on average: the index of a vector store may be approximate.
const LEAST_NEAREST: f64 = 9.5;
/// Of the searches that lack some, so many are named.
const TOLD: usize = 3;

/// One question, and whether the answer is right.
#[derive(Debug)]
pub(crate) struct Finding {
    pub(crate) right: bool,
    pub(crate) said: String,
}

/// Asks everything.
pub(crate) async fn prove(client: &Client, sample: &Sample, tally: &Tally) -> Result<Vec<Finding>, Failure> {
    Ok(vec![
        Finding {
            right: tally.all_committed() && tally.lines == sample.lines,
            said: format!("{} of {} operations committed", count(tally.committed), count(sample.lines)),
        },
        counted(client, "package", "documents", sample.keys.len() as u64).await?,
        counted(client, "depends_on", "edges", sample.edges).await?,
        agreeing(client, sample).await?,
        nearest(client, sample).await?,
        open(client).await?,
    ])
}

async fn counted(client: &Client, table: &str, what: &str, expected: u64) -> Result<Finding, Failure> {
    let query = format!("SELECT count() FROM {table} GROUP ALL");
    let answer = client.query(&QueryRequest { query, vars: None }).await?;
    let found = answer.results.first().and_then(|rows| rows.pointer("/0/count")).and_then(Value::as_u64);
    let said = found.map_or_else(|| "an unknown number".to_owned(), |found| count(found).to_string());
    Ok(Finding { right: found == Some(expected), said: format!("{said} of {} {what} in SurrealDB", count(expected)) })
}

async fn agreeing(client: &Client, sample: &Sample) -> Result<Finding, Failure> {
    let (mut compared, mut consistent) = (0, 0);
    for key in sample.keys.iter().step_by(COMPARED) {
        let entity = client.entity(key).await?;
        compared += 1;
        consistent += u64::from(entity.verdict == "consistent" && entity.surreal.version == entity.qdrant.version);
    }
    let said =
        format!("{} of {} keys compared are the same version in both stores", count(consistent), count(compared));
    Ok(Finding { right: consistent == compared, said })
}

async fn nearest(client: &Client, sample: &Sample) -> Result<Finding, Failure> {
    let (mut wanted, mut found, mut incomplete) = (0, 0, Vec::new());
    for query in &sample.queries {
        let request = SearchRequest {
            table: query.table.clone(),
            vector: json!(query.vector),
            using: None,
            limit: Some(10),
            filter: None,
            with_document: false,
        };
        let answer = client.search(&request).await?;
        let hits = answer.hits.iter().filter(|hit| query.top10.contains(&hit.key)).count();
        if hits < query.top10.len() {
            incomplete.push(format!("{:?}", query.text));
        }
        wanted += query.top10.len();
        found += hits;
    }
    let right = found as f64 >= LEAST_NEAREST * sample.queries.len() as f64;
    let mut said =
        format!("{found} of {wanted} nearest neighbours found by {} searches in Qdrant", sample.queries.len());
    if !incomplete.is_empty() {
        let told = incomplete.len().min(TOLD);
        said = format!("{said}; {} searches lack some, as {}", incomplete.len(), incomplete[..told].join(", "));
    }
    Ok(Finding { right, said })
}

async fn open(client: &Client) -> Result<Finding, Failure> {
    let wal = client.status().await?.into_body().wal;
    let said = format!("{} operations open, {} parked", count(wal.open_ops), count(wal.parked));
    Ok(Finding { right: wal.open_ops == 0 && wal.parked == 0, said })
}
