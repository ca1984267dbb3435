//! What to know of a SurrealDB before the first write. Nothing is changed: where a right is tried, the try is rolled back.

use surrealdb::types as db;
use surrealdb::types::ToSql;

use crate::surreal::SurrealStore;
use crate::surreal::call::{Kind, Params, into_array, into_object, run};
use crate::surreal::link::Link;
use crate::{Class, Expected, Finding, Severity, StoreError};

/// A write that never happens. SurrealDB ignores in silence what a user may not write.
const TRY: &str = "BEGIN;
    UPSERT lockstep_meta:preflight SET tried = true RETURN NONE;
    IF array::len(SELECT id FROM lockstep_meta:preflight) > 0 { THROW 'lockstep:tried' };
    THROW 'it was ignored';
    COMMIT;";

/// The oldest major version whose servers flush every commit to disk unless they are told otherwise.
const FLUSHES_SINCE: u32 = 3;

impl SurrealStore {
    pub(super) async fn look_before_start(&self, tables: &[Expected]) -> Result<Vec<Finding>, StoreError> {
        let link = match self.keeper.link().await {
            Ok(link) => link,
            Err(error) if matches!(error.class, Class::Configuration(_) | Class::Fenced) => {
                let remedy = "correct the settings, or the server; nothing can be written before that";
                return Ok(vec![finding(Severity::Error, None, error.detail, remedy.to_owned())]);
            }
            Err(error) => return Err(error),
        };
        let mut found = Vec::new();
        found.extend(version(&link).await?);
        found.extend(right_to_write(&link).await?);
        let defined = defined(&link).await?;
        for expected in tables.iter().filter(|expected| expected.stores.has_surreal()) {
            let name = expected.table.as_str();
            match defined.iter().find(|table| table.name == name) {
                None if self.keeper.tables.may_create() => {}
                None => found.push(finding(
                    Severity::Error,
                    Some(name),
                    "the table is missing, and Lockstep may not make it".to_owned(),
                    format!("run: DEFINE TABLE `{name}` TYPE ANY SCHEMALESS;"),
                )),
                Some(table) => found.extend(look_at_table(&link, table).await?),
            }
        }
        Ok(found)
    }
}

fn finding(severity: Severity, subject: Option<&str>, found: String, remedy: String) -> Finding {
    Finding { severity, store: super::STORE.to_owned(), subject: subject.map(str::to_owned), found, remedy }
}

async fn version(link: &Link) -> Result<Option<Finding>, StoreError> {
    if !link.is_served() {
        return Ok(None);
    }
    let told = link.version().await.ok().flatten();
    let major = told.as_deref().and_then(|text| {
        let digits = text.trim_start_matches(|c: char| !c.is_ascii_digit());
        digits.split('.').next()?.parse::<u32>().ok()
    });
    Ok(match (major, told) {
        (Some(major), _) if major >= FLUSHES_SINCE => None,
        (Some(_), Some(told)) => Some(finding(
            Severity::Warning,
            None,
            format!("the server is {told}: before 3.0 it does not flush commits to disk by default"),
            "upgrade it, or have it flush every commit; until then a power cut there can lose what it acknowledged"
                .to_owned(),
        )),
        (_, told) => Some(finding(
            Severity::Warning,
            None,
            format!("the server does not tell its version ({})", told.unwrap_or_default()),
            "see to it that it is 3.0 or later, and flushes every commit to disk".to_owned(),
        )),
    })
}

async fn right_to_write(link: &Link) -> Result<Option<Finding>, StoreError> {
    let Err(failed) = run(link, TRY, Params::default(), Kind::Transaction).await else { return Ok(None) };
    match failed.error.class {
        // It came as far as the THROW.
        Class::Refused if failed.error.detail.contains("lockstep:tried") => Ok(None),
        Class::Refused | Class::Configuration(_) => Ok(Some(finding(
            Severity::Error,
            None,
            format!("this user may not write: {}", failed.error.detail),
            "give the user the role EDITOR or OWNER in the database".to_owned(),
        ))),
        Class::Exists | Class::NotApplied | Class::Unknown | Class::Fenced => Err(failed.error),
    }
}

/// A table of the database.
struct Defined {
    name: String,
    schemafull: bool,
}

async fn defined(link: &Link) -> Result<Vec<Defined>, StoreError> {
    let info = run(link, "INFO FOR DB STRUCTURE", Params::default(), Kind::Read).await?.take(0);
    let tables = into_object(info).and_then(|mut info| info.remove("tables")).map(into_array).unwrap_or_default();
    let table = |value| {
        let table = into_object(value)?;
        let db::Value::String(name) = table.get("name")? else { return None };
        let schemafull = table.get("schemafull") == Some(&db::Value::Bool(true));
        Some(Defined { name: name.clone(), schemafull })
    };
    Ok(tables.into_iter().filter_map(table).collect())
}

async fn look_at_table(link: &Link, table: &Defined) -> Result<Vec<Finding>, StoreError> {
    let name = table.name.as_str();
    let text = format!("INFO FOR TABLE `{name}` STRUCTURE");
    let info = run(link, &text, Params::default(), Kind::Read).await?.take(0);
    let fields = into_object(info).and_then(|mut info| info.remove("fields")).map(into_array).unwrap_or_default();
    let fields: Vec<(String, db::Object)> = fields
        .into_iter()
        .filter_map(|field| {
            let field = into_object(field)?;
            let db::Value::String(name) = field.get("name")? else { return None };
            Some((name.replace('`', ""), field))
        })
        .collect();
    let mut found = Vec::new();
    if table.schemafull && !fields.iter().any(|(field, _)| field == lockstep_model::RESERVED_FIELD) {
        found.push(finding(
            Severity::Error,
            Some(name),
            "the table is SCHEMAFULL and has no field _lockstep: every put is refused".to_owned(),
            format!("run: DEFINE FIELD _lockstep ON `{name}` TYPE option<object> FLEXIBLE;"),
        ));
    }
    for (field, definition) in &fields {
        if definition.get("reference").is_some_and(|reference| reference.to_sql().contains("CASCADE")) {
            found.push(finding(
                Severity::Warning,
                Some(name),
                format!("the field {field} is a REFERENCE … ON DELETE CASCADE: SurrealDB deletes records by itself"),
                "their points stay in Qdrant; make it ON DELETE UNSET or REJECT, and delete through Lockstep"
                    .to_owned(),
            ));
        }
    }
    found.extend(strangers(link, name).await);
    Ok(found)
}

/// Records that Lockstep has not written. A large table may take longer to count than a call may.
async fn strangers(link: &Link, name: &str) -> Option<Finding> {
    let text = format!("SELECT VALUE count FROM (SELECT count() FROM `{name}` WHERE _lockstep = NONE GROUP ALL)");
    let count = match run(link, &text, Params::default(), Kind::Read).await {
        Ok(mut answers) => into_array(answers.take(0)).pop(),
        Err(failed) => {
            let found = format!("records without _lockstep could not be counted: {}", failed.error.detail);
            let remedy = "a put replaces such a record whole; a patch keeps the fields that it does not name";
            return Some(finding(Severity::Info, Some(name), found, remedy.to_owned()));
        }
    };
    let Some(db::Value::Number(db::Number::Int(count))) = count else { return None };
    (count > 0).then(|| {
        finding(
            Severity::Info,
            Some(name),
            format!("{count} records were not written by Lockstep"),
            "a put replaces such a record whole; a patch keeps the fields that it does not name".to_owned(),
        )
    })
}
