//! A power cut: the daemon runs on a disk of its own, the disk is copied under the stopped daemon, and another one goes on
//! from the copy (design.md 9).

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use lockstep_api::{PauseRequest, StoreName};
use lockstep_tests::budget::{number, say, skip};
use lockstep_tests::campaign::{Broken, World, settle};
use lockstep_tests::daemon::Launch;
use lockstep_tests::load::{Acks, Field, Load};
use lockstep_tests::machine::is_root;
use lockstep_tests::power::{Disk, check};
use lockstep_tests::program::faulty;
use lockstep_tests::seed::Rng;
use lockstep_tests::wait::{PATIENCE, run};
use lockstep_tests::witness::{Told, Witness};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::support::fresh;

/// So many cuts one disk goes through.
const IN_A_ROW: u64 = 3;

/// Nearly every one loses something: so many do.
const CUTS_WITHOUT_SYNC: u64 = 5;

/// P1: what was acknowledged as logged or committed survives a power cut.
///
/// Fails when the log does not sync its own file (the negative control below does that), and when the directory or the high-water
/// file is not synced at creation.
#[test]
fn p1_what_was_acknowledged_survives_a_power_cut() -> Result<()> {
    let Some(folder) = disks("power cuts")? else { return Ok(()) };
    run(async move {
        let cuts: u64 = number("LOCKSTEP_POWER_CUTS", 20)?;
        let seed = Rng::seed()?;
        say(format!("power cuts: {cuts}, LOCKSTEP_SEED={seed}"));
        let mut rng = Rng::new(seed);
        let (mut all, mut machine) = (0, None);
        for number in 1..=cuts {
            // What a cut leaves may come to harm at the next one alone.
            let mut again = match machine.take() {
                Some(again) if number % IN_A_ROW != 1 => again,
                Some(_) | None => Machine::new(folder.path())?,
            };
            // With the stores paused nobody but the log syncs: the harder case for it.
            let paused = number % 2 == 0;
            let acknowledged = again.cut(&again.launch.clone(), paused, &mut rng).await;
            let acknowledged = acknowledged.with_context(|| format!("cut {number}, seed {seed}"))?;
            say(format!("power cut {number}: all of {acknowledged} acknowledged operations are there"));
            all += acknowledged;
            machine = Some(again);
        }
        ensure!(all > 0, "nothing was acknowledged before any cut: the test proves nothing");
        Ok(())
    })
}

/// The negative control: a log that does not sync loses what it acknowledged, and the test above sees it.
#[test]
fn the_power_cut_test_catches_a_log_that_does_not_sync() -> Result<()> {
    let Some(programs) = faulty()? else {
        skip("power cuts against LOCKSTEP_FAULT=no_fsync", "run tests/negative.sh as root");
        return Ok(());
    };
    let Some(folder) = disks("power cuts")? else { return Ok(()) };
    run(async move {
        let mut rng = Rng::new(Rng::seed()?);
        let mut lost = 0;
        for number in 1..=CUTS_WITHOUT_SYNC {
            let mut machine = Machine::new(folder.path())?;
            let faulty =
                machine.launch.clone().program(programs.join("lockstepd")).variable("LOCKSTEP_FAULT", "no_fsync");
            match machine.cut(&faulty, true, &mut rng).await {
                Ok(acknowledged) => say(format!("without fsync, cut {number}: {acknowledged} survived by luck")),
                Err(error) if error.downcast_ref::<Broken>().is_some() => {
                    let said = format!("{error:#}");
                    say(format!("without fsync, cut {number}: {}", said.lines().next().unwrap_or_default()));
                    lost += 1;
                }
                Err(error) => return Err(error),
            }
        }
        let enough = lost * 2 > CUTS_WITHOUT_SYNC;
        ensure!(enough, "without fsync only {lost} of {CUTS_WITHOUT_SYNC} cuts lost anything: the test proves nothing");
        Ok(())
    })
}

/// A folder for disks, if any can be mounted; else it says that `what` is not done here.
pub(crate) fn disks(what: &str) -> Result<Option<TempDir>> {
    let folder = tempfile::Builder::new().prefix("lockstep-power-").tempdir()?;
    if !is_root() {
        skip(what, "they mount disks: run as root");
        return Ok(None);
    }
    if let Err(error) = check(folder.path()) {
        skip(what, &format!("no loop mounts here: {error:#}"));
        return Ok(None);
    }
    Ok(Some(folder))
}

/// A disk, what was written to it, and what it showed.
struct Machine {
    folder: TempDir,
    disk: Disk,
    launch: Launch,
    _home: TempDir,
    field: Arc<Field>,
    witness: Arc<Witness>,
    world: World,
}

impl Machine {
    fn new(folder: &Path) -> Result<Self> {
        let folder = tempfile::tempdir_in(folder)?;
        let (home, launch) = fresh()?;
        let field = Arc::new(Field::new(8, 8));
        let world = World::new(&field)?;
        Ok(Self {
            disk: Disk::make(folder.path())?,
            folder,
            launch,
            _home: home,
            field,
            witness: Arc::default(),
            world,
        })
    }

    /// One cut: `writer` works on the disk, and a good daemon recovers from what was on it; of that, too, what was synced is the disk
    /// from then on. Returns how many operations were acknowledged.
    async fn cut(&mut self, writer: &Launch, paused: bool, rng: &mut Rng) -> Result<usize> {
        let place = tempfile::tempdir_in(self.folder.path())?.keep();
        let copy = {
            let mounted = self.disk.mount(place.join("before"))?;
            let daemon = writer.clone().data(mounted.place().join("data")).ready().await?;
            let client = daemon.client().clone();
            if paused {
                for store in [StoreName::Surreal, StoreName::Qdrant] {
                    client.pause(&PauseRequest::Store(store)).await?;
                }
            }
            let acks = if paused { Acks::Logged } else { Acks::Both };
            let mut answers = self.witness.answers();
            let enough = *answers.borrow() + 50 + rng.below(400);
            let load = Load::start(client.socket(), &self.field, &self.witness, acks, 6, rng);
            timeout(PATIENCE, answers.wait_for(|answers| *answers >= enough)).await.context("too few answers")??;
            daemon.freeze().await?;
            let copy = self.disk.cut(&place)?;
            let killed = daemon.kill().await;
            load.finish().await;
            killed?;
            copy
        };
        let (sent, _) = self.witness.so_far();
        let told = sent.iter().filter(|sent| matches!(sent.told, Told::Logged { .. } | Told::Ended(_))).count();

        let mounted = copy.mount(place.join("after"))?;
        let mut daemon = self.launch.clone().data(mounted.place().join("data")).start()?;
        if let Err(error) = daemon.until_ready().await {
            return Err(Broken(format!("of {told} acknowledged operations the log has lost some: {error:#}")).into());
        }
        let (sent, seen) = settle(daemon.client(), &self.witness, &self.world.keys()).await?;
        self.world.judge(&sent, &seen)?;
        self.witness.forget();
        daemon.kill().await?;
        // The power goes again, right after the recovery: what it had not synced is gone in turn.
        let next = place.join("next");
        std::fs::create_dir(&next)?;
        self.disk = copy.cut(&next)?;
        Ok(told)
    }
}
