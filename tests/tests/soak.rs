//! A daemon at work for a long time, with stores that fail now and then: what it takes of the machine stays within bounds (P6).

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lockstep_tests::budget::{number, say};
use lockstep_tests::campaign::{World, settle};
use lockstep_tests::cluster::{Cluster, Wanted};
use lockstep_tests::gauge::{Gauge, Reading};
use lockstep_tests::load::{Acks, Field, Load};
use lockstep_tests::plot::{Panel, svg};
use lockstep_tests::seed::Rng;
use lockstep_tests::wait::{moment, run};
use lockstep_tests::weather::strike;
use lockstep_tests::witness::Witness;

/// Between two operations of one client.
const PAUSE: Duration = Duration::from_millis(100);
const CLIENTS: usize = 6;
/// A client waits for one answer at a time, but `logged` does not wait for a store: what six clients ask for while it is away for
/// the longest fault and until it is noticed that it is back. Half an hour showed 40.
const MOST_OPEN: u64 = 300;
/// A round: load under faults, and then a judgement of everything that was asked for in it.
const ROUND: Duration = Duration::from_secs(60);
/// The memory that the service is given.
const MOST_MEMORY: u64 = 512 << 20;
const MOST_DESCRIPTORS: u64 = 256;
const MAX_LOG: u64 = 64 << 20;
/// Summaries are kept for so long, that the log is as large as it gets within a run.
const KEPT_S: u64 = 300;
/// What has ended leaves after so long, and a checkpoint.
const RETAINED_S: u64 = 30;
/// The last operations are retained for longer: these and as many more.
const RETAINED_OPS: u64 = 200;

/// P6: mixed load, with servers that are killed and stopped and networks that fail, for `LOCKSTEP_SOAK_S` seconds: memory, file
/// descriptors, log and disk stay within bounds and do not creep, and every round ends with both stores as they must be.
/// `LOCKSTEP_SOAK_PLOT` names a file for the curves.
///
/// Fails, for instance, when ended operations do not leave the log, or when connections to a lost server are kept.
#[test]
fn p6_a_long_run_with_faults_stays_within_bounds() -> Result<()> {
    run(async {
        let seconds: u64 = number("LOCKSTEP_SOAK_S", 20)?;
        let seed = Rng::seed()?;
        say(format!("soak: {seconds} s, LOCKSTEP_SEED={seed}"));
        let more = format!(
            "[wal]\nreserve_bytes = \"4 MiB\"\nmax_bytes = {MAX_LOG}\nretain_committed_s = {RETAINED_S}\nkeep_finished_s = {KEPT_S}\n\
             [retry]\nbase_ms = 20\nmax_ms = 1000\n"
        );
        let mut cluster = Cluster::start(&Wanted { more, ..Wanted::default() }).await?;
        let daemon = cluster.daemon().await?;
        let gauge = Gauge::start(&daemon, &cluster.launch().folder().join("wal"), Duration::from_secs(1))?;
        let mut soak = Soak {
            rng: Rng::new(seed),
            witness: Arc::new(Witness::default()),
            field: Arc::new(Field::new(12, 60)),
            faults: 0,
            sent: 0,
        };
        let mut world = World::new(&soak.field)?;
        let begun = Instant::now();
        let whole = Duration::from_secs(seconds);
        while begun.elapsed() < whole {
            let round = ROUND.min(whole.saturating_sub(begun.elapsed()));
            soak.load(&mut cluster, daemon.client().socket(), round).await?;
            let (sent, seen) = settle(daemon.client(), &soak.witness, &world.keys()).await?;
            world.judge(&sent, &seen)?;
            soak.sent += sent.len();
            soak.witness.forget();
        }
        let readings = gauge.finish();
        let direct = cluster.direct().await?.read(&world.keys()).await?;
        world.judge(&[], &direct).context("read from the stores themselves")?;
        daemon.terminate().await?;
        say(format!("soak: {} operations, {} faults, {}", soak.sent, soak.faults, summary(&readings)?));
        if let Ok(place) = std::env::var("LOCKSTEP_SOAK_PLOT") {
            std::fs::write(&place, picture(&soak, &readings)).context(place)?;
        }
        ensure!(
            soak.sent > 0 && soak.faults > 0,
            "{} operations, {} faults: it proves nothing",
            soak.sent,
            soak.faults
        );
        bounds(&readings, seconds)
    })
}

struct Soak {
    rng: Rng,
    witness: Arc<Witness>,
    field: Arc<Field>,
    faults: u64,
    sent: usize,
}

