//! An operation in plain words: what `explain` prints for people.

use lockstep_api::{OpError, OpView, Step};
use lockstep_model::{Action, ActionKind, Operation, State, Vectors};

use crate::command::explain::Explained;
use crate::command::show::Whole;
use crate::neighbours::Side;
use crate::show_text::sizes;
use crate::text::{LABEL, ago, bytes, count, counted, labelled, paragraph};

/// The lines; all but commands fit the columns.
pub(crate) fn lines(explained: &Explained, source: &str) -> Vec<String> {
    let whole = &explained.whole;
    let view = &whole.op.view;
    let mut lines = vec![labelled("source", source)];
    let key = view.key.as_deref().map_or_else(String::new, |key| format!(" {key}"));
    lines.push(labelled("operation", &format!("{} {}{key}: {}", view.lsn, view.op, view.state)));
    let (who, what) = asked(whole);
    lines.push(paragraph("asked", &who));
    lines.push(paragraph("", &what));
    for (place, (at, what)) in happened(whole).into_iter().enumerate() {
        let label = if place == 0 { "happened" } else { "" };
        lines.push(paragraph(label, &format!("{}  {what}", at.as_deref().unwrap_or("then"))));
    }
    lines.push(paragraph("now", meaning(view.state)));
    lines.extend(waits(view, &explained.neighbours.ahead));
    if view.state.is_open() {
        lines.push(paragraph("behind it", &side(&explained.neighbours.behind, "nothing waits for it", "wait for it")));
    }
    let refuses =
        if explained.is_whole { "" } else { "refuses this log, which is not whole. With a whole one it would " };
    let restart = match explained.restart {
        Some((decision, reason)) => format!("{refuses}{}: {reason}", decision.as_str()),
        None if whole.op.left == Some(true) => "nothing: it has left the log".to_owned(),
        None => "not known from here: the log's directory was not read".to_owned(),
    };
    lines.push(paragraph("a restart", &restart));
    for (place, action) in explained.actions.iter().enumerate() {
        lines.push(paragraph(if place == 0 { "you can" } else { "" }, &action.advice));
        // Not broken into lines: they are to be copied.
        lines.extend(action.commands.iter().map(|command| format!("{:LABEL$}  {command}", "")));
    }
    lines
}

/// Who asked, and when; and what for.
fn asked(whole: &Whole) -> (String, String) {
    let view = &whole.op.view;
    let at = view.created_at.as_deref();
    let since = at.and_then(ago).map_or_else(String::new, |ago| format!(" ({ago})"));
    let at = format!("{}{since}", at.unwrap_or("at a time not known"));
    let Some(intent) = &whole.intent else {
        let gone =
            if whole.op.left == Some(true) { "it has left the log, a summary is kept" } else { "name its directory" };
        return (at, format!("what it carries is not known here: {gone}"));
    };
    let who = intent.caller.uid.map_or_else(|| "somebody".to_owned(), |uid| format!("uid {uid}"));
    let stores = if intent.wants_vectors { "both stores" } else { "SurrealDB alone" };
    (format!("{at} by {who}, for {stores}"), what(&intent.op))
}

fn what(operation: &Operation) -> String {
    let mut said = of_action(&operation.action);
    if let Some(version) = operation.precondition.if_version {
        said.push_str(&format!(", if it has version {version}"));
    }
    if operation.precondition.if_absent {
        said.push_str(", if it is not there");
    }
    if let Some(idempotency) = &operation.idempotency {
        said.push_str(&format!(", idempotency key {}", idempotency.key));
    }
    said
}

fn of_action(action: &Action) -> String {
    let subject = action.subject().map_or_else(String::new, |key| format!(" {key}"));
    match action {
        Action::Put { document, vectors, .. } => format!("put{subject}, {}", carried(document.0.len(), vectors)),
        Action::Patch { document, vectors, .. } => format!("patch{subject}, {}", carried(document.0.len(), vectors)),
        Action::Relate { from, to, document, vectors, .. } => {
            format!("relate {from} to {to} as{subject}, {}", carried(document.0.len(), vectors))
        }
        Action::Delete { .. } => format!("delete{subject}"),
        Action::Unrelate(_) => format!("unrelate{subject}"),
        Action::Atomic(members) => {
            let of = |kind: ActionKind| members.iter().filter(|member| member.kind() == kind).count() as u64;
            let kinds = ActionKind::ALL.into_iter().map(|kind| (of(kind), kind)).filter(|&(number, _)| number > 0);
            let kinds: Vec<String> = kinds.map(|(number, kind)| format!("{} {kind}", count(number))).collect();
            format!("a group of {} as one: {}", count(members.len() as u64), kinds.join(", "))
        }
        Action::Clear { table, filter } => match filter {
            Some(filter) => format!("clear table {table} where {}", filter.to_json()),
            None => format!("clear table {table}"),
        },
    }
}

fn carried(fields: usize, vectors: &Vectors) -> String {
    let document = format!("a document of {}", counted(fields as u64, "field"));
    match sizes(vectors) {
        sizes if sizes.is_empty() => document,
        sizes => format!("{document} and {}", sizes.join(", ")),
    }
}

