//! Compensate: take back what SurrealDB shows of an operation that Qdrant refused, in one guarded statement (design 4).

use lockstep_model::Lsn;
use lockstep_stores::{Undo, UndoTo, Undone};

use crate::core::{Core, Fatal, StoreName};
use crate::work::{Content, Work};
use crate::{end, trouble};

/// Takes the operations back, one by one. What the store does not answer comes again, for as long as it takes: the
/// decision is in the log.
pub(crate) async fn undo(core: &Core, lsns: &[Lsn]) -> Result<(), Fatal> {
    for &lsn in lsns {
        let work = Work::load(core, lsn)?;
        let Content::Put { key, document, .. } = work.content()? else {
            end::undone(core, lsn, Some("a removal goes forward only".into()))?;
            continue;
        };
        let before = work.image.as_ref().and_then(|image| image.before.first());
        let to = match before.and_then(|b| Some((b.raw.clone()?, b.version))) {
            Some((raw, version)) => UndoTo::Image { raw, version },
            // Without an image it was the bulk INSERT, whose success proved absence.
            None => UndoTo::Absent,
        };
        match core.parts.documents.undo(&Undo { key, version: work.version, document, to }).await {
            Ok(undone) => {
                trouble::succeeded(core, StoreName::Surreal);
                match undone {
                    Undone::Restored | Undone::AlreadyThere => end::undone(core, lsn, None)?,
                    Undone::Blocked(found) => end::undone(core, lsn, Some(found))?,
                }
            }
            Err(error) if error.class == lockstep_stores::Class::Refused => {
                end::undone(core, lsn, Some(error.detail))?;
            }
            Err(error) => {
                let cause = core.lock().ops.get(&lsn).and_then(|op| op.trouble.as_ref()?.last.clone());
                let used_up = trouble::failed(core, StoreName::Surreal, &[lsn], &error);
                let mut shared = core.lock();
                if let Some(op) = shared.ops.get_mut(&lsn) {
                    // Why it is taken back stays its failure; attempts do not end an undo.
                    op.trouble().last = cause;
                }
                if !used_up.is_empty() {
                    shared.make_ready(lsn);
                }
            }
        }
    }
    Ok(())
}