impl Soak {
    async fn load(&mut self, cluster: &mut Cluster, socket: &std::path::Path, round: Duration) -> Result<()> {
        let until = Instant::now() + round;
        let load = Load::paced(socket, &self.field, &self.witness, Acks::Both, CLIENTS, PAUSE, &mut self.rng);
        while Instant::now() < until {
            moment(Duration::from_millis(2000 + self.rng.below(8000)).min(round / 4)).await;
            strike(cluster, &mut self.rng, Duration::from_secs(4)).await?;
            self.faults += 1;
        }
        load.finish().await;
        Ok(())
    }
}

fn most(readings: &[Reading], of: fn(&Reading) -> u64) -> Result<u64> {
    readings.iter().map(of).max().context("nothing was read")
}

fn summary(readings: &[Reading]) -> Result<String> {
    Ok(format!(
        "at most {} MiB of memory, {} descriptors, {} operations in a log of {} KiB, {} MiB in its folder, {} open operations",
        most(readings, |r| r.memory_bytes)? >> 20,
        most(readings, |r| r.descriptors)?,
        most(readings, |r| r.held_ops)?,
        most(readings, |r| r.log_bytes)? >> 10,
        most(readings, |r| r.folder_bytes)? >> 20,
        most(readings, |r| r.open_ops)?,
    ))
}

fn bounds(readings: &[Reading], seconds: u64) -> Result<()> {
    let words = summary(readings)?;
    ensure!(readings.len() as u64 * 2 > seconds, "{} looks in {seconds} s: {words}", readings.len());
    ensure!(most(readings, |r| r.memory_bytes)? < MOST_MEMORY, "{words}");
    ensure!(most(readings, |r| r.descriptors)? < MOST_DESCRIPTORS, "{words}");
    ensure!(most(readings, |r| r.log_bytes)? <= MAX_LOG, "{words}");
    ensure!(most(readings, |r| r.open_ops)? < MOST_OPEN, "{words}");
    leaves_the_log(readings)?;
    if seconds < 600 {
        return Ok(());
    }
    // What creeps shows between the second quarter and the last.
    let quarter = readings.len() / 4;
    let (second, last) = (readings.get(quarter..2 * quarter), readings.get(3 * quarter..));
    let (second, last) = (second.context("no readings")?, last.context("no readings")?);
    for (name, of, slack) in [
        ("memory", (|r| r.memory_bytes) as fn(&Reading) -> u64, 32 << 20),
        ("descriptors", |r| r.descriptors, 16),
        ("folder", |r| r.folder_bytes, 32 << 20),
    ] {
        let (then, now) = (most(second, of)?, most(last, of)?);
        ensure!(now <= then + then / 5 + slack, "{name} creeps from {then} to {now}: {words}");
    }
    Ok(())
}

/// The log holds no more operations than it has taken records in twice the time that it retains them for: how many that are is up to the
/// machine and what else it does.
fn leaves_the_log(readings: &[Reading]) -> Result<()> {
    let mut earlier = readings.iter().peekable();
    let mut records = 0;
    for reading in readings {
        let since = reading.at.saturating_sub(Duration::from_secs(2 * RETAINED_S));
        while let Some(reading) = earlier.next_if(|earlier| earlier.at <= since) {
            records = reading.records;
        }
        let (held, taken) = (reading.held_ops, reading.records.saturating_sub(records));
        let at = reading.at.as_secs();
        ensure!(
            held <= RETAINED_OPS + taken,
            "{held} operations in the log after {at} s, of {taken} records since {since:?}"
        );
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "for the eye")]
fn picture(soak: &Soak, readings: &[Reading]) -> String {
    let curve = |of: fn(&Reading) -> f64| readings.iter().map(|reading| (reading.at, of(reading))).collect();
    let title = format!(
        "{} operations of {CLIENTS} clients, {} faults of both servers; summaries kept for {KEPT_S} s",
        soak.sent, soak.faults
    );
    svg(
        &title,
        &[
            Panel { title: "resident memory, MiB", values: curve(|r| r.memory_bytes as f64 / f64::from(1 << 20)) },
            Panel { title: "operations that the log holds whole", values: curve(|r| r.held_ops as f64) },
            Panel { title: "sled's file, MiB", values: curve(|r| r.log_bytes as f64 / f64::from(1 << 20)) },
            Panel { title: "open operations", values: curve(|r| r.open_ops as f64) },
            Panel { title: "file descriptors", values: curve(|r| r.descriptors as f64) },
        ],
    )
}
