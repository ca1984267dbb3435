//! What is to be said about a log: how bad it is, what follows from it, and what to do.

use std::path::Path;

use lockstep_model::Lsn;
use lockstep_wal as wal;
use serde::Serialize;

use crate::text::{counted, quoted};

/// How bad a finding is, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Severity {
    /// Normal, also after a crash.
    Info,
    /// Odd; nothing is lost.
    Warning,
    /// Nothing is lost, and nothing goes on without an operator.
    Operator,
    /// Something that was durable is lost, damaged or not understood.
    Damage,
}

impl Severity {
    /// Its name.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Operator => "operator",
            Self::Damage => "damage",
        }
    }

    /// Whether the log is not clean because of it.
    pub(crate) fn is_finding(self) -> bool {
        self >= Self::Operator
    }
}

/// One thing found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    pub(crate) severity: Severity,
    /// What programs go by.
    pub(crate) code: &'static str,
    /// The record that it is about, if it is about one.
    pub(crate) lsn: Option<Lsn>,
    /// What was found.
    pub(crate) what: String,
    /// What follows from it.
    pub(crate) consequence: &'static str,
    /// What to do.
    #[serde(flatten)]
    pub(crate) next: Next,
}

/// What can lie beside a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beside {
    /// The copy that stays when sled's view of a log was wrong.
    Kept,
    /// The same while it is not known whether it is needed.
    HalfCopy,
    /// The log as a repair found it.
    Damaged,
    /// Anything else that has the log's name in front.
    Other,
}

/// What to do about a finding.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Next {
    /// In words; null where nothing is to be done.
    #[serde(rename = "next")]
    pub(crate) advice: Option<&'static str>,
    /// The commands that help.
    pub(crate) commands: Vec<String>,
}

const REFUSED: &str = "lockstepd refuses to open this log, so that nothing is lost in silence.";
const NEWER: &str = "Use the lockstepd and the wal-tools that wrote the log, or newer ones.";
const UNTRUSTED: &str = "What it said is not known; the rest of the log can be read.";

impl Finding {
    /// What the raw reader found in the log in `dir`.
    pub(crate) fn of_raw(dir: &Path, found: &wal::Finding) -> Self {
        use wal::Finding as F;
        let (code, lsn, consequence, next) = match found {
            F::DamagedRecord { lsn, .. } => ("damaged_record", Some(*lsn), REFUSED, save(dir)),
            F::MissingRecords(lsns) => {
                ("missing_records", lsns.iter().next().map(|(first, _)| first), REFUSED, save(dir))
            }
            F::BadTrim(lsn) => ("bad_trim", Some(*lsn), REFUSED, save(dir)),
            F::NoHighWater(_) => (
                "no_high_water",
                None,
                "How far the log was durable is not known, so a lost end would not show. lockstepd refuses to open it.",
                save(dir),
            ),
            F::NoDb => ("no_db", None, "The records themselves are gone. lockstepd refuses to start empty.", save(dir)),
            F::MixedLogs => (
                "mixed_logs",
                None,
                "Files of two logs lie in one directory. lockstepd refuses to open it.",
                Next::only("Put back the files that belong together, from the same backup."),
            ),
            F::FutureFormat { .. } => (
                "future_format",
                None,
                "A newer Lockstep wrote this. Nothing is damaged, and this program must not guess.",
                Next::only(NEWER),
            ),
            F::HighWaterSlot => (
                "high_water_slot",
                None,
                "The other slot still says how far the log was durable. A power cut leaves this behind.",
                Next::default(),
            ),
            F::HeldBy { .. } => (
                "held",
                None,
                "What is read now is a log in motion: damage may be a write seen half-way, and the end moves on.",
                Next::with("Ask the daemon, or stop it and look again:", dir, &["status"]),
            ),
            F::UnacknowledgedTail { first, .. } => (
                "unacknowledged_tail",
                Some(*first),
                "Written just before a crash, perhaps not answered. The next start keeps them or not; both are right.",
                Next::default(),
            ),
            F::TornTail { from, .. } => (
                "torn_tail",
                Some(*from),
                "Parts of what was being written when the process or the power went. Nobody was told of it.",
                Next::default(),
            ),
            F::Remains(_) => {
                ("remains", None, "Nothing: what they belonged to has left or was written again.", Next::default())
            }
            F::Leftover(_) => ("leftover", None, "Nothing: the next start of lockstepd removes it.", Next::default()),
        };
        let severity = match found.severity() {
            wal::Severity::Info => Severity::Info,
            wal::Severity::Warning => Severity::Warning,
            wal::Severity::Damage => Severity::Damage,
        };
        Self { severity, code, lsn, what: found.to_string(), consequence, next }
    }

