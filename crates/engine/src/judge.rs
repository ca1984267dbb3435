//! Judge: existence, preconditions and patches, against what was there (design 4.5). Pure but for the clock, which an unknown
//! version lifts.

use std::collections::HashSet;

use lockstep_model::{
    Action, Code, Document, Key, PointId, PointIdPolicy, Precondition, Refusal, UnrelateTarget, Value, Vectors, Version,
};
use lockstep_stores::{EdgeEnds, Found, Image, Stamp};
use lockstep_wal::{Before, MemberOutcome, Outcome, PointBefore, document_bytes};

use crate::core::{Core, Fatal};
use crate::need::{Held, Need};
use crate::work::Work;

/// What has to be logged before a store is touched; nothing for those that need no image.
pub(crate) type Verdict = Result<Option<(Vec<Before>, Outcome)>, Refusal>;

/// One member's part of it.
type MemberVerdict = Result<Option<(Vec<Before>, MemberOutcome)>, Refusal>;

/// Judges one operation.
///
/// # Errors
/// The log and the store contradict each other.
pub(crate) fn judge(core: &Core, work: &mut Work, needs: &[Need], held: &Held) -> Result<Verdict, Fatal> {
    if work.is_group() {
        return judge_group(core, work, needs, held);
    }
    let Some(need) = needs.first() else { return Ok(Ok(None)) };
    let action = work.intent.op.action.clone();
    let verdict = judge_member(core, work, &action, (0, need), held, &Overlay::default())?;
    Ok(verdict.map(|judged| judged.map(|(before, outcome)| (before, alone(outcome)))))
}

fn alone(outcome: MemberOutcome) -> Outcome {
    match outcome {
        MemberOutcome::AsAsked => Outcome::AsAsked,
        MemberOutcome::Resolved { document, vectors, ends } => Outcome::Resolved { document, vectors, ends },
        MemberOutcome::Removes { edges } => Outcome::Removes { edges },
        MemberOutcome::RemovesPoint { edges, point } => Outcome::RemovesPoint { edges, point },
    }
}

/// What earlier members of a group make of the records.
#[derive(Debug, Default)]
struct Overlay {
    made: HashSet<Key>,
    removed: HashSet<Key>,
}

impl Overlay {
    fn add(&mut self, action: &Action) {
        match action {
            Action::Put { key, .. } | Action::Relate { key, .. } => {
                self.made.insert(key.clone());
            }
            Action::Delete { key } => {
                self.removed.insert(key.clone());
            }
            Action::Patch { .. } | Action::Unrelate(_) | Action::Atomic(_) | Action::Clear { .. } => {}
        }
    }
}

fn judge_group(core: &Core, work: &mut Work, needs: &[Need], held: &Held) -> Result<Verdict, Fatal> {
    let members: Vec<Action> = work.intent.op.action.members().to_vec();
    let mut overlay = Overlay::default();
    // What the group deletes is gone for its edges, wherever the delete stands in it: the record takes them along.
    members.iter().filter(|member| matches!(member, Action::Delete { .. })).for_each(|member| overlay.add(member));
    let logged = work.image.is_some();
    let mut befores: Vec<Before> = Vec::new();
    let mut imaged = HashSet::new();
    let mut outcomes = Vec::with_capacity(members.len());
    for (place, (action, need)) in members.iter().zip(needs).enumerate() {
        match judge_member(core, work, action, (place, need), held, &overlay)? {
            Err(refusal) => return Ok(Err(refusal.within(&format!("ops[{place}]")))),
            Ok(None) => outcomes.push(MemberOutcome::AsAsked),
            Ok(Some((before, outcome))) => {
                // An edge between two deleted records is seen from both.
                before.into_iter().filter(|b| imaged.insert(b.key.clone())).for_each(|b| befores.push(b));
                outcomes.push(outcome);
            }
        }
        overlay.add(action);
    }
    if logged {
        return Ok(Ok(None));
    }
    let touched = |place: usize, action: &Action, need: &Need| -> Vec<Key> {
        action.key().cloned().into_iter().chain(held.taken_along(work.lsn, place, need).cloned()).collect()
    };
    let mut seen = HashSet::new();
    let points = members
        .iter()
        .zip(needs)
        .enumerate()
        .flat_map(|(place, (action, need))| touched(place, action, need))
        .filter(|key| seen.insert(key.clone()))
        .filter_map(|key| held.points.get(&key))
        .map(|(collection, id, point)| PointBefore {
            collection: collection.clone(),
            id: (*id).into(),
            point: point.as_ref().map(crate::restore::logged),
        })
        .collect();
    Ok(Ok(Some((befores, Outcome::Group { members: outcomes, points }))))
}

