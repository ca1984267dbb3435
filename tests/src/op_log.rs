//! What the log of a dead daemon says, as `wal-tools` reads it without changing a byte (P8).

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use lockstep_model::{OpId, State};
use serde::Deserialize;
use tokio::process::Command;

use crate::program::built;

#[derive(Deserialize)]
struct Row {
    op_id: OpId,
    state: State,
}

/// The state of every operation that the log below `data` still knows, newest first up to `limit`.
///
/// # Errors
/// If wal-tools finds anything wrong with the log.
pub async fn states(data: &Path, limit: usize) -> Result<BTreeMap<OpId, State>> {
    let limit = limit.to_string();
    let output = Command::new(built("wal-tools")?)
        .arg("--data")
        .arg(data)
        .args(["--json", "list", "--limit", &limit])
        .kill_on_drop(true)
        .output()
        .await
        .context("wal-tools")?;
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "wal-tools list ended with {}: {err}", output.status);
    let rows = out.lines().filter(|line| !line.trim().is_empty());
    rows.map(|line| {
        let row: Row = serde_json::from_str(line).with_context(|| format!("a line of wal-tools list: {line}"))?;
        Ok((row.op_id, row.state))
    })
    .collect()
}
