//! Every key but the tables', and what its text in the environment is read as.

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A text, a path, a mode or a name.
    Text,
    /// An integer from 0 on.
    Whole,
    /// [`super::Size`]
    Size,
    /// True or false.
    Bool,
}

/// Section, key, and what its value is. The tables' keys are those of [`lockstep_model::TableRules`]; they stand in the
/// file only.
pub const KEYS: [(&str, &str, Kind); 39] = [
    ("daemon", "socket", Kind::Text),
    ("daemon", "socket_mode", Kind::Text),
    ("daemon", "shutdown_grace_s", Kind::Whole),
    ("daemon", "metrics_listen", Kind::Text),
    ("daemon", "auto_create", Kind::Bool),
    ("daemon", "log_level", Kind::Text),
    ("daemon", "log_format", Kind::Text),
    ("wal", "dir", Kind::Text),
    ("wal", "max_bytes", Kind::Size),
    ("wal", "reserve_bytes", Kind::Size),
    ("wal", "retain_committed_s", Kind::Whole),
    ("wal", "retain_last", Kind::Whole),
    ("wal", "keep_finished_s", Kind::Whole),
    ("wal", "keep_finished_bytes", Kind::Size),
    ("surreal", "endpoint", Kind::Text),
    ("surreal", "namespace", Kind::Text),
    ("surreal", "database", Kind::Text),
    ("surreal", "auth", Kind::Text),
    ("surreal", "user", Kind::Text),
    ("surreal", "password_file", Kind::Text),
    ("surreal", "token_file", Kind::Text),
    ("surreal", "ca_file", Kind::Text),
    ("surreal", "timeout_s", Kind::Whole),
    ("qdrant", "endpoint", Kind::Text),
    ("qdrant", "api_key_file", Kind::Text),
    ("qdrant", "ca_file", Kind::Text),
    ("qdrant", "timeout_s", Kind::Whole),
    ("qdrant", "ordering", Kind::Text),
    ("retry", "max_attempts", Kind::Whole),
    ("retry", "base_ms", Kind::Whole),
    ("retry", "max_ms", Kind::Whole),
    ("limits", "op_bytes", Kind::Size),
    ("limits", "group_ops", Kind::Whole),
    ("limits", "batch_ops", Kind::Whole),
    ("limits", "batch_bytes", Kind::Size),
    ("limits", "open_ops", Kind::Whole),
    ("limits", "open_per_key", Kind::Whole),
    ("limits", "connections", Kind::Whole),
    ("limits", "stall_s", Kind::Whole),
];