/// What happened to it, with the times that are known.
pub(crate) fn happened(whole: &Whole) -> Vec<(Option<String>, String)> {
    let view = &whole.op.view;
    let surreal_alone = whole.intent.as_ref().is_some_and(|intent| !intent.wants_vectors);
    let mut all = Vec::new();
    for Step { state, at, note } in view.history.iter().flatten() {
        let said = match state {
            State::Pending => "logged: it cannot be lost any more".to_owned(),
            State::SurrealCompleted => "SurrealDB took it".to_owned(),
            State::QdrantCompleted if surreal_alone => "nothing to do for Qdrant".to_owned(),
            State::QdrantCompleted => "Qdrant took it".to_owned(),
            State::Committed => "committed: both stores show it".to_owned(),
            State::Compensating => format!("to be taken back{}", because(view.error.as_ref())),
            State::RolledBack => "taken back: neither store shows it".to_owned(),
            State::Parked => format!("parked{}", because(view.error.as_ref())),
            State::Discarded => "given up by an operator".to_owned(),
        };
        let note = note.as_deref().map_or_else(String::new, |note| format!(" ({note})"));
        all.push((at.clone(), format!("{said}{note}")));
        if let (State::Pending, Some((_, image))) = (state, &whole.image) {
            let held = image.before.iter().filter_map(|before| before.raw.as_ref()).map(Vec::len);
            let (records, size) = (held.clone().count(), held.sum::<usize>());
            let before = match records {
                0 => "nothing was there before it".to_owned(),
                some => format!("before it there were {}, {}", counted(some as u64, "record"), bytes(size as u64)),
            };
            all.push((None, format!("SurrealDB was read: {before}")));
        }
    }
    let is_told = view.history.iter().flatten().any(|step| matches!(step.state, State::Compensating | State::Parked));
    if let (Some(error), false) = (&view.error, is_told) {
        all.push((error.at.clone(), format!("last trouble{}", because(Some(error)))));
    }
    if let Some(attempts) = view.attempts.filter(|attempts| *attempts > 1) {
        all.push((None, format!("tried {}", counted(attempts, "time"))));
    }
    all
}

fn because(error: Option<&OpError>) -> String {
    let Some(OpError { store, code, detail, .. }) = error else { return String::new() };
    let store = match store.as_deref() {
        Some("surreal") => "SurrealDB",
        Some("qdrant") => "Qdrant",
        Some(other) => other,
        None => "Lockstep",
    };
    format!(": {store} says {code}: {detail}")
}

/// What a state means to an operator.
pub(crate) const fn meaning(state: State) -> &'static str {
    match state {
        State::Pending => "pending: logged and safe. No store is known to have it yet.",
        State::SurrealCompleted => "surreal_completed: SurrealDB has it, Qdrant not yet. It goes forward.",
        State::QdrantCompleted => {
            "qdrant_completed: both stores have it; its end is not in the log yet. It goes forward."
        }
        State::Committed => "committed: it is done, and stays so.",
        State::Compensating => "compensating: it cannot be finished and is being taken back. Nothing of it will stay.",
        State::RolledBack => "rolled_back: it was taken back, neither store shows it. That is final.",
        State::Parked => {
            "parked: it can be neither finished nor taken back safely. It stays so until an operator decides."
        }
        State::Discarded => "discarded: an operator gave it up. That is final.",
    }
}

fn waits(view: &OpView, ahead: &Side) -> Option<String> {
    if !view.state.is_open() {
        return None;
    }
    let said = match view.waiting_for.as_deref().and_then(|what| what.split_once(':')) {
        Some(("store", store)) => format!("{store}, which does not answer or is paused"),
        Some(("table", table)) => format!("table {table}, which is paused"),
        Some(("lsn", _)) => side(ahead, "an older operation", "are older and in its way"),
        Some(_) => view.waiting_for.clone().unwrap_or_default(),
        None => "nothing but lockstepd itself".to_owned(),
    };
    let next = view.next_attempt_at.as_ref().map_or_else(String::new, |at| format!("; next attempt at {at}"));
    Some(paragraph("waits for", &format!("{said}{next}")))
}

/// `3 operations wait for it: 43 put memory:01, …`
fn side(side: &Side, none: &str, does: &str) -> String {
    if side.count == 0 {
        return none.to_owned();
    }
    let named = side.oldest.iter().map(|(lsn, op, key)| match key {
        Some(key) => format!("{lsn} {op} {key}"),
        None => format!("{lsn} {op}"),
    });
    let named: Vec<String> = named.collect();
    let more = if side.count > named.len() as u64 { ", …" } else { "" };
    let does = if side.count == 1 { singular(does) } else { does.to_owned() };
    format!("{} {does}: {}{more}", counted(side.count, "operation"), named.join(", "))
}

fn singular(does: &str) -> String {
    match does.split_once(' ') {
        Some(("wait", rest)) => format!("waits {rest}"),
        Some(("are", rest)) => format!("is {rest}"),
        Some(_) | None => does.to_owned(),
    }
}
