//! What one execution stands on: the simulated disk, what goes wrong with it, the clock, and what was seen to be wrong.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lockstep_model::Lsn;
use shuttle::sync::{Condvar as Gate, Mutex as GateLock};
use shuttle::thread;

use super::PowerCut;
use super::clock::Timers;
use super::database::Pages;
use super::disk::{Call, Disk};
use crate::log::SideKey;

/// So often the clock moves on. Who waits longer waits for ever, and the scheduler says that nobody can go on.
const TICKS: usize = 5000;

thread_local! {
    /// An execution has one thread of the system for all of its own.
    static CURRENT: RefCell<Option<Arc<World>>> = const { RefCell::new(None) };
}

/// What goes wrong with the disk, once the log is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// A call fails.
    Fails {
        /// Which one, of all that change something; the first is 0.
        call: usize,
        /// It has done its work nevertheless.
        done: bool,
    },
    /// A call does not come back before [`World::release`].
    Hangs {
        /// Which one.
        call: usize,
        /// What comes back is an error.
        fails: bool,
    },
}

#[derive(Default)]
struct State {
    disk: Disk,
    /// The log is open: faults come from now on.
    armed: bool,
    calls: usize,
    failed: Option<Call>,
    given_up: bool,
    hangs: bool,
    let_go: bool,
    /// A start looks at what was left: nothing is simulated.
    frozen: Option<Pages>,
}

/// What one execution stands on.
pub struct World {
    fault: Fault,
    state: Mutex<State>,
    timers: Mutex<Timers>,
    over: Mutex<bool>,
    released: GateLock<bool>,
    gate: Gate,
}

/// The scheduler may let others go first.
pub(crate) fn step() {
    thread::sleep(Duration::ZERO);
}

impl World {
    /// Makes a new world, the current one.
    #[must_use]
    pub fn begin(fault: Fault) -> Arc<Self> {
        let world = Arc::new(Self {
            fault,
            state: Mutex::default(),
            timers: Mutex::default(),
            over: Mutex::default(),
            released: GateLock::new(false),
            gate: Gate::new(),
        });
        CURRENT.with(|current| *current.borrow_mut() = Some(Arc::clone(&world)));
        world
    }

    /// The world in which this thread is.
    #[expect(clippy::expect_used, reason = "a fault of the test")]
    pub(crate) fn current() -> Arc<Self> {
        CURRENT.with(|current| current.borrow().clone()).expect("with this feature only `--test schedules` can run")
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn timers(&self) -> MutexGuard<'_, Timers> {
        self.timers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now(&self) -> Duration {
        self.timers().now()
    }

    /// The log is open. What goes wrong goes wrong from now on.
    pub fn arm(&self) {
        self.state().armed = true;
    }

    /// The clock: a thread of its own calls this, and comes back when the test is over.
    pub fn pass_time(&self) {
        for _ in 0..TICKS {
            thread::yield_now();
            if *self.over.lock().unwrap_or_else(PoisonError::into_inner) {
                return;
            }
            let due = self.timers().advance();
            for waiting in due {
                waiting.notify_all();
            }
        }
    }

    /// Time has passed.
    pub fn stop_time(&self) {
        *self.over.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }

    /// A call that hangs comes back, and none hangs any more.
    pub fn release(&self) {
        *self.released.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.gate.notify_all();
    }

    /// Whether a call hangs, or has hung.
    #[must_use]
    pub fn hangs(&self) -> bool {
        self.state().hangs
    }

    /// Whether a call has failed.
    #[must_use]
    pub fn failed(&self) -> bool {
        self.state().failed.is_some()
    }

    /// The log says that it has failed: it must begin no other write.
    pub fn give_up(&self) {
        self.state().given_up = true;
    }

    /// How many calls have changed something since the log was opened.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.state().calls
    }

    /// Whether nobody has the database any more: the log's threads have ended.
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.state().let_go
    }

    /// Keeps what is wrong; the first counts.
    pub fn complain(&self, what: String) {
        self.state().disk.complain(what);
    }

    /// What was wrong first.
    #[must_use]
    pub fn wrong(&self) -> Option<String> {
        self.state().disk.wrong.clone()
    }

    /// The last LSN that survives a power cut, and what the high-water file says after one.
    #[must_use]
    pub fn durable(&self) -> (Lsn, Lsn) {
        let state = self.state();
        (state.disk.durable(), state.disk.mark())
    }

    /// A value beside the sequence, as it survives a power cut.
    #[must_use]
    pub fn durable_side(&self, key: &SideKey) -> Option<Vec<u8>> {
        self.state().disk.durable_side(key)
    }

    /// Two of the disks that a power cut may leave now: as little as was asked for, and as much as was written.
    #[must_use]
    pub fn cut_power(&self) -> [PowerCut; 2] {
        self.state().disk.cut_power()
    }

    /// What a start finds until this is called with `None`.
    pub(crate) fn freeze(&self, left: Option<Pages>) {
        self.state().frozen = left;
    }

    /// What a start finds; `None` in the log at work.
    pub(crate) fn open(&self) -> Option<Pages> {
        self.state().frozen.clone()
    }

    pub(crate) fn visible<T>(&self, look: impl FnOnce(&Pages) -> T) -> T {
        look(&self.state().disk.visible)
    }

    pub(crate) fn let_go(&self) {
        self.state().let_go = true;
    }

    /// A call that changes the disk, with all that can happen to it.
    pub(crate) fn call(&self, call: Call, work: impl FnOnce(&mut Disk)) -> io::Result<()> {
        step();
        let fate = self.fate(call);
        if let Fault::Hangs { .. } = fate {
            let mut released = self.released.lock().unwrap_or_else(PoisonError::into_inner);
            while !*released {
                released = self.gate.wait(released).unwrap_or_else(PoisonError::into_inner);
            }
        }
        let failed = matches!(fate, Fault::Fails { .. } | Fault::Hangs { fails: true, .. });
        if !failed || matches!(fate, Fault::Fails { done: true, .. } | Fault::Hangs { .. }) {
            work(&mut self.state().disk);
        }
        if failed {
            self.state().failed = Some(call);
            return Err(io::Error::other(format!("{call:?} failed, as the test wants it")));
        }
        step();
        Ok(())
    }

    fn fate(&self, call: Call) -> Fault {
        let mut state = self.state();
        if !state.armed || state.frozen.is_some() {
            return Fault::None;
        }
        if let Some(failed) = state.failed {
            state.disk.complain(format!("{call:?} after {failed:?} had failed"));
        }
        if state.given_up && call == Call::Apply {
            state.disk.complain("a new write after the log had failed".to_owned());
        }
        let number = state.calls;
        state.calls += 1;
        match self.fault {
            Fault::Fails { call, .. } if call == number => self.fault,
            Fault::Hangs { call, .. } if call == number => {
                state.hangs = true;
                self.fault
            }
            Fault::None | Fault::Fails { .. } | Fault::Hangs { .. } => Fault::None,
        }
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("fault", &self.fault).finish_non_exhaustive()
    }
}
