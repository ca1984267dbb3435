//! Claim: SurrealDB is this log's before anything is written to it, and it says how far the clock had come.
//!
//! A served store need not answer when the daemon starts: the first that needs it claims it.

use lockstep_stores::{Claim, Claimant, Class, StoreError};

use crate::core::{Core, Fatal, StoreName};
use crate::events;

/// Claims the store, once.
///
/// # Errors
/// The store's. One that belongs to another Lockstep stops the engine.
pub(crate) async fn ensure(core: &Core) -> Result<(), StoreError> {
    if core.lock().claimed {
        return Ok(());
    }
    let claimant = {
        let settings = core.settings();
        Claimant { log: core.parts.log.id(), holder: settings.holder.clone(), adopt: settings.adopt }
    };
    match core.parts.documents.claim(&claimant).await {
        Ok(claim) => claimed(core, claim, claimant.adopt),
        Err(error) => {
            if error.class == Class::Fenced {
                core.fail(Fatal::Fenced(error.detail.clone()));
            }
            Err(error)
        }
    }
}

fn claimed(core: &Core, claim: Claim, adopt: bool) -> Result<(), StoreError> {
    let mut shared = core.lock();
    if let Some((known, last)) = claim.version.zip(shared.opened_at).filter(|(known, last)| known > last && !adopt) {
        let why = format!(
            "SurrealDB knows of its version {known}, and the last in it is {last}: it is older than its stores, as after \
             its disk was set back to a copy. Put the newer one back; or start once with --adopt, which goes on from this \
             one and takes the stores as they are"
        );
        drop(shared);
        core.fail(Fatal::Lost(why.clone()));
        return Err(StoreError::new(StoreName::Surreal.as_str(), Class::Fenced, why));
    }
    shared.claimed = true;
    if let Some(version) = claim.version {
        shared.clock.lift_above(version);
    }
    // A checkpoint is noted in SurrealDB before it is in the log: a store that knows of less is older than it was.
    let known = claim.version.map_or(0, |version| version.0);
    if let Some(noted) = shared.noted.filter(|noted| noted.0 > known) {
        let why = format!(
            "its data are older than the last checkpoint (it knows of version {known}, the log of {noted}): it was \
             restored from a backup, or emptied; what left the log before that is not written again"
        );
        tracing::error!(store = "surreal", "{why}");
        events::audit_needed(core, &mut shared, StoreName::Surreal, || why);
    }
    Ok(())
}
