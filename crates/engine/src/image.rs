//! Image: read what the stores hold for a batch's keys, judge existence and preconditions from it, resolve patches, and log
//! image and result durably before the first store is touched (design 4.5). What has been logged is never read again.

use std::collections::HashSet;

use lockstep_model::{Access, Code, Key, LaneId, Lsn, Refusal, State};
use lockstep_stores::EdgeEnds;
use lockstep_wal::{Before, Class, Durability, Group, ImageRecord, MemberOutcome, Outcome, Record};

use crate::core::{Core, Fatal};
use crate::judge::{judge, patched_ends, patches_an_edge};
use crate::need::{Held, Need, Unanswered, needs, read};
use crate::work::Work;
use crate::{restore, takers, verify};

/// What became of a batch in this step.
pub(crate) struct Judged {
    /// These go on to the stores.
    pub(crate) go: Vec<Work>,
    /// These end here.
    pub(crate) refused: Vec<(Work, Refusal)>,
    /// Something was logged and is durable, and so is all that was appended before.
    pub(crate) flushed: bool,
    /// These are edges, patched by key: nothing may come between their image and their write, so they go alone.
    pub(crate) alone: Vec<Work>,
    /// An older operation's end comes first: these are edges, patched by key, at one of whose ends it writes, or it is a group that
    /// takes edges along.
    pub(crate) behind: Vec<(Work, Lsn)>,
}

/// Why a batch could not be judged. Nothing has been touched.
pub(crate) enum ImageError {
    /// A store did not answer.
    Store(Unanswered),
    /// SurrealDB may have lost what it had: that is looked at first.
    Lost,
    /// The engine stops.
    Fatal(Fatal),
}

impl From<Fatal> for ImageError {
    fn from(fatal: Fatal) -> Self {
        Self::Fatal(fatal)
    }
}

/// Reads, judges and logs. Operations that need no image pass.
pub(crate) async fn take_images(core: &Core, works: Vec<Work>) -> Result<Judged, ImageError> {
    let needs: Vec<Vec<Need>> = works.iter().map(|work| needs(core, work)).collect();
    let held = read(core, &works, &needs).await.map_err(ImageError::Store)?;
    let has_asked = needs.iter().flatten().any(|need| !matches!(need, Need::Nothing | Need::Point(_)));
    if has_asked && verify::has_lost(core) {
        return Err(ImageError::Lost);
    }
    let mut judged = Judged {
        go: Vec::with_capacity(works.len()),
        refused: Vec::new(),
        flushed: false,
        alone: Vec::new(),
        behind: Vec::new(),
    };
    let mut log = Vec::new();
    let in_company = works.len() > 1;
    let limit = core.settings().image_bytes;
    for (mut work, needs) in works.into_iter().zip(needs) {
        if in_company && patches_an_edge(&work, &held) {
            judged.alone.push(work);
            continue;
        }
        let taken = takers::lanes(&work, &needs, &held);
        let older = takers::older(&core.lock(), work.lsn);
        if let Some(older) = older.or_else(|| older_at_ends(core, &work, &held, &taken)) {
            judged.behind.push((work, older));
            continue;
        }
        match judge(core, &mut work, &needs, &held)? {
            Err(refusal) => judged.refused.push((work, refusal)),
            Ok(None) => judged.go.push(work),
            Ok(Some((before, outcome))) if size(&before, &outcome) > limit => {
                let refusal = too_large(size(&before, &outcome), limit);
                judged.refused.push((work, refusal));
            }
            Ok(Some((before, outcome))) => {
                let record = ImageRecord { op: work.lsn, before, outcome };
                takers::remember(core, work.lsn, taken);
                if patches_an_edge(&work, &held) {
                    core.lock().patching.insert(work.lsn);
                }
                log.push(record.clone());
                work.image = Some(record);
                judged.go.push(work);
            }
        }
    }
    judged.flushed = !log.is_empty();
    write(core, log).await?;
    Ok(judged)
}

