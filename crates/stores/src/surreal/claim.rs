//! Whose store it is: the row `lockstep_meta:fence { log, holder, epoch, version }`.
//!
//! Every transaction that writes begins by reading the row behind [`GUARD`]: if it is not what this process last made it,
//! nothing of the transaction is applied, whenever it arrives. Whoever claims the store, or cannot know what became of a
//! call, raises the epoch; what was sent before that is void from then on. A row without an epoch is from an older version
//! and counts as epoch 0.

use lockstep_model::{LogId, Version};
use surrealdb::types as db;

use crate::surreal::call::{Failed, Kind, Params, into_array, run};
use crate::surreal::class::FENCE_MOVED;
use crate::surreal::link::Link;
use crate::surreal::record::{version_of, version_value};
use crate::{Class, Scope, StoreError};

/// The table of Lockstep's own rows.
pub(super) const META_TABLE: &str = "lockstep_meta";

/// The first statement of a transaction that writes. Reading FOR UPDATE is what makes a change in the meantime a conflict.
pub(super) fn guard() -> String {
    format!(
        "IF (SELECT VALUE [log, epoch] FROM ONLY lockstep_meta:fence FOR UPDATE) != $fence {{ THROW '{FENCE_MOVED}' }};"
    )
}

const LOOK: &str = "SELECT * FROM ONLY lockstep_meta:fence";

/// Takes the row over from what it was seen to be. What it says of versions stays.
const TAKE: &str = "BEGIN;
    LET $row = SELECT * FROM ONLY lockstep_meta:fence FOR UPDATE;
    LET $same = [$row.log, $row.epoch ?? 0] == $seen;
    IF $same {
        UPSERT lockstep_meta:fence CONTENT {
            log: $log, holder: $holder, epoch: $epoch, version: $row.version ?? 0
        } RETURN NONE
    };
    [$same, (SELECT VALUE epoch FROM ONLY lockstep_meta:fence) == $epoch];
    COMMIT;";

/// Raises what older versions have given. Part of a transaction that is guarded.
pub(super) const NOTE_VERSION: &str =
    "UPDATE lockstep_meta:fence SET version = math::max([version ?? 0, $version]) RETURN NONE;";

/// The row, as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) log: LogId,
    pub(super) holder: Option<String>,
    pub(super) epoch: i64,
    pub(super) version: Option<Version>,
}

/// What this process last made of the row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) log: LogId,
    pub(super) holder: String,
    /// The epoch that its transactions carry.
    pub(super) epoch: i64,
    /// The highest one that it has tried to make, with whatever outcome.
    pub(super) tried: i64,
    /// The highest version that it has seen or noted there.
    pub(super) version: Option<Version>,
}

/// What a row is to its holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is ours.
    Ours,
    /// The store's data are older than they were; the words say how that shows.
    Older(String),
    /// Somebody else has it.
    Taken,
}

impl Held {
    /// Binds what [`guard`] compares with.
    pub(super) fn bind(&self, params: &mut Params) {
        params.bind_list("fence", vec![log_value(self.log), int(self.epoch)]);
    }

    /// What `row` means.
    pub(super) fn standing(&self, row: Option<&Row>) -> Standing {
        let Some(row) = row else { return Standing::Older("the record lockstep_meta:fence is gone".to_owned()) };
        if row.log != self.log {
            return Standing::Taken;
        }
        if row.epoch < self.epoch {
            return Standing::Older(format!("its fence has the epoch {}, it had {}", row.epoch, self.epoch));
        }
        if row.epoch > self.tried || row.holder.as_deref() != Some(self.holder.as_str()) {
            return Standing::Taken;
        }
        match (row.version, self.version) {
            (now, Some(was)) if now.is_none_or(|now| now < was) => {
                let now = now.map_or_else(|| "none".to_owned(), |now| now.to_string());
                Standing::Older(format!("the version that it notes is {now}, it was {was}"))
            }
            _ => Standing::Ours,
        }
    }
}

/// Reads the row. A row that names no log is nobody's.
pub(super) async fn look(link: &Link) -> Result<Option<Row>, Failed> {
    let answer = run(link, LOOK, Params::default(), Kind::Read).await?.take(0);
    let db::Value::Object(row) = answer else { return Ok(None) };
    let Some(db::Value::Uuid(log)) = row.get("log") else {
        let words = "the record lockstep_meta:fence names no log: it was not written by Lockstep; delete it if nothing else needs it";
        let error = StoreError::new(super::STORE, Class::Configuration(Scope::Store), words);
        return Err(Failed::plain(error));
    };
    Ok(Some(Row {
        log: LogId(log.into_inner()),
        holder: if let Some(db::Value::String(holder)) = row.get("holder") { Some(holder.clone()) } else { None },
        epoch: if let Some(db::Value::Number(db::Number::Int(epoch))) = row.get("epoch") { *epoch } else { 0 },
        version: row.get("version").and_then(version_of).filter(|version| version.0 > 0),
    }))
}

/// Makes the row what `held` has tried, if it still is what was seen.
pub(super) async fn take(link: &Link, seen: Option<&Row>, held: &Held) -> Result<bool, Failed> {
    let mut params = Params::default();
    params.bind("log", log_value(held.log));
    params.bind("holder", held.holder.clone());
    params.bind("epoch", int(held.tried));
    let (log, epoch) = seen.map_or((db::Value::None, 0), |row| (log_value(row.log), row.epoch));
    params.bind_list("seen", vec![log, int(epoch)]);
    let answer = run(link, TAKE, params, Kind::Transaction).await?.take_from_end(1);
    match into_array(answer).as_slice() {
        [db::Value::Bool(true), db::Value::Bool(true)] => Ok(true),
        [db::Value::Bool(false), _] => Ok(false),
        // SurrealDB ignores in silence what a user may not write.
        _ => {
            let words = "this user may not write: give it the role EDITOR or OWNER in the database";
            let error = StoreError::new(super::STORE, Class::Configuration(Scope::Store), words);
            Err(Failed::plain(error))
        }
    }
}

/// The error of a process whose store another one has.
pub(super) fn fenced(row: &Row, ours: LogId) -> StoreError {
    let holder = row.holder.as_deref().map_or_else(String::new, |holder| format!(" ({holder})"));
    let words = if row.log == ours {
        format!(
            "another process{holder} has claimed this database for the same log {ours}: two copies of one log are running"
        )
    } else {
        format!(
            "this database belongs to the Lockstep with the log {}{holder}, not to {ours}; \
             if that log is gone for good, take the store over",
            row.log
        )
    };
    StoreError::new(super::STORE, Class::Fenced, words)
}

/// A version for a parameter.
pub(super) fn bind_version(params: &mut Params, version: Version) {
    params.bind("version", version_value(version));
}

fn log_value(log: LogId) -> db::Value {
    db::Value::Uuid(db::Uuid::from(log.0))
}

const fn int(int: i64) -> db::Value {
    db::Value::Number(db::Number::Int(int))
}