fn judge_member(
    core: &Core,
    work: &mut Work,
    action: &Action,
    (place, need): (usize, &Need),
    held: &Held,
    overlay: &Overlay,
) -> Result<MemberVerdict, Fatal> {
    let record = |key: &Key| held.records.get(key);
    match need {
        Need::Nothing => Ok(Ok(None)),
        Need::Point(key) => Ok(judge_point(work, (place, action), key, held)),
        Need::Record(key, _) => {
            let ends = record(key).and_then(|i| i.found.as_ref()).and_then(|f| f.ends.as_ref());
            let gone = ends.and_then(|e| [&e.from, &e.to].into_iter().find(|end| overlay.removed.contains(*end)));
            if let Some(end) = gone {
                return Ok(Err(Refusal::not_found(format!("the edge {key} goes with {end}, which the group deletes"))));
            }
            judge_record(core, work, (place, action), record(key), None, held)
        }
        Need::RecordAndEdges(key, _) => {
            let image = record(key);
            let edges = image.map(|i| i.edges.as_slice()).unwrap_or_default();
            if work.is_group() && image.is_some_and(|i| i.unkeyed_edges > 0) {
                let detail = format!(
                    "{key} has edges whose ids are arrays or objects: a group that deletes it could not be undone; \
                     delete it in an operation of its own"
                );
                return Ok(Err(Refusal::precondition_failed(detail)));
            }
            judge_record(core, work, (place, action), image, Some(edges), held)
        }
        Need::Ends(ends) => Ok(endpoints(held, ends, overlay).map(|()| None)),
        Need::Patched(key, ends) => Ok(match record(key).and_then(|image| image.found.as_ref()) {
            Some(_) => endpoints(held, ends, overlay).map(|()| None),
            None => Err(Refusal::not_found(format!("there is no record {key} to patch"))),
        }),
        Need::Edge(key, _, ends) => match endpoints(held, ends, overlay) {
            Err(refusal) => Ok(Err(refusal)),
            Ok(()) => judge_record(core, work, (place, action), record(key), None, held),
        },
        Need::Between(_, _, derived) => {
            let edges = held.between.get(&(work.lsn, place)).map(Vec::as_slice).unwrap_or_default();
            judge_record(core, work, (place, action), derived.as_ref().and_then(record), Some(edges), held)
        }
    }
}

fn endpoints(held: &Held, ends: &EdgeEnds, overlay: &Overlay) -> Result<(), Refusal> {
    let there = |key: &Key| held.records.get(key).is_some_and(|image| image.found.is_some());
    let gone = |key: &&Key| overlay.removed.contains(*key) || !(overlay.made.contains(*key) || there(key));
    match [&ends.from, &ends.to].into_iter().find(gone) {
        Some(end) => Err(Refusal::not_found(format!("there is no record {end} to relate"))),
        None => Ok(()),
    }
}

