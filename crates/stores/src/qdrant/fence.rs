//! Filters that make a stale or late write do nothing (design 5).
//!
//! They say what a point must not be, so that a point without a version, or with something that is none, passes as an unstamped one does
//! in Edge. A point that is not there is inserted whatever an update filter says.

use lockstep_model::{PointId, Version};
use qdrant_client::qdrant::{Condition, Filter, Range};

use super::point::wire_id;
use crate::stamp::{STAMP_FIELD, VERSION_FIELD};

/// The path of the version in a payload: what the index is on.
pub(super) fn version_path() -> String {
    format!("{STAMP_FIELD}.{VERSION_FIELD}")
}

/// The point carries no version above this.
pub(super) fn not_newer(version: Version) -> Filter {
    Filter::must_not([newer(version)])
}

/// One of these points, with no version above this.
pub(super) fn these_not_newer(ids: &[PointId], version: Version) -> Filter {
    Filter { must: vec![these(ids)], must_not: vec![newer(version)], ..Filter::default() }
}

/// The point carries exactly this version.
pub(super) fn exactly(version: Version) -> Filter {
    Filter::must([is(version)])
}

/// This point, with exactly this version.
pub(super) fn this_exactly(id: PointId, version: Version) -> Filter {
    Filter::must([these(&[id]), is(version)])
}

/// The point carries no version.
pub(super) fn unstamped() -> Filter {
    Filter::must([Condition::is_empty(version_path())])
}

fn these(ids: &[PointId]) -> Condition {
    Condition::has_id(ids.iter().copied().map(wire_id))
}

fn newer(version: Version) -> Condition {
    Condition::range(version_path(), Range { gt: Some(float(version)), ..Range::default() })
}

/// As a range: a match wants an index of a kind that an older collection may not have.
fn is(version: Version) -> Condition {
    let float = Some(float(version));
    Condition::range(version_path(), Range { gte: float, lte: float, ..Range::default() })
}

#[expect(clippy::cast_precision_loss, reason = "versions are below 2^53: whole as floats")]
fn float(version: Version) -> f64 {
    version.0 as f64
}
