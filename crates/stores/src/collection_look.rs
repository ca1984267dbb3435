//! Findings about a collection, in the same words for Edge and for a server: what differs from the configuration, and what the
//! first write would do to points that are already there.

use lockstep_model::{Shape, VectorKind, VectorSpec};

use crate::{Expected, Finding, Severity};

/// A finding about a collection.
pub(crate) fn finding(
    severity: Severity,
    expected: &Expected,
    found: impl Into<String>,
    remedy: impl Into<String>,
) -> Finding {
    Finding {
        severity,
        store: "qdrant".to_owned(),
        subject: Some(expected.collection.clone()),
        found: found.into(),
        remedy: remedy.into(),
    }
}

/// There is no such collection: normal where the first write makes it.
pub(crate) fn missing(expected: &Expected) -> Finding {
    let severity = if expected.may_create { Severity::Info } else { Severity::Error };
    let shape = expected.shape.as_ref().map_or_else(
        || "with the size of the first vector and the distance cosine".to_owned(),
        |shape| format!("with {}", describe(shape)),
    );
    finding(
        severity,
        expected,
        format!("there is no collection {} for the table {}", expected.collection, expected.table),
        format!("with daemon.auto_create = true the first write creates it; else create it {shape}"),
    )
}

/// Where the collection differs from what is configured for its table.
pub(crate) fn shape(expected: &Expected, found: &Shape) -> Vec<Finding> {
    let Some(wanted) = &expected.shape else { return Vec::new() };
    let mut findings = Vec::new();
    for (name, want) in &wanted.0 {
        let words = match found.0.get(name) {
            Some(have) if same(*want, *have) => continue,
            Some(have) => format!(
                "the vector {name:?} is {} in the collection, and {} in the configuration",
                spec(*have),
                spec(*want)
            ),
            None => format!(
                "the configuration has a vector {name:?} ({}), the collection has {}",
                spec(*want),
                describe(found)
            ),
        };
        let remedy = "make tables.NAME.vectors say what the collection is, or create the collection anew";
        findings.push(finding(Severity::Error, expected, words, remedy));
    }
    for (name, have) in found.0.iter().filter(|(name, _)| !wanted.0.contains_key(*name)) {
        findings.push(finding(
            Severity::Error,
            expected,
            format!("the collection has a vector {name:?} ({}) that the configuration does not name", spec(*have)),
            "add it to tables.NAME.vectors: a put writes a point whole, and would remove it",
        ));
    }
    findings
}

/// Points that Lockstep did not write.
pub(crate) fn unstamped(expected: &Expected, count: u64) -> Option<Finding> {
    let (severity, remedy) = if expected.hashed_ids {
        let remedy = "their ids are not Lockstep's: a put adds a second point beside the old one. With numbers or UUIDs as ids \
                      of records, point_id = \"key\" takes the old points over";
        (Severity::Warning, remedy)
    } else {
        (Severity::Info, "a put replaces the point of its record: vectors and payload that it does not carry are gone")
    };
    let found = format!("{count} points carry no {} and were not written by Lockstep", crate::stamp::STAMP_FIELD);
    (count > 0).then(|| finding(severity, expected, found, remedy))
}

/// Whether a vector is stored and compared as wanted. Whether a put must bring it, no collection knows.
pub(crate) fn same(want: VectorSpec, have: VectorSpec) -> bool {
    want.kind == have.kind
        && (want.kind == VectorKind::Sparse || (want.size, want.distance) == (have.size, have.distance))
}

fn spec(spec: VectorSpec) -> String {
    match spec.kind {
        VectorKind::Sparse => spec.to_string(),
        VectorKind::Dense | VectorKind::Multi => format!("{spec} by {}", spec.distance),
    }
}

fn describe(shape: &Shape) -> String {
    if shape.0.is_empty() {
        return "no vectors".to_owned();
    }
    shape.0.iter().map(|(name, have)| format!("{name:?} ({})", spec(*have))).collect::<Vec<_>>().join(", ")
}
