//! The whole answer to `/metrics`: what is so now from the engine's status, what was reported from the registry.

use lockstep_engine::{Status, StoreState, StoreStatus};
use lockstep_model::State;
use lockstep_wal::Usage;

use super::catalogue::{Figure, REPORTED};
use super::text::Text;
use crate::App;

const NO_LABELS: &[(&str, &str)] = &[];
const STORE_STATES: [StoreState; 4] = [StoreState::Up, StoreState::Down, StoreState::Paused, StoreState::Unknown];
const OPEN_STATES: [State; 4] = [State::Pending, State::SurrealCompleted, State::QdrantCompleted, State::Compensating];

/// Everything, in the catalogue's order.
pub(crate) fn shown(app: &App) -> String {
    let (status, usage) = (app.engine.status(), app.log.usage());
    let mut text = Text::default();
    for figure in Figure::ALL {
        text.head(&figure.metric());
        show(figure, app, &status, &usage, &mut text);
    }
    for metric in &REPORTED {
        text.head(metric);
        app.metrics.write(metric.name, &mut text);
    }
    text.done()
}

fn show(figure: Figure, app: &App, status: &Status, usage: &Usage, text: &mut Text) {
    let name = figure.metric().name;
    let stores: [(&str, &StoreStatus); 2] = [("surreal", &status.surreal), ("qdrant", &status.qdrant)];
    // Most are one number, or nothing where it is not known.
    let one: Option<u64> = match figure {
        Figure::Ready => Some(u64::from(app.engine.unready().is_empty())),
        Figure::ParkedOps => Some(status.wal.parked),
        Figure::PausedTables => Some(status.paused_tables.len() as u64),
        Figure::CheckpointLag => Some((status.wal.last_lsn.0 + 1).saturating_sub(status.wal.checkpoint_lsn.0)),
        Figure::LastLsn => Some(status.wal.last_lsn.0),
        Figure::LogBytes => Some(usage.disk_bytes),
        Figure::LogLiveBytes => Some(usage.live_bytes),
        Figure::LogFreeBytes => usage.free_bytes,
        Figure::LogFlushes => Some(usage.flushes),
        Figure::Verifying => Some(status.verifying),
        Figure::RecoveryDone => Some(u64::from(status.recovery.done)),
        Figure::AuditNeeded => Some(u64::from(status.audit_needed.is_some())),
        Figure::Connections => Some(app.room.taken()),
        Figure::BuildInfo => return text.whole(name, &[("version", env!("CARGO_PKG_VERSION"))], 1),
        Figure::StartTime => return text.number(name, NO_LABELS, seconds(app.started_us)),
        Figure::Covered => {
            if let Some(covered_s) = status.covered_s {
                text.number(name, NO_LABELS, covered_s);
            }
            None
        }
        Figure::OldestOpen => {
            if let Some(age_s) = status.wal.oldest_open_age_s {
                text.number(name, NO_LABELS, age_s);
            }
            None
        }
        Figure::OpenOps => {
            for state in OPEN_STATES {
                let count = status.wal.states.get(&state).copied().unwrap_or(0);
                text.whole(name, &[("state", state.to_string())], count);
            }
            None
        }
        Figure::StoreState => {
            for (store, is) in stores {
                for state in STORE_STATES {
                    text.whole(name, &[("store", store), ("state", state.as_str())], u64::from(is.state == state));
                }
            }
            None
        }
        Figure::StoreDown => {
            for (store, is) in stores {
                if let Some(down_s) = is.down_s {
                    text.number(name, &[("store", store)], down_s);
                }
            }
            None
        }
        Figure::StoreLosses => {
            for (store, is) in stores {
                text.whole(name, &[("store", store)], is.losses);
            }
            None
        }
    };
    if let Some(value) = one {
        text.whole(name, NO_LABELS, value);
    }
}

/// Microseconds as seconds.
fn seconds(micros: u64) -> f64 {
    std::time::Duration::from_micros(micros).as_secs_f64()
}
