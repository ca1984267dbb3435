//! Decisions written into a log that no daemon has: opened as lockstepd opens it, with its lock and its checks.

use std::ops::ControlFlow;
use std::path::Path;

use lockstep_model::Lsn;
use lockstep_wal::{Asked, Caller, Class, Durability, Fold, Group, Log, OpenOptions, Record, SledLog, Verdict};

use crate::decision::{Row, in_directory};
use crate::directory::Directory;
use crate::failure::Failure;
use crate::judge::Judged;
use crate::owner;
use crate::selection::Selection;
use crate::text::now_us;

/// So many decisions go into the log at once.
const AT_ONCE: usize = 500;

/// Judges once more under the log's lock, and writes what can be done. After `Ok` it is durable.
pub(crate) fn decide(log: Directory, verdict: Verdict, selection: &Selection) -> Result<Vec<Row>, Failure> {
    let caller = Caller { uid: Some(owner::real_uid()) };
    owner::become_owner(&log.path)?;
    let (open, _) = SledLog::open(options(&log.path)).map_err(Failure::Open)?;
    let done = append(open.as_ref(), &log, verdict, selection, &caller);
    let closed = open.close().map_err(Failure::Open);
    let rows = done?;
    closed?;
    Ok(rows)
}

/// The ballast stays as large as it is: what is open for a moment does not change what the daemon was given.
fn options(dir: &Path) -> OpenOptions {
    let reserve_bytes = std::fs::metadata(dir.join("ballast")).map_or(0, |meta| meta.len());
    OpenOptions { reserve_bytes, ..OpenOptions::new(dir) }
}

fn append(
    open: &dyn Log,
    log: &Directory,
    verdict: Verdict,
    selection: &Selection,
    caller: &Caller,
) -> Result<Vec<Row>, Failure> {
    let fold = fold(open)?;
    let mut rows = in_directory(log, &fold, verdict, selection)?;
    let todo: Vec<Lsn> =
        rows.iter().filter(|row| matches!(row.judged, Judged::Would(_))).map(|row| row.op.view.lsn).collect();
    for lsns in todo.chunks(AT_ONCE) {
        let mut group = Group::new(Durability::Flush, Class::Drain);
        for &op in lsns {
            let note = selection.note.clone();
            let asked = Asked { op, verdict, caller: caller.clone(), at_us: now_us(), note };
            group.entries.push(Record::Asked(asked).encode().map_err(Failure::Record)?);
        }
        let appended = open.append(group).map_err(Failure::Open)?;
        appended.ticket.wait_blocking().map_err(Failure::Stopped)?;
        for row in rows.iter_mut().filter(|row| lsns.contains(&row.op.view.lsn)) {
            row.done = matches!(row.judged, Judged::Would(_));
        }
    }
    Ok(rows)
}

fn fold(log: &dyn Log) -> Result<Fold, Failure> {
    let mut fold = Fold::new();
    let mut broken = None;
    let each = &mut |lsn, entry: lockstep_wal::Entry| match Record::decode(&entry) {
        Ok(record) => {
            fold.record(lsn, &record, entry.payload.len());
            ControlFlow::Continue(())
        }
        Err(error) => {
            broken = Some(Failure::Record(error));
            ControlFlow::Break(())
        }
    };
    log.scan(Lsn(1), each).map_err(Failure::Open)?;
    broken.map_or(Ok(fold), Err)
}