fn judge_record(
    core: &Core,
    work: &mut Work,
    (place, action): (usize, &Action),
    image: Option<&Image>,
    edges: Option<&[Key]>,
    held: &Held,
) -> Result<MemberVerdict, Fatal> {
    let found = image.and_then(|i| i.found.as_ref());
    let stamp = found.and_then(|f| f.stamp);
    let point = found.and_then(|found| named_point(core, action.key()?, found));
    let removes = |edges: &[Key]| match point {
        Some(point) => MemberOutcome::RemovesPoint { edges: gone(held, edges), point: point.into() },
        None => MemberOutcome::Removes { edges: gone(held, edges) },
    };
    if let Some(stamp) = stamp {
        if stamp.op == work.op_id {
            return own_write(work, stamp);
        }
        if stamp.version > work.version {
            if work.seen && !work.is_group() && is_later_of_this_log(core, work, &stamp) {
                // A later operation of this log has been here: replaying this one changes nothing.
                work.in_surreal = true;
                return Ok(Ok(edges.map(|edges| (Vec::new(), removes(edges)))));
            }
            core.lock().clock.lift_above(stamp.version);
            let detail =
                format!("the record carries version {}, newer than this operation's {}", stamp.version, work.version);
            return Ok(Err(Refusal::new(Code::NewerVersion, detail)));
        }
    }
    if let Err(refusal) = precondition(work.intent.op.condition(place), found.is_some(), stamp.map(|s| s.version)) {
        return Ok(Err(refusal));
    }
    if let (Action::Relate { key, from, to, .. }, Some(there)) = (action, found.and_then(|f| f.ends.as_ref()))
        && (there.from != *from || there.to != *to)
    {
        // Its lanes are those of its endpoints: an edge that moved could pass a delete of the old ones (docs/decisions).
        let detail =
            format!("{key} leads from {} to {}: unrelate it first, an edge does not move", there.from, there.to);
        return Ok(Err(Refusal::precondition_failed(detail)));
    }
    if let Err(refusal) = names_its_point(core, action, found) {
        return Ok(Err(refusal));
    }
    if let Err(refusal) = is_of_its_kind(action, found) {
        return Ok(Err(refusal));
    }
    let conditional = work.intent.op.is_conditional();
    let group = work.is_group();
    let undoable = work.intent.wants_vectors || conditional || group;
    Ok(match action {
        Action::Patch { key, document, vectors } => match found {
            None => Err(Refusal::not_found(format!("there is no record {key} to patch"))),
            Some(found) => {
                let point = held.points.get(key).and_then(|(_, _, point)| point.as_ref()).map(|p| &p.vectors);
                Ok(Some((vec![before(key, Some(found))], resolve(found, document, vectors, point))))
            }
        },
        Action::Put { key, .. } | Action::Relate { key, .. } if undoable => {
            Ok(Some((vec![before(key, found)], MemberOutcome::AsAsked)))
        }
        Action::Put { .. } | Action::Relate { .. } => {
            // What is there is not created.
            work.long_way |= found.is_some();
            Ok(None)
        }
        Action::Delete { .. } | Action::Unrelate(_) if group => {
            let edges = edges.unwrap_or_default();
            let own = action.key().map(|key| before(key, found));
            let edge = |key| before(key, held.edges.get(key).and_then(|i| i.found.as_ref()));
            Ok(Some((own.into_iter().chain(edges.iter().map(edge)).collect(), removes(edges))))
        }
        Action::Delete { .. } | Action::Unrelate(_) => match edges {
            Some(edges) if !edges.is_empty() || conditional || point.is_some() => {
                Ok(Some((Vec::new(), removes(edges))))
            }
            None if point.is_some() => Ok(Some((Vec::new(), removes(&[])))),
            None if conditional => Ok(Some((Vec::new(), MemberOutcome::AsAsked))),
            Some(_) | None => Ok(None),
        },
        Action::Atomic(_) | Action::Clear { .. } => Ok(None),
    })
}

/// What is said of an edge is said of an edge: `unrelate` removes no other record, `patch` moves none, and `put` makes none a record:
/// SurrealDB would leave it an edge, which goes with its ends, and the log would not know of them.
fn is_of_its_kind(action: &Action, found: Option<&Found>) -> Result<(), Refusal> {
    let Some(found) = found else { return Ok(()) };
    match action {
        Action::Unrelate(UnrelateTarget::Key(key)) if !is_edge(found) => {
            Err(Refusal::precondition_failed(format!("{key} is a record and no edge: a delete removes it")))
        }
        // A record with links of its own of these names is put with them.
        Action::Put { key, document, .. }
            if found.ends.is_some() && !["in", "out"].iter().all(|name| document.0.contains_key(*name)) =>
        {
            Err(Refusal::precondition_failed(format!("{key} is an edge: a relate replaces it, a patch changes it")))
        }
        Action::Patch { key, document, .. } if found.ends.is_some() => {
            match ["in", "out"].into_iter().find(|name| document.0.contains_key(*name)) {
                Some(name) => Err(Refusal::malformed(format!("document.{name} of the edge {key} cannot be patched"))),
                None => Ok(()),
            }
        }
        Action::Put { .. }
        | Action::Patch { .. }
        | Action::Relate { .. }
        | Action::Delete { .. }
        | Action::Unrelate(_)
        | Action::Atomic(_)
        | Action::Clear { .. } => Ok(()),
    }
}

