//! The tables of the configuration.

use std::collections::BTreeMap;

use lockstep_model::{MAX_VECTOR_DIM, PayloadSelection, PointIdPolicy, Shape, Stores, Table, TableRules, VectorKind};

use super::ConfigError;

/// The keys of `tables.NAME.vectors.NAME`.
const VECTOR_KEYS: [&str; 4] = ["kind", "size", "distance", "required"];

/// The model takes any member of a vector's description; here a misspelt one is an error.
pub(super) fn check_names(file: &toml::Table) -> Result<(), ConfigError> {
    let of = |value: Option<&toml::Value>| value.and_then(toml::Value::as_table).cloned().unwrap_or_default();
    for (table, rules) in of(file.get("tables")) {
        for (vector, spec) in of(rules.get("vectors")) {
            if let Some(unknown) = of(Some(&spec)).keys().find(|key| !VECTOR_KEYS.contains(&key.as_str())) {
                let known = VECTOR_KEYS.join(", ");
                return Err(ConfigError::value(
                    format!("tables.{table}.vectors.{vector}"),
                    format!("unknown key {unknown:?}, expected one of {known}"),
                ));
            }
        }
    }
    Ok(())
}

/// The tables, checked.
pub(super) fn checked(tables: &BTreeMap<String, TableRules>) -> Result<BTreeMap<Table, TableRules>, ConfigError> {
    let mut checked = BTreeMap::new();
    for (name, rules) in tables {
        let key = format!("tables.{name}");
        let table = Table::new(name).map_err(|error| ConfigError::value(key.clone(), error.to_string()))?;
        check(&key, rules)?;
        checked.insert(table, rules.clone());
    }
    check_shared(&checked)?;
    Ok(checked)
}

fn check(key: &str, rules: &TableRules) -> Result<(), ConfigError> {
    if matches!(rules.point_id, PointIdPolicy::Field(_)) && rules.stores != Stores::Both {
        let detail = "field:NAME wants stores = \"both\": only a record in SurrealDB names its point";
        return Err(ConfigError::value(format!("{key}.point_id"), detail));
    }
    if let Some(collection) = &rules.collection {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if collection.is_empty()
            || collection.len() > 200
            || collection.starts_with('.')
            || !collection.chars().all(fits)
        {
            let detail = "a collection's name has 1 to 200 letters, digits, _, - or ., and no . first";
            return Err(ConfigError::value(format!("{key}.collection"), detail));
        }
    }
    if let PayloadSelection::Fields(fields) = &rules.payload
        && fields.iter().any(String::is_empty)
    {
        return Err(ConfigError::value(format!("{key}.payload"), "a field's name cannot be empty"));
    }
    match &rules.vectors {
        Some(shape) if rules.stores == Stores::Surreal && !shape.0.is_empty() => {
            Err(ConfigError::value(format!("{key}.vectors"), "stores = \"surreal\" leaves no room for vectors"))
        }
        Some(shape) => check_shape(key, shape),
        None => Ok(()),
    }
}

fn check_shape(key: &str, shape: &Shape) -> Result<(), ConfigError> {
    for (name, spec) in &shape.0 {
        let wrong = |detail: String| ConfigError::value(format!("{key}.vectors.{name}"), detail);
        if name.is_empty() || name.len() > 256 || name.chars().any(char::is_control) {
            return Err(wrong("a vector's name has 1 to 256 bytes and no control characters".to_owned()));
        }
        let size = usize::try_from(spec.size).unwrap_or(usize::MAX);
        match spec.kind {
            VectorKind::Sparse if size != 0 => return Err(wrong("a sparse vector has no size".to_owned())),
            VectorKind::Sparse => {}
            VectorKind::Dense | VectorKind::Multi if size == 0 || size > MAX_VECTOR_DIM => {
                return Err(wrong(format!("its size is not within 1 and {MAX_VECTOR_DIM}")));
            }
            VectorKind::Dense | VectorKind::Multi => {}
        }
    }
    Ok(())
}

/// Two tables may share a collection only if neither's points can have the other's ids, and the collection suits both.
fn check_shared(tables: &BTreeMap<Table, TableRules>) -> Result<(), ConfigError> {
    let mut users: BTreeMap<String, (&Table, &TableRules)> = BTreeMap::new();
    for (table, rules) in tables.iter().filter(|(_, rules)| rules.stores.has_qdrant()) {
        let collection = rules.collection_for(table);
        let Some((first, its)) = users.get(&collection) else {
            users.insert(collection, (table, rules));
            continue;
        };
        let wrong = |detail: String| ConfigError::value(format!("tables.{table}.collection"), detail);
        if rules.point_id != PointIdPolicy::Hashed || its.point_id != PointIdPolicy::Hashed {
            return Err(wrong(format!("it is that of table {first}, too: both need point_id = \"hashed\"")));
        }
        if rules.vectors != its.vectors {
            return Err(wrong(format!("it is that of table {first}, too, and their vectors differ")));
        }
    }
    Ok(())
}
