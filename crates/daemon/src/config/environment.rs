//! Variables of the form `LOCKSTEP_<SECTION>__<KEY>` over the file.

use std::ffi::OsString;

use toml::{Table, Value};

use super::ConfigError;
use super::keys::{KEYS, Kind};
use super::size::Size;

/// Puts every such variable into the table. One that is empty is taken as not set.
pub(super) fn overlay(
    table: &mut Table,
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Result<(), ConfigError> {
    for (variable, value) in variables {
        let Some(variable) = variable.to_str() else { continue };
        let Some((section, key)) = variable.strip_prefix("LOCKSTEP_").and_then(|rest| rest.split_once("__")) else {
            continue;
        };
        let wrong = |detail: &str| ConfigError::Variable { variable: variable.to_owned(), detail: detail.to_owned() };
        let (section, key) = (section.to_ascii_lowercase(), key.to_ascii_lowercase());
        if section == "tables" {
            return Err(wrong("tables are configured in the file only"));
        }
        let known = KEYS.into_iter().find(|(its_section, its_key, _)| *its_section == section && *its_key == key);
        let Some((_, _, kind)) = known else {
            return Err(wrong(&format!("there is no key {section}.{key}")));
        };
        let text = value.to_str().ok_or_else(|| wrong("it is not UTF-8"))?;
        if text.is_empty() {
            continue;
        }
        let value = typed(kind, text).map_err(wrong)?;
        let place = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
        if let Value::Table(place) = place {
            place.insert(key, value);
        }
    }
    Ok(())
}

fn typed(kind: Kind, text: &str) -> Result<Value, &'static str> {
    match kind {
        Kind::Text => Ok(Value::String(text.to_owned())),
        Kind::Whole => match text.parse::<i64>() {
            Ok(number) if number >= 0 => Ok(Value::Integer(number)),
            Ok(_) | Err(_) => Err("an integer from 0 on is wanted"),
        },
        Kind::Size => match text.parse::<Size>() {
            Ok(size) => Ok(Value::String(size.to_string())),
            Err(_) => Err("a size is wanted: a number of bytes, or as in \"64 MiB\""),
        },
        Kind::Bool => text.parse().map(Value::Boolean).map_err(|_| "true or false is wanted"),
    }
}