    /// All of it can be read, and a start would not open it.
    pub(crate) fn unopenable(dir: &Path, refused: &str) -> Self {
        Self {
            severity: Severity::Damage,
            code: "unopenable",
            lsn: None,
            what: format!("every record is whole, and a copy of the log does not open: {refused}"),
            consequence: REFUSED,
            next: save(dir),
        }
    }

    /// Something in the log's directory that belongs to no log.
    pub(crate) fn foreign(path: &Path) -> Self {
        Self {
            severity: Severity::Info,
            code: "foreign_file",
            lsn: None,
            what: format!("{} is no part of a log", path.display()),
            consequence: "Nothing: lockstepd leaves it alone, and does not count it.",
            next: Next::default(),
        }
    }

    /// What a repair could not bring back, as far as it found bytes of it.
    pub(crate) fn quarantine(path: &Path, bytes: u64) -> Self {
        Self {
            severity: Severity::Info,
            code: "quarantine",
            lsn: None,
            what: format!("{}, {}, has what a repair could not read", path.display(), crate::text::bytes(bytes)),
            consequence: "It takes room. lockstepd does not look at it.",
            next: Next {
                advice: Some("What is known of each piece:"),
                commands: vec![format!("cat {}/*/report.ndjson", quoted(path))],
            },
        }
    }

    /// sled keeps long values in files of their own, which Lockstep avoids and which are not looked at.
    pub(crate) fn blobs(count: u64, bytes: u64) -> Self {
        Self {
            severity: Severity::Warning,
            code: "blobs",
            lsn: None,
            what: format!("sled has {} in blobs, {}", counted(count, "file"), crate::text::bytes(bytes)),
            consequence: "lockstepd writes no values that long: something else has written here. They are not read.",
            next: Next::default(),
        }
    }

    /// A directory beside the log's that a start or a repair has left.
    pub(crate) fn beside(path: &Path, kind: Beside, bytes: u64) -> Self {
        let size = crate::text::bytes(bytes);
        let path_said = path.display();
        let (code, what, consequence, next) = match kind {
            Beside::Kept => (
                "kept_copy",
                format!("{path_said}, {size}, is a copy of this log from before a start that found it damaged"),
                "It takes room, and no second copy is made while it is there.",
                Next {
                    advice: Some("Once the log is put right, look at it, then remove it:"),
                    commands: vec![
                        format!("wal-tools --wal {} verify", quoted(path)),
                        format!("rm -r {}", quoted(path)),
                    ],
                },
            ),
            Beside::HalfCopy => (
                "half_copy",
                format!("{path_said}, {size}, is a copy that an interrupted start did not finish or did not remove"),
                "Nothing: the next start of lockstepd removes it.",
                Next::default(),
            ),
            Beside::Damaged => (
                "damaged_copy",
                format!("{path_said}, {size}, is the log as it was before a repair"),
                "It takes room. lockstepd does not look at it.",
                Next {
                    advice: Some("Once nobody needs what the repair could not bring back, remove it:"),
                    commands: vec![format!("rm -r {}", quoted(path))],
                },
            ),
            Beside::Other => (
                "beside",
                format!("{path_said}, {size}, lies beside the log under its name"),
                "It takes room. lockstepd does not look at it.",
                Next::default(),
            ),
        };
        Self { severity: Severity::Info, code, lsn: None, what, consequence, next }
    }

    /// The directory of a log whose creation was interrupted before its first record.
    pub(crate) fn unborn() -> Self {
        Self {
            severity: Severity::Info,
            code: "unborn",
            lsn: None,
            what: "the log was being made and never had a record".to_owned(),
            consequence: "Nothing: the next start of lockstepd makes it anew.",
            next: Next::default(),
        }
    }

    /// A whole record whose payload cannot be understood.
    pub(crate) fn of_record(dir: &Path, lsn: Lsn, error: &wal::RecordError) -> Self {
        let (code, next) = match error {
            wal::RecordError::Future { .. } => ("future_format", Next::only(NEWER)),
            wal::RecordError::Malformed { .. } | wal::RecordError::Unencodable { .. } => {
                ("undecodable_record", save(dir))
            }
        };
        let what = format!("record {lsn} is whole and cannot be understood: {error}");
        Self { severity: Severity::Damage, code, lsn: Some(lsn), what, consequence: REFUSED, next }
    }

