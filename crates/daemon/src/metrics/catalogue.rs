//! Every metric: its name, its kind, and what it says.

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Kind {
    /// Goes up, and starts from 0 with the process.
    Counter,
    /// What is so now.
    Gauge,
    /// How often values fell below each of these bounds.
    Histogram(&'static [f64]),
}

/// One metric.
#[derive(Debug, Clone, Copy)]
pub(super) struct Metric {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) help: &'static str,
}

const fn metric(name: &'static str, kind: Kind, help: &'static str) -> Metric {
    Metric { name, kind, help }
}

/// From a group commit on a fast disk to a store that is about to be given up.
const SECONDS: Kind = Kind::Histogram(&[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
]);
const OPERATIONS: Kind = Kind::Histogram(&[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0]);

/// What engine and log report as it happens.
pub(super) const REPORTED: [Metric; 5] = [
    metric("lockstep_ops_total", Kind::Counter, "Operations that ended, by kind and outcome."),
    metric(
        "lockstep_stage_seconds",
        SECONDS,
        "How long operations took: until durably logged, in SurrealDB, in Qdrant, and from being taken to ended (total).",
    ),
    metric(
        "lockstep_attempts_total",
        Kind::Counter,
        "Attempts of operations that failed, by store and by what the failure means.",
    ),
    metric("lockstep_batch_ops", OPERATIONS, "Operations in one store call, by store."),
    metric("lockstep_log_fsync_seconds", SECONDS, "How long a durable write of the log took."),
];

/// What is read from the status when somebody asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Figure {
    BuildInfo,
    StartTime,
    Ready,
    OpenOps,
    ParkedOps,
    OldestOpen,
    StoreState,
    StoreDown,
    StoreLosses,
    PausedTables,
    CheckpointLag,
    LastLsn,
    LogBytes,
    LogLiveBytes,
    LogFreeBytes,
    LogFlushes,
    Covered,
    Verifying,
    RecoveryDone,
    AuditNeeded,
    Connections,
}

impl Figure {
    /// All of them, in the order in which they are shown.
    pub(super) const ALL: [Self; 21] = [
        Self::BuildInfo,
        Self::StartTime,
        Self::Ready,
        Self::OpenOps,
        Self::ParkedOps,
        Self::OldestOpen,
        Self::StoreState,
        Self::StoreDown,
        Self::StoreLosses,
        Self::PausedTables,
        Self::CheckpointLag,
        Self::LastLsn,
        Self::LogBytes,
        Self::LogLiveBytes,
        Self::LogFreeBytes,
        Self::LogFlushes,
        Self::Covered,
        Self::Verifying,
        Self::RecoveryDone,
        Self::AuditNeeded,
        Self::Connections,
    ];

    /// What it is called, and what it says.
    pub(super) const fn metric(self) -> Metric {
        let (name, help) = match self {
            Self::BuildInfo => ("lockstep_build_info", "1, with the version of the daemon as a label."),
            Self::StartTime => ("lockstep_start_time_seconds", "When the daemon started, in seconds since 1970."),
            Self::Ready => ("lockstep_ready", "1 while /readyz answers 200, else 0."),
            Self::OpenOps => ("lockstep_open_ops", "Operations that have not ended and are not parked, by state."),
            Self::ParkedOps => ("lockstep_parked_ops", "Operations that wait for an operator."),
            Self::OldestOpen => {
                ("lockstep_oldest_open_op_seconds", "Age of the oldest open operation. No sample while none is open.")
            }
            Self::StoreState => (
                "lockstep_store_state",
                "1 for the state that a store's breaker is in, 0 for the others: up, down, paused, unknown.",
            ),
            Self::StoreDown => {
                ("lockstep_store_down_seconds", "For how long a store has been down. No sample while it is not.")
            }
            Self::StoreLosses => (
                "lockstep_store_losses_total",
                "Connections that broke, and other signs that a store may have lost what it acknowledged.",
            ),
            Self::PausedTables => {
                ("lockstep_paused_tables", "Tables whose work stands still for an operator or a missing table.")
            }
            Self::CheckpointLag => (
                "lockstep_checkpoint_lag_records",
                "Records from the first operation that has not left the log to the last record.",
            ),
            Self::LastLsn => ("lockstep_log_last_lsn", "The last record of the log."),
            Self::LogBytes => ("lockstep_log_bytes", "What the log's files take on disk, without the ballast."),
            Self::LogLiveBytes => ("lockstep_log_live_bytes", "Payload of the operations that the log holds."),
            Self::LogFreeBytes => {
                ("lockstep_log_free_bytes", "Free bytes on the log's disk. No sample where that is not known.")
            }
            Self::LogFlushes => ("lockstep_log_flushes_total", "Durable writes of the log."),
            Self::Covered => (
                "lockstep_covered_seconds",
                "How far back the log holds what it gave to the stores. No sample where nothing is retained.",
            ),
            Self::Verifying => {
                ("lockstep_verifying_ops", "Committed operations that both stores still have to be looked at for.")
            }
            Self::RecoveryDone => {
                ("lockstep_recovery_done", "1 when everything that the last start found open has ended.")
            }
            Self::AuditNeeded => ("lockstep_audit_needed", "1 if only an audit can tell what the stores hold."),
            Self::Connections => ("lockstep_connections", "Open connections to the socket."),
        };
        let kind = match self {
            Self::StoreLosses | Self::LogFlushes => Kind::Counter,
            Self::BuildInfo
            | Self::StartTime
            | Self::Ready
            | Self::OpenOps
            | Self::ParkedOps
            | Self::OldestOpen
            | Self::StoreState
            | Self::StoreDown
            | Self::PausedTables
            | Self::CheckpointLag
            | Self::LastLsn
            | Self::LogBytes
            | Self::LogLiveBytes
            | Self::LogFreeBytes
            | Self::Covered
            | Self::Verifying
            | Self::RecoveryDone
            | Self::AuditNeeded
            | Self::Connections => Kind::Gauge,
        };
        metric(name, kind, help)
    }
}

/// The reported metric of that name.
pub(super) fn reported(name: &str) -> Option<&'static Metric> {
    REPORTED.iter().find(|metric| metric.name == name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_follow_prometheus_and_are_documented() {
        let all: Vec<Metric> = Figure::ALL.into_iter().map(Figure::metric).chain(REPORTED).collect();
        let names: BTreeSet<_> = all.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), all.len());
        let page = include_str!("../../../../docs/operations.md");
        for metric in all {
            let fits = |c: char| c.is_ascii_lowercase() || c == '_';
            assert!(metric.name.starts_with("lockstep_") && metric.name.chars().all(fits), "{}", metric.name);
            assert_eq!(metric.kind == Kind::Counter, metric.name.ends_with("_total"), "{}", metric.name);
            assert!(page.contains(&format!("`{}`", metric.name)), "docs/operations.md lacks {}", metric.name);
            if let Kind::Histogram(bounds) = metric.kind {
                assert!(bounds.windows(2).all(|two| two[0] < two[1]), "{}", metric.name);
            }
        }
    }
}
