//! One execution: a log on a simulated disk, the clock, and the history of what was appended and what was told.

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use lockstep_model::Lsn;
use lockstep_wal::schedules::{Fault, PowerCut, World};
use lockstep_wal::{
    Class, Durability, Entry, Group, Kind, Log, LogError, OpenOptions, Positions, SideKey, SledLog, Ticket,
};
use shuttle::thread::{self, JoinHandle};

/// A write that takes so long has failed: the clock does not get there in a scene in which nothing hangs.
pub const PATIENT: Duration = Duration::from_secs(3600);
/// Here it does, soon.
pub const IMPATIENT: Duration = Duration::from_secs(1);

/// A counter beside the sequence, which only ever rises.
pub const COUNTER: SideKey = SideKey::Note(1);

pub struct Scene {
    pub world: Arc<World>,
    pub log: Arc<SledLog>,
    dir: PathBuf,
    history: Mutex<History>,
    clock: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct History {
    /// Calls and returns of `append`, in their order.
    moment: u64,
    appended: Vec<Piece>,
    leaving: BTreeSet<Lsn>,
    left: BTreeSet<Lsn>,
    /// The counter's last value of which `append` returned.
    counter: u8,
    /// The last LSN that was told to be durable; 0: none.
    told: u64,
    /// The close has begun: `append` may refuse.
    closing: bool,
    cuts: Vec<(u64, [PowerCut; 2])>,
}

struct Piece {
    called: u64,
    returned: u64,
    first: Lsn,
    entries: Vec<Entry>,
    trims: bool,
}

/// A group that was appended: what its ticket has to answer for.
pub struct Promise {
    ticket: Ticket,
    last: Lsn,
    counter: Option<u8>,
}

pub fn group(durability: Durability) -> Group {
    Group::new(durability, Class::Drain)
}

pub fn entries(durability: Durability, lens: &[usize]) -> Group {
    let entry = |&len: &usize| Entry { kind: Kind(1), payload: vec![u8::try_from(len % 251).unwrap(); len] };
    Group { entries: lens.iter().map(entry).collect(), ..group(durability) }
}

pub fn counted(group: Group, counter: u8) -> Group {
    Group { side: vec![(COUNTER, Some(vec![counter]))], ..group }
}

pub fn removal(durability: Durability, lsn: Lsn) -> Group {
    Group { remove: vec![lsn], ..group(durability) }
}

impl Scene {
    /// A new log, opened as every log is. The fault comes after the open.
    pub fn begin(dir: &Path, fault: Fault, flush_limit: Duration) -> Arc<Self> {
        if dir.exists() {
            std::fs::remove_dir_all(dir).unwrap();
        }
        let world = World::begin(fault);
        // No room for a copy before the open: there is nothing to copy.
        let space_probe = Arc::new(|_: &Path| Ok(0));
        let options =
            OpenOptions { floor_bytes: 0, reserve_bytes: 0, flush_limit, space_probe, ..OpenOptions::new(dir) };
        let (log, _) = SledLog::open(options).unwrap();
        world.arm();
        let time = Arc::clone(&world);
        let clock = Mutex::new(Some(thread::spawn(move || time.pass_time())));
        Arc::new(Self { world, log, dir: dir.to_path_buf(), history: Mutex::default(), clock })
    }

    /// Runs `work` in a thread of its own.
    pub fn spawn<T: Send + 'static>(self: &Arc<Self>, work: impl FnOnce(&Self) -> T + Send + 'static) -> JoinHandle<T> {
        let scene = Arc::clone(self);
        thread::spawn(move || work(&scene))
    }

