//! One operation in words: what `show` prints for people.

use lockstep_api::{OpError, OpView, Step, VectorView};
use lockstep_model::{Action, Operation, State, Vectors};
use lockstep_wal::{Before, Intent, Outcome};
use serde_json::{Map, Value};

use crate::command::show::{Whole, name};
use crate::text::{age, bytes, counted, labelled, now_us, paragraph, plain, time};

/// The lines. Unless `full`, each fits the columns.
pub(crate) fn lines(whole: &Whole, source: &str, full: bool) -> Vec<String> {
    let view = &whole.op.view;
    let mut lines = vec![labelled("source", source)];
    let key = view.key.as_deref().map_or_else(String::new, |key| format!(" {key}"));
    let left = if whole.op.left == Some(true) { ", has left the log" } else { "" };
    let op = labelled("operation", &format!("{} {}{key}: {}{left}", view.lsn, view.op, view.state));
    lines.push(op);
    let op_id = whole.op.op_id().map_or_else(|| "not known".to_owned(), |op_id| op_id.to_string());
    let version = view.version.map_or_else(|| "not known".to_owned(), |version| version.to_string());
    lines.push(labelled("id", &format!("{op_id}, version {version}")));
    lines.push(labelled("logged", &logged(view, whole.intent.as_ref())));
    lines.extend(history(view));
    if let Some(OpError { store, code, detail, .. }) = &view.error {
        let store = store.as_deref().unwrap_or("lockstep");
        lines.push(paragraph("error", &format!("{code} ({store}): {detail}")));
    }
    if let Some(waits) = waits(view) {
        lines.push(paragraph("waits for", &waits));
    }
    lines.extend(image(whole));
    if !whole.lanes.is_empty() {
        let lanes: Vec<String> = whole.lanes.iter().map(|(lane, access)| format!("{} {lane}", name(*access))).collect();
        lines.push(paragraph("lanes", &lanes.join(", ")));
    }
    if !whole.records.is_empty() {
        let records: Vec<String> = whole.records.iter().map(|(lsn, kind)| format!("{lsn} {kind}")).collect();
        lines.push(paragraph("records", &records.join(", ")));
    }
    match &whole.intent {
        Some(intent) => lines.extend(asked(&intent.op, full)),
        None if whole.op.left == Some(true) => {
            lines.push(paragraph("asked", "not kept: of an operation that has left only a summary stays"));
        }
        None => lines.push(paragraph("asked", "not known: it stands in the log's directory, which was not read")),
    }
    lines
}

fn logged(view: &OpView, intent: Option<&Intent>) -> String {
    let mut said = view.created_at.clone().unwrap_or_else(|| "not known".to_owned());
    if let Some(intent) = intent {
        let past = now_us().saturating_sub(intent.at_us) / 1_000_000;
        said = format!("{} ({} ago)", time(intent.at_us), age(past));
        if let Some(uid) = intent.caller.uid {
            said = format!("{said} by uid {uid}");
        }
        let stores = if intent.wants_vectors { "both stores" } else { "SurrealDB alone" };
        said = format!("{said}, for {stores}");
    }
    if let Some(attempts) = view.attempts {
        said = format!("{said}, {}", counted(attempts, "attempt"));
    }
    said
}

fn history(view: &OpView) -> Vec<String> {
    let steps = view.history.iter().flatten().enumerate();
    steps
        .map(|(place, Step { state, at, note })| {
            let label = if place == 0 { "history" } else { "" };
            let note = note.as_deref().map_or_else(String::new, |note| format!("  {note}"));
            labelled(label, &format!("{state:<17}  {}{note}", at.as_deref().unwrap_or("time not known")))
        })
        .collect()
}

fn waits(view: &OpView) -> Option<String> {
    let said = match (view.waiting_for.as_deref(), view.state) {
        (Some("operator"), _) => "an operator: it can be neither finished nor undone without one".to_owned(),
        (Some(other), _) => match other.strip_prefix("lsn:") {
            Some(lsn) => format!("operation {lsn}, which is older and in its way"),
            None => other.to_owned(),
        },
        (None, State::Pending | State::SurrealCompleted | State::QdrantCompleted | State::Compensating) => {
            "lockstepd: it finishes this when it runs".to_owned()
        }
        (None, State::Committed | State::RolledBack | State::Parked | State::Discarded) => return None,
    };
    Some(view.next_attempt_at.as_ref().map_or_else(|| said.clone(), |at| format!("{said}; next attempt at {at}")))
}

