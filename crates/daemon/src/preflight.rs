//! Do the stores fit the configuration? `lockstepd check` prints the answer, a start logs it.
//!
//! Both read only. A store that does not answer is a finding for `check`; a start asks it again until it answers, beside the
//! work, and never keeps readiness waiting.

use std::io::Write;
use std::time::Duration;

use lockstep_engine::Chain;
use lockstep_stores::{Class, DocumentStore, Expected, Finding, Scope, Severity, StoreError, VectorStore};
use serde::Serialize;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::config::Setup;
use crate::{Exit, stores};

/// How long a store may take to be looked at, whatever its calls may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// How soon a start asks a store again that did not answer, and how seldom it becomes.
const AGAIN: Duration = Duration::from_secs(1);
const SELDOM: Duration = Duration::from_secs(60);

/// What `lockstepd check --json` prints.
#[derive(Debug, Serialize)]
struct Report<'a> {
    findings: &'a [Finding],
    errors: usize,
    warnings: usize,
}

/// Looks at both stores and prints what does not fit. Errors among it: [`Exit::Failed`].
///
/// # Errors
/// If nobody reads what it prints.
pub async fn check(setup: &Setup, json: bool) -> std::io::Result<Exit> {
    let findings = report(setup).await;
    let mut out = std::io::stdout().lock();
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    if json {
        serde_json::to_writer(&mut out, &Report { findings: &findings, errors, warnings })?;
        writeln!(out)?;
    } else {
        for finding in &findings {
            writeln!(out, "{}", text(finding))?;
        }
        writeln!(out, "{}, {}", counted(errors, "error"), counted(warnings, "warning"))?;
    }
    out.flush()?;
    Ok(if errors == 0 { Exit::Stopped } else { Exit::Failed })
}

fn counted(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// What does not fit, and what is worth knowing: the gravest first.
pub(crate) async fn report(setup: &Setup) -> Vec<Finding> {
    let mut findings: Vec<Finding> = setup.warnings.iter().map(|warning| of_the_configuration(warning)).collect();
    let expected = setup.expected();
    if let Some(held) = held(setup) {
        findings.push(held);
    } else {
        findings.extend(surreal(setup, &expected).await);
        findings.extend(qdrant(setup, &expected).await);
    }
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    findings
}

/// An embedded store is its daemon's alone: while one runs, it cannot be looked at from beside. The kernel's list of locks is
/// asked, because a lock of our own could keep a daemon from starting in that moment.
fn held(setup: &Setup) -> Option<Finding> {
    let embedded = setup.surreal.endpoint.directory().or_else(|| setup.qdrant.endpoint.directory())?;
    if !lockstep_wal::is_locked(&setup.wal_dir.join("lock")) {
        return None;
    }
    Some(Finding {
        severity: Severity::Warning,
        store: "daemon".to_owned(),
        subject: None,
        found: format!("a daemon runs on {}, so neither store was looked at", embedded.display()),
        remedy: "stop it first; what it found at its start stands in its log lines".to_owned(),
    })
}

async fn surreal(setup: &Setup, expected: &[Expected]) -> Vec<Finding> {
    let endpoint = &setup.surreal.endpoint;
    if let Some(fresh) = not_made_yet("surreal", endpoint.directory()) {
        return vec![fresh];
    }
    match stores::surreal(setup).await {
        Ok(store) => found("surreal", &endpoint.url(), timeout(PATIENCE, store.preflight(expected)).await),
        Err(error) => vec![not_opened("surreal", &Chain(&error).to_string())],
    }
}

async fn qdrant(setup: &Setup, expected: &[Expected]) -> Vec<Finding> {
    let endpoint = &setup.qdrant.endpoint;
    if let Some(fresh) = not_made_yet("qdrant", endpoint.directory()) {
        return vec![fresh];
    }
    match stores::qdrant(setup).await {
        Ok(store) => found("qdrant", &endpoint.url(), timeout(PATIENCE, store.preflight(expected)).await),
        Err(error) => vec![not_opened("qdrant", &Chain(&error).to_string())],
    }
}

type Looked = Result<Result<Vec<Finding>, StoreError>, tokio::time::error::Elapsed>;

fn found(store: &str, url: &str, looked: Looked) -> Vec<Finding> {
    match looked {
        Ok(Ok(findings)) => findings,
        Ok(Err(error)) => vec![unusable(store, url, &error)],
        Err(_) => {
            let error = StoreError::new("", Class::Unknown, format!("no answer within {} s", PATIENCE.as_secs()));
            vec![unusable(store, url, &error)]
        }
    }
}

fn unusable(store: &str, url: &str, error: &StoreError) -> Finding {
    let remedy = match error.class {
        Class::Configuration(Scope::Store) => {
            format!("correct {store}'s credentials, namespace or database, here or there")
        }
        Class::Configuration(Scope::Table) | Class::Refused | Class::Exists => "see what it says".to_owned(),
        Class::Fenced => "if the log that holds it is gone for good: `lockstepd --adopt` takes it over".to_owned(),
        Class::NotApplied | Class::Unknown => format!("start it, or correct {store}.endpoint"),
    };
    Finding {
        severity: Severity::Error,
        store: store.to_owned(),
        subject: None,
        found: format!("{url} cannot be used: {}", error.detail),
        remedy,
    }
}

fn not_opened(store: &str, error: &str) -> Finding {
    Finding {
        severity: Severity::Error,
        store: store.to_owned(),
        subject: None,
        found: error.to_owned(),
        remedy: "see what it says; is it open in another process?".to_owned(),
    }
}

fn not_made_yet(store: &str, directory: Option<&std::path::Path>) -> Option<Finding> {
    let directory = directory.filter(|directory| !directory.exists())?;
    Some(Finding {
        severity: Severity::Info,
        store: store.to_owned(),
        subject: None,
        found: format!("there is no {} yet", directory.display()),
        remedy: "nothing: the first start makes it".to_owned(),
    })
}

fn of_the_configuration(warning: &str) -> Finding {
    let (key, found) = warning.split_once(": ").unwrap_or(("", warning));
    Finding {
        severity: Severity::Warning,
        store: key.split('.').next().unwrap_or_default().to_owned(),
        subject: Some(key.to_owned()),
        found: found.to_owned(),
        remedy: "change the file or the key".to_owned(),
    }
}

fn text(finding: &Finding) -> String {
    let Finding { severity, store, subject, found, remedy } = finding;
    let severity = match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info => "info",
    };
    let subject = subject.as_ref().map(|subject| format!(" {subject}")).unwrap_or_default();
    format!("{severity}: {store}{subject}: {found}\n    {remedy}")
}