    /// Appends, and notes what readers must see from now on. `None`: the log takes nothing more.
    pub fn append(&self, group: Group) -> Option<(Lsn, Promise)> {
        let counter = group.side.first().and_then(|(_, value)| value.as_ref()).map(|value| value[0]);
        let called = {
            let mut history = self.history.lock().unwrap();
            history.leaving.extend(&group.remove);
            history.moment += 1;
            history.moment
        };
        let (entries, removed) = (group.entries.clone(), group.remove.clone());
        match self.log.append(group) {
            Ok(appended) => {
                let mut history = self.history.lock().unwrap();
                history.moment += 1;
                let returned = history.moment;
                history.counter = history.counter.max(counter.unwrap_or(0));
                let trims = !removed.is_empty();
                let last = Lsn(appended.first.0 + entries.len() as u64 + u64::from(trims) - 1);
                history.left.extend(removed);
                history.appended.push(Piece { called, returned, first: appended.first, entries, trims });
                Some((appended.first, Promise { ticket: appended.ticket, last, counter }))
            }
            Err(LogError::Closed) => {
                assert!(self.history.lock().unwrap().closing, "nobody has closed the log");
                None
            }
            Err(LogError::Failed(_)) => {
                assert!(self.log.failure().is_some());
                None
            }
            Err(other) => panic!("{other}"),
        }
    }

    /// Waits for the ticket. If it says that the group is durable, it is, and the high-water file says so.
    pub fn settle(&self, promise: Promise) -> bool {
        let Promise { mut ticket, last, counter } = promise;
        let told = shuttle::future::block_on(async { Pin::new(&mut ticket).await });
        self.judge(told.is_ok(), last, counter)
    }

    /// As [`Self::settle`], and asks again and again: a ticket that was open when the log said that it had failed is never good.
    pub fn settle_asking(&self, promise: Promise) -> bool {
        let Promise { mut ticket, last, counter } = promise;
        let mut late = false;
        loop {
            let failed = self.log.failure().is_some();
            let asked = shuttle::future::block_on(poll_fn(|context| Poll::Ready(Pin::new(&mut ticket).poll(context))));
            match asked {
                Poll::Ready(told) => {
                    assert!(!(late && told.is_ok()), "told that {last} is durable after the log had failed");
                    return self.judge(told.is_ok(), last, counter);
                }
                Poll::Pending => late |= failed,
            }
            thread::yield_now();
        }
    }

    fn judge(&self, good: bool, last: Lsn, counter: Option<u8>) -> bool {
        if good {
            let (durable, mark) = self.world.durable();
            assert!(durable >= last, "told that {last} is durable, which ends at {durable}");
            assert!(mark >= last, "told that {last} is durable, and the high-water file says {mark}");
            if let Some(counter) = counter {
                assert!(self.world.durable_side(&COUNTER).is_some_and(|value| value[0] >= counter), "{counter}");
            }
            let mut history = self.history.lock().unwrap();
            history.told = history.told.max(last.0);
        } else {
            assert!(self.log.failure().is_some(), "told that {last} is lost by a log that has not failed");
        }
        good
    }

    /// Reads everything that was appended, some times.
    pub fn read(&self, times: usize) {
        let mut former: Option<Positions> = None;
        for _ in 0..times {
            let positions = self.log.positions();
            let (_, mark) = self.world.durable();
            assert!(positions.durable <= mark && positions.durable <= positions.appended, "{positions:?}, mark {mark}");
            if let Some(former) = former.replace(positions) {
                assert!(former.durable <= positions.durable && former.appended <= positions.appended, "{positions:?}");
            }
            if !(self.read_entries() && self.read_scan() && self.read_counter()) {
                return;
            }
        }
    }

    fn read_entries(&self) -> bool {
        let (known, left) = {
            let history = self.history.lock().unwrap();
            (history.known(), history.left.clone())
        };
        for (lsn, entry) in known {
            match self.log.read(lsn) {
                Ok(Some(found)) => assert!(found == entry && !left.contains(&lsn), "{lsn}"),
                Ok(None) => assert!(self.history.lock().unwrap().leaving.contains(&lsn), "{lsn} is not seen"),
                Err(error) => return self.refused(&error),
            }
        }
        true
    }

