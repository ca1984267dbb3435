//! Types that JSON lacks.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lockstep_tests::directory::outside;
use lockstep_tests::wait::run;
use serde_json::json;

use crate::support::{commit, configured, fresh, problem};

/// Two tables in one collection: the first vector of either fixes its size, and admission does not know that for the other.
const SHARED: &str = "[tables.first]\ncollection = \"shared\"\n[tables.second]\ncollection = \"shared\"\n";

const TYPED: &str = "CREATE second:typed SET
    when = d'2026-01-29T12:34:56.123456789Z', link = person:7, deep = { link: person:`7`, list: [1.5dec, 2, 2.0] },
    name = u'018f7b9e-3b1a-7000-8000-000000000000', price = 12.3456789012345678901dec, raw = <bytes>'\\u0000tide',
    span = 1w2d3h4m5s6ms7us8ns, whole = 9007199254740993, half = 0.5, nothing = NULL,
    pair = [d'2000-01-01T00:00:00Z', u'018f7b9e-3b1a-7000-8000-000000000001'];";

const READ: &str = "SELECT * FROM ONLY second:typed";

/// P2: a record with types that JSON lacks, written by an application of its own, is patched through Lockstep, refused by Qdrant and
/// rolled back: SurrealDB itself then shows the very same record, every type included.
///
/// Fails when images pass through JSON: datetime, link, uuid, decimal, bytes and duration come back as strings.
#[test]
fn p2_an_undo_gives_back_every_type_that_json_lacks() -> Result<()> {
    run(async {
        let (folder, launch) = fresh()?;
        let launch = configured(folder.path(), launch, SHARED)?;
        let data = launch.folder().to_owned();
        outside(&data, TYPED).await?;
        let before = outside(&data, READ).await?;

        let daemon = launch.ready().await?;
        let client = daemon.client();
        commit(client, &json!({"op": "put", "key": "first:1", "document": {}, "vector": [1, 2, 3]})).await?;
        let patch =
            json!({"op": "patch", "key": "second:typed", "document": {"half": 1, "new": true}, "vector": [1, 2, 3, 4]});
        let problem = tokio::time::timeout(Duration::from_secs(40), problem(client, &patch)).await??;
        let seen = format!("{problem:?}");
        ensure!((problem.status, problem.code.as_str()) == (422, "rejected_by_qdrant"), "{seen}");
        ensure!(problem.state == Some(lockstep_model::State::RolledBack), "{seen}");
        let op_id = problem.op_id.with_context(|| seen.clone())?;
        let history = client.op_view(op_id).await?.into_body().history.unwrap_or_default();
        let states: Vec<&str> = history.iter().map(|step| step.state.as_str()).collect();
        ensure!(states == ["pending", "surreal_completed", "compensating", "rolled_back"], "{states:?}");
        daemon.terminate().await?;

        let after = outside(&data, READ).await?;
        ensure!(after == before, "before: {before:?}\nafter: {after:?}");
        Ok(())
    })
}

/// P2: a patch that succeeds leaves the types of the fields that it does not name.
/// Fails when the patched document is resolved from JSON.
#[test]
fn p2_a_patch_leaves_the_types_of_other_fields() -> Result<()> {
    run(async {
        let (_folder, launch) = fresh()?;
        let data = launch.folder().to_owned();
        outside(&data, TYPED).await?;
        let before = outside(&data, READ).await?;
        let daemon = launch.ready().await?;
        commit(
            daemon.client(),
            &json!({"op": "patch", "key": "second:typed", "document": {"half": 0.5}, "vector": [1, 2, 3]}),
        )
        .await?;
        daemon.terminate().await?;
        let text = "SELECT * OMIT _lockstep FROM ONLY second:typed";
        let after = outside(&data, text).await?;
        ensure!(after == before, "before: {before:?}\nafter: {after:?}");
        Ok(())
    })
}