/// Asks one store until it has answered once, and logs what does not fit.
pub(crate) async fn log_surreal(store: &dyn DocumentStore, expected: &[Expected], stop: &CancellationToken) {
    let mut wait = AGAIN;
    while !stop.is_cancelled() {
        match store.preflight(expected).await {
            Ok(findings) => return findings.iter().for_each(log),
            Err(error) => wait = again("surreal", &error, wait, stop).await,
        }
    }
}

/// As [`log_surreal`].
pub(crate) async fn log_qdrant(store: &dyn VectorStore, expected: &[Expected], stop: &CancellationToken) {
    let mut wait = AGAIN;
    while !stop.is_cancelled() {
        match store.preflight(expected).await {
            Ok(findings) => return findings.iter().for_each(log),
            Err(error) => wait = again("qdrant", &error, wait, stop).await,
        }
    }
}

/// The breaker says loudly enough that a store is away.
async fn again(store: &str, error: &StoreError, wait: Duration, stop: &CancellationToken) -> Duration {
    tracing::debug!(store, %error, "the store was not compared with the configuration; it is asked again");
    tokio::select! {
        () = sleep(wait) => {}
        () = stop.cancelled() => {}
    }
    (wait * 2).min(SELDOM)
}

fn log(finding: &Finding) {
    let Finding { severity, store, subject, found, remedy } = finding;
    match severity {
        Severity::Error => tracing::error!(store, subject, found, remedy, "a store does not fit the configuration"),
        Severity::Warning => {
            tracing::warn!(store, subject, found, remedy, "a store does not quite fit the configuration")
        }
        Severity::Info => tracing::info!(store, subject, found, remedy, "seen in a store"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_cannot_be_used_says_what_to_do() {
        let of = |class| unusable("surreal", "ws://h:1", &StoreError::new("surreal", class, "its words"));
        let away = of(Class::NotApplied);
        assert_eq!(away.severity, Severity::Error);
        assert!(away.found.contains("ws://h:1") && away.found.contains("its words"), "{away:?}");
        assert!(away.remedy.contains("surreal.endpoint"));
        assert!(of(Class::Configuration(Scope::Store)).remedy.contains("credentials"));
    }

    #[test]
    fn findings_are_one_line_and_what_to_do() {
        let finding = of_the_configuration("qdrant.endpoint: 6333 is REST");
        assert_eq!(text(&finding), "warning: qdrant qdrant.endpoint: 6333 is REST\n    change the file or the key");
    }
}
