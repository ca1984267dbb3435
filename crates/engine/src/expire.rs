//! Expire: summaries of finished operations go when they are old enough, or too many; their idempotency keys with them.

use std::ops::ControlFlow;

use lockstep_model::Lsn;
use lockstep_wal::{Class, Durability, FirstUse, Group, SideKey, Summary};

use crate::core::{Core, Fatal};

/// So many go at once; the next checkpoint goes on.
const AT_ONCE: usize = 4096;

/// Removes the oldest summaries that are beyond `wal.keep_finished_s` or `wal.keep_finished_bytes`.
pub(crate) fn old_summaries(core: &Core) -> Result<usize, Fatal> {
    let settings = &core.settings();
    let now_us = core.parts.clock.now_us();
    let oldest_kept = now_us.saturating_sub(u64::try_from(settings.keep_finished.as_micros()).unwrap_or(u64::MAX));
    let mut too_many = core.parts.log.usage().side_bytes.saturating_sub(settings.keep_finished_bytes);
    let mut group = Group::new(Durability::Lazy, Class::Drain);
    let mut gone = 0;
    let mut each = |lsn: Lsn, bytes: Vec<u8>| {
        // One that cannot be read is of no use to anybody; its idempotency key stays and says so.
        let summary = Summary::decode(&bytes).ok();
        let ended = summary.as_ref().and_then(|s| s.history.last()).map_or(0, |h| h.1);
        if ended >= oldest_kept && too_many == 0 {
            return ControlFlow::Break(());
        }
        too_many = too_many.saturating_sub(bytes.len() as u64);
        gone += 1;
        group.side.push((SideKey::Summary(lsn), None));
        if let Some(digest) = summary.and_then(|s| s.idempotency)
            && is_its_own(core, lsn, digest)
        {
            group.side.push((SideKey::Idempotency(digest), None));
        }
        ControlFlow::Continue(())
    };
    core.parts.log.oldest_summaries(AT_ONCE, &mut each).map_err(|e| Fatal::Log(e.into()))?;
    if gone > 0 {
        let mut shared = core.lock();
        core.append(&mut shared, group).map_err(Fatal::Log)?;
    }
    Ok(gone)
}

/// The idempotency key still stands for this operation, and not for the one that a retry logged in its place.
fn is_its_own(core: &Core, lsn: Lsn, digest: [u8; 16]) -> bool {
    let first = core.parts.log.side(&SideKey::Idempotency(digest)).ok().flatten();
    first.and_then(|bytes| FirstUse::decode(&bytes).ok()).is_some_and(|first| first.op == lsn)
}
