//! Admit: judges what can be judged without a store, and refuses before the log (design 4.1).

use lockstep_model::{Access, Code, Operation, Refusal};
use lockstep_wal::Space;

use crate::core::{Core, Shared};
use crate::tables::Admission;

/// Payload bytes that may wait for the disk. What waits is in memory; a disk that keeps up holds far less.
const MAX_QUEUED: u64 = 64 << 20;

/// Judges limits, table and vectors. Existence and preconditions are judged at the operation's turn.
pub(crate) fn admit(core: &Core, shared: &mut Shared, op: &Operation) -> Result<Admission, Refusal> {
    if shared.stopping || core.stop.is_cancelled() {
        return Err(Refusal::new(Code::Stopping, "lockstepd is stopping and takes nothing new"));
    }
    let settings = core.settings();
    let members = op.action.members().len();
    if members > settings.group_ops {
        let detail =
            format!("ops has {members} members, at most {} are allowed (limits.group_ops)", settings.group_ops);
        return Err(Refusal::malformed(detail));
    }
    let admission = shared.tables.admit(&op.action)?;
    if shared.open.len() >= settings.open_ops {
        return Err(Refusal::new(
            Code::Overloaded,
            format!("{} operations are open (limits.open_ops = {})", shared.open.len(), settings.open_ops),
        ));
    }
    for (lane, access) in op.action.lanes() {
        if access == Access::Write && shared.lanes.depth(lane) >= settings.open_per_key {
            return Err(Refusal::new(
                Code::Overloaded,
                format!("this key has {} open operations (limits.open_per_key)", settings.open_per_key),
            ));
        }
    }
    if core.parts.log.pressure().queued_bytes >= MAX_QUEUED {
        return Err(Refusal::new(Code::Overloaded, "the log's disk does not keep up"));
    }
    no_room(core, shared).map_or(Ok(admission), Err)
}

/// Why the log has no room for new operations, if it has none.
pub(crate) fn no_room(core: &Core, shared: &Shared) -> Option<Refusal> {
    let most = core.settings().max_bytes;
    if shared.open_bytes >= most {
        let detail = format!("open operations take {} bytes of the log (wal.max_bytes = {most})", shared.open_bytes);
        return Some(Refusal::new(Code::WalFull, detail));
    }
    match core.parts.log.pressure().space {
        Space::Ample => None,
        Space::Reserve | Space::Full => {
            let detail = "the log's disk is almost full: open operations go on, new ones are refused";
            Some(Refusal::new(Code::DiskFull, detail))
        }
    }
}
