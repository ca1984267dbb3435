//! What is found of a server and its collections before the first write.

use std::sync::Arc;

use qdrant_client::qdrant::{HealthCheckRequest, StrictModeConfig};

use super::Inner;
use super::class::{Stage, classify};
use super::fence::{unstamped, version_path};
use super::layout::Layout;
use crate::collection_look::{self as look, finding};
use crate::{Class, Expected, Finding, Scope, Severity, StoreError};

/// The first version that knows update filters.
const OLDEST: (u64, u64) = (1, 16);

impl Inner {
    /// Compares the server with what is expected of it. Reads only.
    pub(super) async fn preflight(&self, tables: &[Expected]) -> Result<Vec<Finding>, StoreError> {
        let mut client = self.link.server();
        let health = self.link.call(client.health_check(self.link.request(HealthCheckRequest {}))).await;
        let version = health.map_err(|status| classify(&status, Stage::Read))?.version;
        let mut findings: Vec<Finding> = version_finding(&version).into_iter().collect();
        for expected in tables.iter().filter(|expected| expected.stores.has_qdrant()) {
            let layout: Arc<Layout> = match self.look(&expected.collection).await {
                Ok(layout) => layout,
                Err(error) if error.class == Class::Configuration(Scope::Table) => {
                    findings.push(look::missing(expected));
                    continue;
                }
                Err(error) => return Err(error),
            };
            findings.extend(look::shape(expected, &layout.shape));
            findings.extend(collection_findings(expected, &layout));
            findings.extend(self.unstamped_finding(expected).await?);
        }
        Ok(findings)
    }

    async fn unstamped_finding(&self, expected: &Expected) -> Result<Option<Finding>, StoreError> {
        match self.read_count(&expected.collection, Some(unstamped())).await {
            Ok(count) => Ok(look::unstamped(expected, count)),
            // Strict mode: a filter on a field without an index.
            Err(error) if error.class == Class::Refused => {
                let found = format!("how many points Lockstep did not write cannot be counted: {}", error.detail);
                Ok(Some(finding(Severity::Info, expected, found, format!("create the index on {}", version_path()))))
            }
            Err(error) => Err(error),
        }
    }
}

fn version_finding(version: &str) -> Option<Finding> {
    let about_server = |severity, found: String, remedy: &str| Finding {
        severity,
        store: super::STORE.to_owned(),
        subject: None,
        found,
        remedy: remedy.to_owned(),
    };
    let mut numbers = version.trim_start_matches('v').split('.').map(str::parse::<u64>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= OLDEST => None,
        (Some(Ok(_)), Some(Ok(_))) => Some(about_server(
            Severity::Error,
            format!("the server is Qdrant {version}, which ignores the filters that keep late writes out"),
            "run Qdrant 1.16 or newer",
        )),
        (_, _) => Some(about_server(
            Severity::Warning,
            format!("the server calls its version {version:?}"),
            "make sure that it is Qdrant 1.16 or newer: older ones ignore the filters that keep late writes out",
        )),
    }
}

fn collection_findings(expected: &Expected, layout: &Layout) -> Vec<Finding> {
    let mut findings = Vec::new();
    let has_index = |path: &str| layout.indexed.iter().any(|indexed| indexed == path);
    let strict = layout.strict.as_ref();
    if !has_index(&version_path()) {
        let deletes_fail = strict.and_then(|strict| strict.unindexed_filtering_update) == Some(false);
        let (severity, why) = if deletes_fail {
            (Severity::Error, "strict mode refuses every delete without it")
        } else {
            (Severity::Warning, "deletes look at every point without it")
        };
        let found = format!("{} has no index: {why}", version_path());
        findings.push(finding(
            severity,
            expected,
            found,
            index_remedy(&expected.collection, &version_path(), "integer"),
        ));
    }
    for field in expected.payload.iter().filter(|field| !has_index(field)) {
        let found = format!("the payload field {field:?} has no index: filters on it look at every point");
        let kind = "keyword, integer, float, bool or datetime";
        findings.push(finding(Severity::Warning, expected, found, index_remedy(&expected.collection, field, kind)));
    }
    if layout.hides_default {
        findings.push(finding(
            Severity::Error,
            expected,
            "the collection has a vector without a name and one called \"default\": Lockstep calls both default",
            "create the collection anew with another name for one of them",
        ));
    }
    findings.extend(strict.and_then(|strict| strict_finding(expected, strict)));
    findings
}

fn index_remedy(collection: &str, field: &str, kind: &str) -> String {
    format!(
        "create a payload index: PUT /collections/{collection}/index with field_name {field:?}, field_schema {kind}"
    )
}

/// The limits that writes and searches can meet.
fn strict_finding(expected: &Expected, strict: &StrictModeConfig) -> Option<Finding> {
    let number = |name: &str, limit: Option<u64>| limit.map(|limit| format!("{name} {limit}"));
    let limits: Vec<String> = [
        number("upsert_max_batchsize", strict.upsert_max_batchsize),
        number("max_query_limit", strict.max_query_limit.map(u64::from)),
        number("write_rate_limit", strict.write_rate_limit.map(u64::from)),
        number("read_rate_limit", strict.read_rate_limit.map(u64::from)),
        number("max_points_count", strict.max_points_count),
        number("max_collection_vector_size_bytes", strict.max_collection_vector_size_bytes),
        number("max_collection_payload_size_bytes", strict.max_collection_payload_size_bytes),
        number("condition_max_size", strict.condition_max_size),
    ]
    .into_iter()
    .flatten()
    .collect();
    (!limits.is_empty()).then(|| {
        let found = format!("strict mode limits the collection: {}", limits.join(", "));
        let remedy = "an operation that meets max_points_count or a size limit ends rolled_back as rejected_by_qdrant; \
                      raise the limits before they are near";
        finding(Severity::Info, expected, found, remedy)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_before_update_filters_are_errors() {
        for (version, want) in [
            ("1.16.0", None),
            ("1.20.3", None),
            ("v2.0.0", None),
            ("1.15.5", Some(Severity::Error)),
            ("0.11.1", Some(Severity::Error)),
            ("1.16.0-rc1", None),
            ("dev", Some(Severity::Warning)),
            ("", Some(Severity::Warning)),
        ] {
            assert_eq!(version_finding(version).map(|finding| finding.severity), want, "{version:?}");
        }
    }
}
