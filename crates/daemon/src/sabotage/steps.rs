//! Steps: the moments before and after each group of the log and each call that writes to a store, each with a name and a number,
//! as in `before image 1`, `after mark compensating 1` or `after qdrant apply 2`. `after` a group means: it is durable, and nobody has heard of that.
//!
//! A folder says what to do. Its file `plan` holds the name of a case, and below it any number of lines `kill STEP` and
//! `pause STEP`. Numbers count from the moment at which the case appears. Each step that is passed is added to the file `passed`, as
//! `CASE<tab>STEP`, before the plan is obeyed. A pause ends when its line has gone from the plan. Without a plan nothing is counted.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};

/// How often a pause looks whether it is over.
const LOOK: Duration = Duration::from_millis(2);

/// What has been passed, and what the plan says of it.
pub(super) struct Steps {
    folder: PathBuf,
    counted: Mutex<Counted>,
}

#[derive(Default)]
struct Counted {
    case: String,
    passed: BTreeMap<String, u32>,
}

impl Steps {
    pub(super) fn of(folder: PathBuf) -> Self {
        Self { folder, counted: Mutex::default() }
    }

    /// A step that cannot wait. It may be the last.
    pub(super) fn pass(&self, name: &str) {
        // Nobody pauses here.
        let _ = self.obey(name);
    }

    /// A step that waits if it is told to.
    pub(super) async fn pass_or_pause(&self, name: &str) {
        let Some(order) = self.obey(name) else { return };
        while self.plan().is_some_and(|(_, orders)| orders.contains(&order)) {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The order to pause, if there is one. An order to die does not return.
    fn obey(&self, name: &str) -> Option<String> {
        let (case, orders) = self.plan()?;
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        if counted.case != case {
            *counted = Counted { case, passed: BTreeMap::new() };
        }
        let number = counted.passed.entry(name.to_owned()).or_default();
        *number += 1;
        let step = format!("{name} {number}");
        let line = format!("{}\t{step}\n", counted.case);
        let said = OpenOptions::new().create(true).append(true).open(self.folder.join("passed"));
        if let Err(error) = said.and_then(|mut file| file.write_all(line.as_bytes())) {
            tracing::warn!(%error, step, "a step cannot be noted");
        }
        drop(counted);
        if orders.contains(&format!("kill {step}")) {
            // As hard as it can be: no destructor, no flush, no answer that is on its way through this process.
            while kill_process(getpid(), Signal::KILL).is_ok() {}
        }
        let pause = format!("pause {step}");
        orders.contains(&pause).then_some(pause)
    }

    /// The case and its orders.
    fn plan(&self) -> Option<(String, Vec<String>)> {
        let text = fs::read_to_string(self.folder.join("plan")).ok()?;
        let mut lines = text.lines().map(str::to_owned);
        Some((lines.next()?, lines.collect()))
    }
}