fn image(whole: &Whole) -> Vec<String> {
    let Some((lsn, image)) = &whole.image else {
        return if whole.records.is_empty() { Vec::new() } else { vec![labelled("image", "none in the log")] };
    };
    let outcome = match &image.outcome {
        Outcome::AsAsked => "goes on as it was asked".to_owned(),
        Outcome::Resolved { .. } => "the patch is resolved into a whole document".to_owned(),
        Outcome::Removes { edges } | Outcome::RemovesPoint { edges, .. } => {
            format!("removes {} with it", counted(edges.len() as u64, "edge"))
        }
        Outcome::Group { members, points } => format!(
            "a group of {}, with {} as they were",
            counted(members.len() as u64, "member"),
            counted(points.len() as u64, "point")
        ),
    };
    let mut lines = vec![labelled("image", &format!("record {lsn}: {outcome}; before it SurrealDB held"))];
    lines.extend(image.before.iter().map(|Before { key, raw, version }| {
        let held = raw.as_ref().map_or_else(|| "nothing".to_owned(), |raw| bytes(raw.len() as u64));
        let version = version.map_or_else(String::new, |version| format!(", version {version}"));
        labelled("", &format!("{key}: {held}{version}"))
    }));
    lines
}

fn asked(operation: &Operation, full: bool) -> Vec<String> {
    let mut body = brief(&operation.action);
    let conditions = Operation { action: operation.action.clone(), ..operation.clone() }.to_json();
    for name in ["if_version", "if_absent", "idempotency_key"] {
        if let Some(value) = conditions.get(name) {
            body.insert(name.to_owned(), value.clone());
        }
    }
    if !full {
        return vec![labelled("asked", &Value::Object(body).to_string())];
    }
    let text = serde_json::to_string_pretty(&Value::Object(body)).unwrap_or_default();
    std::iter::once(labelled("asked", "")).chain(text.lines().map(plain)).collect()
}

/// The request body with each vector as short as `[384 f32]`.
fn brief(action: &Action) -> Map<String, Value> {
    let mut body = action.to_json();
    match action {
        Action::Atomic(members) => {
            let members = members.iter().map(|member| Value::Object(brief(member)));
            body.insert("ops".to_owned(), members.collect());
        }
        Action::Put { vectors, .. } | Action::Patch { vectors, .. } | Action::Relate { vectors, .. } => {
            shorten(&mut body, vectors);
        }
        Action::Delete { .. } | Action::Unrelate(_) | Action::Clear { .. } => {}
    }
    body
}

fn shorten(body: &mut Map<String, Value>, vectors: &Vectors) {
    let size = |name: &str| -> Option<String> {
        let view: VectorView = serde_json::from_value(vectors.0.get(name)?.to_json()).ok()?;
        Some(view.to_string())
    };
    for (member, value) in body.iter_mut() {
        match (member.as_str(), value) {
            ("vector", value) => *value = size(lockstep_model::DEFAULT_VECTOR).into(),
            ("vectors", Value::Object(named)) => {
                named.iter_mut().for_each(|(name, value)| *value = size(name).into());
            }
            _ => {}
        }
    }
}

/// `vector default [384 f32]` for each vector.
pub(crate) fn sizes(vectors: &Vectors) -> Vec<String> {
    let sizes = vectors.0.iter().map(|(name, vector)| {
        let view: Option<VectorView> = serde_json::from_value(vector.to_json()).ok();
        format!("vector {name} {}", view.map_or_else(|| "[?]".to_owned(), |view| view.to_string()))
    });
    sizes.collect()
}

#[cfg(test)]
mod tests {
    use lockstep_model::{Document, Vector};

    use super::*;

    #[test]
    fn vectors_are_short_in_every_member_of_a_group() {
        let dense = Vectors::single(Vector::dense(vec![0.5; 384]).unwrap());
        let mut named = Vectors::default();
        named.0.insert("title".to_owned(), Vector::multi(2, vec![0.5; 6]).unwrap());
        named.0.insert("body".to_owned(), Vector::sparse(&[1, 7], &[0.5, 0.5]).unwrap());
        let put =
            |key: &str, vectors| Action::Put { key: key.parse().unwrap(), document: Document::default(), vectors };
        let group = Action::Atomic(vec![put("memory:1", dense), put("memory:2", named)]);
        let body = Value::Object(brief(&group));
        assert_eq!(body["ops"][0]["vector"], "[384 f32]");
        assert_eq!(body["ops"][1]["vectors"]["title"], "[3 x 2 f32]");
        assert_eq!(body["ops"][1]["vectors"]["body"], "[2 of sparse f32]");
    }
}
