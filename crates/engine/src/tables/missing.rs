//! Tables that a store lacks: they wait, and nobody else does.

use lockstep_model::Table;
use tokio::time::Instant;

use super::{TableInfo, Tables};
use crate::core::StoreName;

/// A table that a store lacks.
#[derive(Debug, Clone)]
pub(crate) struct Missing {
    /// The store that lacks it.
    pub(crate) store: StoreName,
    pub(crate) why: String,
    pub(crate) tries: u32,
    pub(crate) until: Instant,
}

impl Tables {
    /// A store lacks the table: it is left alone for `wait`, which may depend on how often it was tried. Tells whether the
    /// number stands for one table; of several it is not known which.
    pub(crate) fn lacks(
        &mut self,
        number: u32,
        (store, why): (StoreName, &str),
        now: Instant,
        wait: impl Fn(u32) -> std::time::Duration,
    ) -> bool {
        let Some(info) = self.names.get(&number).and_then(|name| self.by_name.get_mut(name)) else { return false };
        let tries = info.missing.as_ref().map_or(1, |missing| missing.tries.saturating_add(1));
        self.lacking += usize::from(info.missing.is_none());
        info.missing = Some(Missing { store, why: why.to_owned(), tries, until: now + wait(tries) });
        true
    }

    /// Something got through to the store on these tables. Tells whether it had lacked one of them.
    pub(crate) fn serve(&mut self, number: u32, store: StoreName) -> bool {
        if self.lacking == 0 {
            return false;
        }
        let names: Vec<Table> = self.numbered(number).map(|(name, _)| name.clone()).collect();
        let mut came_back = false;
        for name in names {
            if let Some(info) = self.by_name.get_mut(&name)
                && info.missing.take_if(|missing| missing.store == store).is_some()
            {
                self.lacking -= 1;
                came_back = true;
            }
        }
        came_back
    }

    /// Whether a store lacks one of these tables, as far as is known.
    pub(crate) fn is_missing(&self, number: u32) -> bool {
        self.lacking > 0 && self.numbered(number).any(|(_, info)| info.missing.is_some())
    }

    /// Whether Qdrant lacks one of them, as far as is known.
    pub(crate) fn is_missing_in_qdrant(&self, number: u32) -> bool {
        let lacks = |info: &TableInfo| info.missing.as_ref().is_some_and(|missing| missing.store == StoreName::Qdrant);
        self.lacking > 0 && self.numbered(number).any(|(_, info)| lacks(info))
    }

    /// What a store lacks of these tables may be tried now.
    pub(crate) fn try_now(&mut self, number: u32) {
        let names: Vec<Table> = self.numbered(number).map(|(name, _)| name.clone()).collect();
        for name in names {
            if let Some(missing) = self.by_name.get_mut(&name).and_then(|info| info.missing.as_mut()) {
                missing.until = Instant::now();
            }
        }
    }

    /// When the next table that a store lacks may be tried.
    pub(crate) fn next_try(&self, now: Instant) -> Option<Instant> {
        if self.lacking == 0 {
            return None;
        }
        let times = self.by_name.values().filter(|info| info.paused.is_none()).filter_map(|info| info.missing.as_ref());
        times.map(|missing| missing.until).filter(|until| *until > now).min()
    }

    /// An operator says that it is worth a try now.
    pub(crate) fn resume(&mut self, name: &Table) -> bool {
        let Some(info) = self.by_name.get_mut(name) else { return false };
        info.paused = None;
        if info.missing.take().is_some() {
            self.lacking -= 1;
        }
        true
    }
}
