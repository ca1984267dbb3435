//! What the engine is told: plain data, one field for each key of the configuration that it heeds.

use std::collections::BTreeMap;
use std::time::Duration;

use lockstep_model::{Table, TableRules};

/// The engine's settings. The defaults are those of the configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Tables and collections that nobody configured are created on first use.
    pub auto_create: bool,
    /// What is configured, by table.
    pub tables: BTreeMap<Table, TableRules>,
    /// Who this is, in words for a human: host, process, socket.
    pub holder: String,
    /// Take the stores over from another log.
    pub adopt: bool,
    /// The stores are in this process: a start waits until they are claimed. Served ones are claimed when they answer.
    pub embedded: bool,
    /// `limits.group_ops`
    pub group_ops: usize,
    /// `wal.retain_committed_s`: how long what has ended stays in the log whole, where a store is served.
    pub retain_committed: Duration,
    /// `wal.retain_last`: how many of the last that ended stay for longer than that, where a store is served.
    pub retain_last: usize,
    /// How long after an unknown outcome a request may still be carried out: twice the longest timeout.
    pub late_after: Duration,
    /// `limits.batch_ops`
    pub batch_ops: usize,
    /// `limits.batch_bytes`
    pub batch_bytes: usize,
    /// What an image and what follows from it may take together: what is larger is refused at its turn. Below what the log
    /// takes as one entry.
    pub image_bytes: usize,
    /// `limits.open_ops`
    pub open_ops: usize,
    /// `limits.open_per_key`
    pub open_per_key: usize,
    /// `limits.stall_s`
    pub stall: Duration,
    /// `wal.max_bytes`
    pub max_bytes: u64,
    /// `wal.keep_finished_s`
    pub keep_finished: Duration,
    /// `wal.keep_finished_bytes`
    pub keep_finished_bytes: u64,
    /// `retry.max_attempts`
    pub max_attempts: u32,
    /// `retry.base_ms`
    pub retry_base: Duration,
    /// `retry.max_ms`
    pub retry_max: Duration,
    /// How long what has ended waits for a checkpoint.
    pub checkpoint_every: Duration,
    /// How many bytes of ended intents bring a checkpoint before its time.
    pub checkpoint_bytes: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            auto_create: true,
            tables: BTreeMap::new(),
            holder: "an embedded engine".to_owned(),
            adopt: false,
            embedded: true,
            group_ops: 1000,
            retain_committed: Duration::from_secs(900),
            retain_last: 100,
            late_after: Duration::from_secs(20),
            batch_ops: 128,
            batch_bytes: 16 << 20,
            image_bytes: 32 << 20,
            open_ops: 1_000_000,
            open_per_key: 10_000,
            stall: Duration::from_secs(60),
            max_bytes: 4 << 30,
            keep_finished: Duration::from_secs(86_400),
            keep_finished_bytes: 256 << 20,
            max_attempts: 10,
            retry_base: Duration::from_millis(100),
            retry_max: Duration::from_secs(30),
            checkpoint_every: Duration::from_secs(2),
            checkpoint_bytes: 32 << 20,
        }
    }
}