    fn read_scan(&self) -> bool {
        let (known, left) = {
            let history = self.history.lock().unwrap();
            (history.known(), history.left.clone())
        };
        let mut found = BTreeMap::new();
        let scanned = self.log.scan(Lsn(0), &mut |lsn, entry| {
            assert!(found.last_key_value().is_none_or(|(last, _)| *last < lsn), "{lsn} comes late");
            found.insert(lsn, entry);
            ControlFlow::Continue(())
        });
        if let Err(error) = scanned {
            return self.refused(&error);
        }
        let leaving = self.history.lock().unwrap().leaving.clone();
        for (lsn, entry) in known {
            match found.get(&lsn) {
                Some(seen) => assert!(*seen == entry && !left.contains(&lsn), "{lsn}"),
                None => assert!(leaving.contains(&lsn), "{lsn} is not seen by a scan"),
            }
        }
        true
    }

    fn read_counter(&self) -> bool {
        let least = self.history.lock().unwrap().counter;
        match self.log.side(&COUNTER) {
            Ok(found) => {
                let found = found.map_or(0, |value| value[0]);
                assert!(found >= least, "the counter was {least} and is {found}");
                true
            }
            Err(error) => self.refused(&error),
        }
    }

    /// Reads are refused by a log that has failed, and by one that is closed.
    fn refused(&self, error: &LogError) -> bool {
        let closing = self.history.lock().unwrap().closing;
        let failed = matches!(error, LogError::Failed(_)) && self.log.failure().is_some();
        assert!(failed || closing && matches!(error, LogError::Closed), "{error}");
        false
    }

    /// The power fails here, for who looks at the end.
    pub fn cut(&self) {
        let mut history = self.history.lock().unwrap();
        let told = history.told;
        history.cuts.push((told, self.world.cut_power()));
    }

    /// Closes the log. `true`: everything that was appended is durable.
    pub fn close(&self) -> bool {
        self.history.lock().unwrap().closing = true;
        match self.log.close() {
            Ok(()) => {
                assert!(self.log.failure().is_none());
                let (durable, mark) = self.world.durable();
                let last = self.log.positions();
                assert!(
                    last.appended == last.durable && durable == last.durable && mark == durable,
                    "{last:?}, {mark}"
                );
                true
            }
            Err(error) => {
                assert!(matches!(error, LogError::Failed(_)) && self.log.failure().is_some(), "{error}");
                false
            }
        }
    }

    /// Everything that the scene started has ended, but for the log: lets it go, and judges what is left.
    pub fn end(self: Arc<Self>) {
        self.cut();
        let Ok(scene) = Arc::try_unwrap(self) else { panic!("somebody has the scene still") };
        let Self { world, log, dir, history, clock } = scene;
        let clock = clock.into_inner().unwrap();
        drop(log);
        while !world.is_free() {
            thread::yield_now();
        }
        world.stop_time();
        clock.unwrap().join().unwrap();
        if let Some(wrong) = world.wrong() {
            panic!("{wrong}");
        }
        let history = history.into_inner().unwrap();
        history.is_dense();
        for (told, cuts) in history.cuts {
            for cut in cuts {
                match cut.look(&dir) {
                    Ok(last) => assert!(last.0 >= told, "{told} was told, and a power cut left {last}"),
                    Err(error) => panic!("a power cut left what no start takes: {error}"),
                }
            }
        }
    }
}

impl History {
    /// What readers must see, unless it leaves.
    fn known(&self) -> Vec<(Lsn, Entry)> {
        let entries = self.appended.iter().flat_map(|piece| piece.entries.iter().zip(piece.first.0..));
        entries.map(|(entry, lsn)| (Lsn(lsn), entry.clone())).collect()
    }

    /// No LSN is given twice or left out, and who called after another had returned stands behind it.
    fn is_dense(&self) {
        let mut pieces: Vec<&Piece> = self.appended.iter().collect();
        pieces.sort_by_key(|piece| (piece.first, piece.entries.len() + usize::from(piece.trims)));
        // 1 is the log's own, of its start.
        let mut next = Lsn(2);
        for piece in &pieces {
            assert_eq!(piece.first, next);
            next = Lsn(next.0 + piece.entries.len() as u64 + u64::from(piece.trims));
        }
        for (at, piece) in pieces.iter().enumerate() {
            for later in &pieces[at + 1..] {
                assert!(
                    later.returned > piece.called || later.first == piece.first,
                    "{} before {}",
                    piece.first,
                    later.first
                );
            }
        }
    }
}