/// Who is older and writes an end of an edge that the operation patches by its key, or an edge that it takes along, or the ends of that.
/// Lanes are in LSN order, and so is this: where the edge leads is only known now. Were the patch to pass an older delete of the end,
/// the log would tell the two the other way round for ever, and whoever replays it would bring the edge back. Were a group to pass an older
/// removal, its undoing would.
fn older_at_ends(core: &Core, work: &Work, held: &Held, taken: &HashSet<LaneId>) -> Option<Lsn> {
    let lanes = |(edge, ends): (&Key, &EdgeEnds)| {
        [ends.from.lane(), ends.to.lane(), LaneId::of_endpoints(&edge.table, &ends.from, &ends.to)]
    };
    let mut ends: Vec<LaneId> = patched_ends(work, held).flat_map(lanes).collect();
    ends.extend(taken);
    if ends.is_empty() {
        return None;
    }
    let shared = core.lock();
    let writers = ends.into_iter().flat_map(|end| shared.lanes.holders(end));
    // What comes back to its lanes, to be looked at once more or because an operator takes a parked one back, stands behind whoever
    // was there: to wait for that could close a circle.
    let in_the_way = |(lsn, access): &(Lsn, Access)| {
        let is_first_time = shared.ops.get(lsn).is_some_and(|op| op.state.is_open());
        *lsn < work.lsn && *access == Access::Write && is_first_time
    };
    writers.filter(in_the_way).map(|(lsn, _)| lsn).max()
}

fn size(before: &[Before], outcome: &Outcome) -> usize {
    let raw: usize = before.iter().filter_map(|b| b.raw.as_ref()).map(Vec::len).sum();
    let edges = |edges: &[(String, Option<lockstep_model::Version>)]| edges.iter().map(|(key, _)| key.len() + 16).sum();
    let member = |member: &MemberOutcome| match member {
        MemberOutcome::AsAsked => 0,
        MemberOutcome::Resolved { document, vectors, .. } => document.len() + vectors.len(),
        MemberOutcome::Removes { edges: gone } | MemberOutcome::RemovesPoint { edges: gone, .. } => edges(gone),
    };
    raw + match outcome {
        Outcome::AsAsked => 0,
        Outcome::Resolved { document, vectors, .. } => document.len() + vectors.len(),
        Outcome::Removes { edges: gone } | Outcome::RemovesPoint { edges: gone, .. } => edges(gone),
        Outcome::Group { members, .. } => members.iter().map(member).sum::<usize>() + restore::size(outcome),
    }
}

/// Scenario B11: what would have to be logged before a store is touched does not fit; nothing is touched.
fn too_large(size: usize, limit: usize) -> Refusal {
    let detail = format!(
        "the record before and after takes {size} bytes to be undoable, more than {limit}: make it smaller with a put"
    );
    Refusal::new(Code::TooLarge, detail)
}

async fn write(core: &Core, images: Vec<ImageRecord>) -> Result<(), Fatal> {
    if images.is_empty() {
        return Ok(());
    }
    let ticket = {
        let mut shared = core.lock();
        let mut group = Group::new(Durability::Flush, Class::Drain);
        let mut ops = Vec::with_capacity(images.len());
        for image in images {
            ops.push(image.op);
            let record = Record::Image(Box::new(image));
            group.entries.push(record.encode().map_err(|e| Fatal::Lost(e.to_string()))?);
        }
        let appended = core.append(&mut shared, group).map_err(Fatal::Log)?;
        let mut lsn = appended.first;
        for op in ops {
            if let Some(op) = shared.ops.get_mut(&op) {
                // Mostly pending. What recovery carries on has come further, and has no image if it was a bulk INSERT: when the
                // store came back as an older copy, it is judged anew.
                debug_assert!(op.state.is_open() && op.state != State::Compensating);
                op.add_image(lsn);
            }
            lsn = lsn.next();
        }
        appended.ticket
    };
    ticket.await.map_err(Fatal::Log)
}