    /// A record that was found and could not be read again.
    pub(crate) fn of_changed(dir: &Path, lsn: Lsn, error: &wal::RawError) -> Self {
        let what = error.to_string();
        let next = save(dir);
        Self { severity: Severity::Damage, code: "changed", lsn: Some(lsn), what, consequence: UNTRUSTED, next }
    }

    /// A value beside the sequence that cannot be understood.
    pub(crate) fn of_side(key: &wal::SideKey, error: &wal::RecordError) -> Self {
        let (what, lsn) = match key {
            wal::SideKey::Summary(lsn) => (format!("the summary of operation {lsn}"), Some(*lsn)),
            wal::SideKey::Idempotency(_) => ("the note of an idempotency key".to_owned(), None),
            wal::SideKey::Note(number) => (format!("note {number}"), None),
        };
        Self {
            severity: Severity::Damage,
            code: "undecodable_side",
            lsn,
            what: format!("{what} is whole and cannot be understood: {error}"),
            consequence: "How a finished operation ended cannot be told any more; the stores are not concerned.",
            next: Next::default(),
        }
    }

    /// Something that no run of Lockstep writes.
    pub(crate) fn of_irregular(dir: &Path, found: &wal::Irregular) -> Self {
        let (code, lsn) = match found {
            wal::Irregular::Stray { record, .. } => ("stray_record", *record),
            wal::Irregular::Illegal { record, .. } => ("illegal_step", *record),
        };
        let (what, next) = (found.to_string(), save(dir));
        Self { severity: Severity::Damage, code, lsn: Some(lsn), what, consequence: REFUSED, next }
    }

    /// An operation that is not newer than one before it.
    pub(crate) fn of_version(dir: &Path, lsn: Lsn) -> Self {
        Self {
            severity: Severity::Damage,
            code: "version_order",
            lsn: Some(lsn),
            what: format!("operation {lsn} has a version that is not above those before it"),
            consequence: "Which of two writes is the newer cannot be told by their versions.",
            next: save(dir),
        }
    }

    /// Records that a repair could not bring back.
    pub(crate) fn lost(dir: &Path, lost: &wal::LsnRanges) -> Self {
        Self {
            severity: Severity::Warning,
            code: "lost_records",
            lsn: lost.iter().next().map(|(first, _)| first),
            what: if lost.count() == 1 {
                format!("record {lost} was lost; a repair put the log together without it")
            } else {
                format!("records {lost} were lost; a repair put the log together without them")
            },
            consequence: "What they did in the stores is not known. Older operations are not written again by themselves.",
            next: Next {
                advice: Some("What was found of them, and which operations it concerns:"),
                commands: vec![format!("cat {}/*/report.ndjson", quoted(&dir.join("quarantine")))],
            },
        }
    }

    /// Another program has to judge this.
    pub(crate) fn leave_alone(&mut self) {
        self.next = Next::only(NEWER);
    }

    /// Operations that wait for an operator.
    pub(crate) fn parked(dir: &Path, count: u64, first: Lsn) -> Self {
        let explain = format!("explain {first}");
        Self {
            severity: Severity::Operator,
            code: "parked_ops",
            lsn: Some(first),
            what: if count == 1 {
                "1 operation is parked".to_owned()
            } else {
                format!("{} are parked", counted(count, "operation"))
            },
            consequence: "Neither finished nor undone, and they stay so until an operator decides. Others go on.",
            next: Next::with("Look at them:", dir, &["list --state parked", &explain]),
        }
    }
}

impl Next {
    const fn only(advice: &'static str) -> Self {
        Self { advice: Some(advice), commands: Vec::new() }
    }

    fn with(advice: &'static str, dir: &Path, commands: &[&str]) -> Self {
        let place = quoted(dir);
        let commands = commands.iter().map(|command| format!("wal-tools --wal {place} {command}")).collect();
        Self { advice: Some(advice), commands }
    }
}

/// What to do with a damaged log: a repair keeps it as it is beside the new one.
fn save(dir: &Path) -> Next {
    Next::with("What a repair would save and lose, and doing it:", dir, &["repair", "repair --write"])
}
