//! What `/metrics` shows, in Prometheus' text format.
//!
//! Counters and histograms are kept here: engine and log report to them through the facade of the crate `metrics`, and know
//! nothing of this. Gauges are read from the engine's status when somebody asks. The catalogue has every name with its help;
//! `docs/operations.md` lists them for people. The number of series is bounded (P6): labels have few values, and what comes
//! on top of [`recorder::MAX_SERIES`] is not kept.
//!
//! A recorder of our own, because the exporter's would keep quantiles by a clock of its own and brings a dozen crates for
//! what is two hundred lines here.

mod catalogue;
mod gauges;
mod recorder;
mod text;

use std::sync::{Arc, OnceLock};

pub(crate) use self::gauges::shown;
pub use self::recorder::Registry;
pub(crate) use self::text::CONTENT_TYPE;

/// The registry that everything in this process reports to, from the first call on.
#[must_use]
pub fn registry() -> Arc<Registry> {
    static REGISTRY: OnceLock<Arc<Registry>> = OnceLock::new();
    let registry = REGISTRY.get_or_init(|| {
        let registry = Arc::new(Registry::default());
        if metrics::set_global_recorder(Arc::clone(&registry)).is_err() {
            tracing::warn!("another recorder is there already: counters and histograms stay empty");
        }
        registry
    });
    Arc::clone(registry)
}

#[cfg(test)]
pub(crate) mod parser;