/// An edge that others made may lead to what is no key of ours; its ends then stand in the document.
fn is_edge(found: &Found) -> bool {
    let leads = |name| matches!(found.document.0.get(name), Some(Value::Record(_) | Value::Foreign(_)));
    found.ends.is_some() || (leads("in") && leads("out"))
}

/// A table of Qdrant's alone: the point is all there is.
fn judge_point(work: &Work, (place, action): (usize, &Action), key: &Key, held: &Held) -> MemberVerdict {
    let point = held.points.get(key).and_then(|(_, _, point)| point.as_ref());
    precondition(work.intent.op.condition(place), point.is_some(), point.and_then(|p| p.stamp.version))?;
    match action {
        Action::Patch { document, vectors, .. } => {
            let Some(point) = point else {
                return Err(Refusal::not_found(format!("there is no point of {key} to patch")));
            };
            let base = Document::from_plain(&point.payload);
            let mut all = point.vectors.clone();
            all.0.extend(vectors.0.iter().map(|(name, vector)| (name.clone(), vector.clone())));
            let document = document_bytes(&base.merge_patch(document));
            Ok(Some((Vec::new(), MemberOutcome::Resolved { document, vectors: all.encode(), ends: None })))
        }
        Action::Put { .. } | Action::Delete { .. } if work.intent.op.is_conditional() => {
            Ok(Some((Vec::new(), MemberOutcome::AsAsked)))
        }
        Action::Put { .. }
        | Action::Delete { .. }
        | Action::Relate { .. }
        | Action::Unrelate(_)
        | Action::Atomic(_)
        | Action::Clear { .. } => Ok(None),
    }
}

/// The point that the record names as its own, where the table has records do that.
fn named_point(core: &Core, key: &Key, found: &Found) -> Option<PointId> {
    let shared = core.lock();
    shared.tables.point_field(&key.table)?;
    shared.tables.point_id_of(key, &found.document)
}

/// `point_id = "field:NAME"`: what names the point is there if there is a point, and does not change. A point under its old name
/// would be left behind by whoever only knows the new one.
fn names_its_point(core: &Core, action: &Action, found: Option<&Found>) -> Result<(), Refusal> {
    let (key, document, points) = match action {
        Action::Put { key, document, vectors } => (key, document.clone(), !vectors.0.is_empty()),
        Action::Patch { key, document, vectors } => {
            let merged = found.map(|found| found.document.merge_patch(document)).unwrap_or_default();
            (key, merged, !vectors.0.is_empty() || found.is_some_and(|found| found.has_vectors))
        }
        Action::Relate { .. }
        | Action::Delete { .. }
        | Action::Unrelate(_)
        | Action::Atomic(_)
        | Action::Clear { .. } => return Ok(()),
    };
    let shared = core.lock();
    let Some(rules) = shared.tables.get(&key.table).map(|info| &info.rules) else { return Ok(()) };
    let PointIdPolicy::Field(field) = &rules.point_id else { return Ok(()) };
    let named = rules.point_id.point_id(key, &document);
    let old = found.and_then(|found| rules.point_id.point_id(key, &found.document).ok());
    match (named, old) {
        (Ok(named), Some(old)) if named == old => Ok(()),
        (_, Some(old)) => Err(Refusal::precondition_failed(format!(
            "the field {field} of {key} names its point {old}, and does not change: delete the record, then put it anew"
        ))),
        (Err(error), None) if points => Err(Refusal::malformed(error.to_string())),
        (_, None) => Ok(()),
    }
}

/// The store carries this operation's own write, although no image of it is in the log.
fn own_write(work: &mut Work, stamp: Stamp) -> Result<MemberVerdict, Fatal> {
    let imageless = stamp.created
        || matches!(work.intent.op.action, Action::Relate { .. } | Action::Put { .. })
            && !work.intent.wants_vectors
            && !work.intent.op.is_conditional();
    if !imageless || work.is_group() {
        // Its image was durable before the store was touched (scenario A4c).
        return Err(Fatal::Lost(format!(
            "the store shows the write of operation {}, whose image the log lacks",
            work.lsn
        )));
    }
    work.in_surreal = true;
    Ok(Ok(None))
}

