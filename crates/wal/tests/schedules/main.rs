//! The log's queue, threads and tickets under many schedules: who goes on after each lock, wait and call of the disk is chosen by
//! a scheduler, at random and by PCT (few, well-placed preemptions), and so is how much time passes.
//!
//! `LOCKSTEP_SCHEDULES` says how many of each kind every scene gets, `LOCKSTEP_SEED` where chance begins. A schedule that fails is
//! printed; `LOCKSTEP_SCHEDULE` replays it in the scene that is named beside it.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::panic,
    unreachable_pub,
    reason = "helpers of tests fail as tests do"
)]

mod healthy;
mod scene;
mod sick;

use std::env;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use shuttle::scheduler::{PctScheduler, RandomScheduler, ReplayScheduler, Scheduler};
use shuttle::{Config, Runner};

/// How many preemptions PCT places, and one.
const DEPTH: usize = 3;

/// Runs the scene under many schedules.
fn explore(scene: fn(&Path)) {
    let dir = tempfile::tempdir().unwrap();
    if let Ok(schedule) = env::var("LOCKSTEP_SCHEDULE") {
        run(ReplayScheduler::new_from_encoded(schedule.trim()), dir.path(), scene);
        return;
    }
    let number = |name| env::var(name).ok().map(|text: String| text.parse().unwrap());
    let schedules = number("LOCKSTEP_SCHEDULES").map_or(2000, |number: u64| usize::try_from(number).unwrap());
    let seed = number("LOCKSTEP_SEED").unwrap_or_else(|| RandomState::new().hash_one(0));
    let begun = Instant::now();
    println!("LOCKSTEP_SEED={seed}");
    let random = run(RandomScheduler::new_from_seed(seed, schedules), dir.path(), scene);
    let pct = run(PctScheduler::new_from_seed(seed, DEPTH, schedules), dir.path(), scene);
    println!("{random} schedules at random and {pct} by PCT in {:.1} s", begun.elapsed().as_secs_f64());
}

fn run(scheduler: impl Scheduler + 'static, dir: &Path, scene: fn(&Path)) -> usize {
    let mut config = Config::new();
    config.stack_size = 1 << 18;
    config.silence_warnings = true;
    let dir: Arc<Path> = Arc::from(dir.join("log"));
    let count = Count::default();
    let begun = Arc::clone(&count.0);
    Runner::new(scheduler, config).run(move || {
        begun.fetch_add(1, Ordering::Relaxed);
        scene(&dir);
    })
}

/// Says after how many schedules one failed.
#[derive(Default)]
struct Count(Arc<AtomicUsize>);

impl Drop for Count {
    fn drop(&mut self) {
        if thread::panicking() {
            println!("schedule {} failed: LOCKSTEP_SCHEDULE=… replays it", self.0.load(Ordering::Relaxed));
        }
    }
}
