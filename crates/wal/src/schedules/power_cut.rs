//! What a power cut leaves, and the look that a start takes at it.

use std::path::Path;

use lockstep_model::Lsn;

use super::World;
use super::database::Pages;
use crate::check;
use crate::error::LogError;
use crate::layout::Layout;
use crate::store::Store;

/// A disk as a power cut left it.
#[derive(Debug, Clone)]
pub struct PowerCut {
    pages: Pages,
    mark: Lsn,
}

impl PowerCut {
    pub(crate) const fn new(pages: Pages, mark: Lsn) -> Self {
        Self { pages, mark }
    }

    /// Looks at it as a start does ([`check`]); gives the last LSN that is there. To be called when the log at work has let go.
    ///
    /// # Errors
    /// What would keep a start from serving it.
    pub fn look(self, dir: &Path) -> Result<Lsn, LogError> {
        let world = World::current();
        world.freeze(Some(self.pages));
        let looked = Store::open(&Layout::new(dir), 0).and_then(|store| check::everything(&store, dir, self.mark));
        world.freeze(None);
        looked.map(|checked| checked.ledger.last())
    }
}
