//! Conditions in the types of the wire.

use lockstep_model::{Bound, Filter};
use qdrant_client::qdrant::{Condition as WireCondition, DatetimeRange, Filter as WireFilter, Range, Timestamp};

use super::STORE;
use crate::condition::{Bounds, Condition, Test, condition};
use crate::{Class, StoreError};

/// The filter as the server takes it.
pub(super) fn to_wire(filter: &Filter) -> Result<WireFilter, StoreError> {
    Ok(WireFilter::must([wire(condition(filter))?]))
}

fn wire(condition: Condition) -> Result<WireCondition, StoreError> {
    let all = |conditions: Vec<Condition>| conditions.into_iter().map(wire).collect::<Result<Vec<_>, _>>();
    let filter = match condition {
        Condition::All(conditions) => WireFilter::must(all(conditions)?),
        Condition::Any(conditions) => WireFilter::should(all(conditions)?),
        Condition::Not(condition) => WireFilter::must_not([wire(*condition)?]),
        Condition::Field(name, test) => return field(path(&name)?, test),
    };
    Ok(filter.into())
}

fn field(path: String, test: Test) -> Result<WireCondition, StoreError> {
    Ok(match test {
        Test::Empty => WireCondition::is_empty(path),
        Test::Null => WireCondition::is_null(path),
        Test::Bool(bool) => WireCondition::matches(path, bool),
        Test::Text(text) => WireCondition::matches(path, text),
        Test::Int(int) => WireCondition::matches(path, int),
        Test::Texts(texts) => WireCondition::matches(path, texts),
        Test::Range([gt, gte, lt, lte]) => WireCondition::range(path, Range { lt, gt, gte, lte }),
        Test::Times(bounds) => {
            let [gt, gte, lt, lte] = instants(bounds)?;
            WireCondition::datetime_range(path, DatetimeRange { lt, gt, gte, lte })
        }
    })
}

fn instants(bounds: Bounds<Bound>) -> Result<Bounds<Timestamp>, StoreError> {
    let mut instants = [None, None, None, None];
    for (place, bound) in instants.iter_mut().zip(bounds) {
        *place = match bound {
            None => None,
            Some(Bound::Datetime { secs, nanos }) => Some(Timestamp {
                seconds: secs,
                nanos: i32::try_from(nanos).map_err(|_| refused("a bound of a range over datetimes is none".into()))?,
            }),
            Some(Bound::Int(_) | Bound::Float(_)) => {
                return Err(refused("a range has bounds that are times and bounds that are numbers".into()));
            }
        };
    }
    Ok(instants)
}

/// A top-level field, its name taken literally. The server reads a path: what is not plain is quoted, and a quote cannot be.
fn path(name: &str) -> Result<String, StoreError> {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
    if !name.is_empty() && name.chars().all(plain) {
        return Ok(name.to_owned());
    }
    if name.contains(['"', '\\']) {
        return Err(refused(format!("a Qdrant server cannot filter by the field {name:?}: quotes and backslashes")));
    }
    Ok(format!("\"{name}\""))
}

fn refused(detail: String) -> StoreError {
    StoreError::new(STORE, Class::Refused, detail)
}