/// Whether what the stamp names was logged after this operation, in this log.
pub(crate) fn is_later_of_this_log(core: &Core, work: &Work, stamp: &Stamp) -> bool {
    core.lock().author(stamp.op, stamp.version).is_some_and(|(lsn, _)| lsn > work.lsn)
}

/// `if_version` 0 says that Lockstep has written nothing there.
fn precondition(precondition: Precondition, there: bool, version: Option<Version>) -> Result<(), Refusal> {
    if precondition.if_absent && there {
        let version = version.map_or_else(|| "not written by Lockstep".to_owned(), |v| format!("version {v}"));
        return Err(Refusal::precondition_failed(format!("if_absent: there is a record ({version})")));
    }
    if let Some(wanted) = precondition.if_version {
        let has = match version {
            Some(version) if version == wanted => return Ok(()),
            Some(version) => format!("version {version}"),
            None if wanted == Version(0) => return Ok(()),
            None if there => "a record that Lockstep has not written".to_owned(),
            None => "no record".to_owned(),
        };
        return Err(Refusal::precondition_failed(format!("if_version: wanted version {wanted}, there is {has}")));
    }
    Ok(())
}

fn before(key: &Key, found: Option<&Found>) -> Before {
    Before {
        key: key.to_string(),
        raw: found.map(|f| f.raw.clone()),
        version: found.and_then(|f| f.stamp).map(|s| s.version),
    }
}

fn gone(held: &Held, edges: &[Key]) -> Vec<(String, Option<Version>)> {
    let version = |key: &Key| held.edges.get(key)?.found.as_ref()?.stamp.map(|stamp| stamp.version);
    edges.iter().map(|key| (key.to_string(), version(key))).collect()
}

/// A patch, resolved once against its image: from now on it is a put of the result (scenario B5). A record of ours that has no
/// vectors has no point either: one that is there has come late, and goes.
fn resolve(found: &Found, patch: &Document, named: &Vectors, point: Option<&Vectors>) -> MemberOutcome {
    let point = point.filter(|_| found.stamp.is_none() || found.has_vectors);
    let mut vectors = found.kept.as_ref().map(|k| k.vectors.clone()).or_else(|| point.cloned()).unwrap_or_default();
    vectors.0.extend(named.0.iter().map(|(name, vector)| (name.clone(), vector.clone())));
    MemberOutcome::Resolved {
        document: document_bytes(&found.document.merge_patch(patch)),
        vectors: vectors.encode(),
        ends: found.ends.as_ref().map(|e| (e.from.to_string(), e.to.to_string())),
    }
}

/// A patch names an edge by its key alone, so it stands in no lane of the edge's endpoints. A group can hold such patches.
pub(crate) fn patches_an_edge(work: &Work, held: &Held) -> bool {
    let is_logged_so = |place: usize| {
        work.image.as_ref().is_some_and(|image| match &image.outcome {
            Outcome::Resolved { ends, .. } => ends.is_some(),
            Outcome::Group { members, .. } => {
                matches!(members.get(place), Some(MemberOutcome::Resolved { ends: Some(_), .. }))
            }
            Outcome::AsAsked | Outcome::Removes { .. } | Outcome::RemovesPoint { .. } => false,
        })
    };
    let mut patches = work.intent.op.action.members().iter().enumerate().filter_map(patched);
    patches.any(|(place, key)| ends_held(held, key).is_some() || is_logged_so(place))
}

/// Where the edges lead that the operation patches by their keys, and whose image is being taken.
pub(crate) fn patched_ends<'a>(work: &'a Work, held: &'a Held) -> impl Iterator<Item = (&'a Key, &'a EdgeEnds)> {
    let patches = work.intent.op.action.members().iter().enumerate().filter_map(patched);
    patches.filter_map(|(_, key)| Some((key, ends_held(held, key)?))).filter(|_| work.image.is_none())
}

fn patched((place, action): (usize, &Action)) -> Option<(usize, &Key)> {
    match action {
        Action::Patch { key, .. } => Some((place, key)),
        Action::Put { .. }
        | Action::Delete { .. }
        | Action::Relate { .. }
        | Action::Unrelate(_)
        | Action::Atomic(_)
        | Action::Clear { .. } => None,
    }
}

fn ends_held<'a>(held: &'a Held, edge: &Key) -> Option<&'a EdgeEnds> {
    held.records.get(edge)?.found.as_ref()?.ends.as_ref()
}
