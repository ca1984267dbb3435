//! Death at every transition: kill -9 of the daemon before and after each group of its log that moves an operation, and before and after
//! each call that writes to a store, for every kind of operation and everything that the stores can make of it.
//!
//! The steps of a scene are those that it passed once without a death, so that a new transition is covered by itself.
//! `LOCKSTEP_TRANSITIONS` says how many deaths, at least one for each step and outcome; 0: all. `LOCKSTEP_TRANSITION` names a part of them, as in `atomic, Qdrant` or
//! `mark compensating`.

mod scene;
mod stage;

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Result, bail, ensure};
use futures_util::future::join_all;
use lockstep_tests::budget::{number, say, skip};
use lockstep_tests::seed::Rng;
use lockstep_tests::servers::{Kind as Store, is_ours};
use lockstep_tests::wait::run;

use self::scene::{KINDS, Kind, OUTCOMES, Outcome, Scene};
use self::stage::{ANSWERED, Played, Stage};

/// So many deaths in a usual run.
const DEATHS: usize = 150;
/// So many stages side by side: most of a death is waiting.
const AT_ONCE: usize = 3;
/// After so many failures nothing new is tried.
const FAILURES: usize = 5;

/// A scene, and where the daemon dies in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Job {
    kind: Kind,
    outcome: Outcome,
    death: Option<String>,
}

/// What all stages work off.
#[derive(Default)]
struct Work {
    jobs: Vec<Job>,
    done: Vec<(Job, Played)>,
    failed: Vec<String>,
}

type Shared = Arc<Mutex<Work>>;

fn with<T>(work: &Shared, change: impl FnOnce(&mut Work) -> T) -> T {
    change(&mut work.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Plays what there is to play. A stage on which something went wrong is not played on again.
async fn play(mut stage: Option<Stage>, work: Shared) -> Result<Option<Stage>> {
    while let Some(job) = with(&work, |work| if work.failed.len() < FAILURES { work.jobs.pop() } else { None }) {
        let mut here = match stage.take() {
            Some(here) => here,
            None => Stage::open().await?,
        };
        match here.play(job.kind, job.outcome, job.death.as_deref()).await {
            Ok(played) => {
                with(&work, |work| work.done.push((job, played)));
                stage = Some(here);
            }
            Err(error) => with(&work, |work| work.failed.push(format!("{error:#}"))),
        }
    }
    Ok(stage)
}

async fn play_all(stages: Vec<Option<Stage>>, jobs: Vec<Job>) -> Result<(Vec<Option<Stage>>, Work)> {
    let work = Arc::new(Mutex::new(Work { jobs, ..Work::default() }));
    let playing: Vec<_> = stages.into_iter().map(|stage| tokio::spawn(play(stage, Arc::clone(&work)))).collect();
    let mut stages = Vec::new();
    for played in join_all(playing).await {
        stages.push(played??);
    }
    Ok((stages, with(&work, std::mem::take)))
}

fn scenes() -> Result<Vec<Job>> {
    let mut jobs = Vec::new();
    for outcome in OUTCOMES {
        if outcome == Outcome::QdrantRefuses && !is_ours(Store::Qdrant) {
            skip("deaths while Qdrant refuses", "unset QDRANT_URL: it needs a server that refuses what it is told to");
            continue;
        }
        for kind in KINDS {
            if Scene::new(kind, outcome, "a look")?.is_some() {
                jobs.push(Job { kind, outcome, death: None });
            }
        }
    }
    Ok(jobs)
}

/// Each step once with each outcome, in whichever scene; the rest of `count` by chance; all for 0.
fn choose(all: &[Job], count: usize, seed: u64) -> Vec<Job> {
    let part = env::var("LOCKSTEP_TRANSITION").unwrap_or_default();
    let words =
        |job: &Job| format!("{}, {}, death {}", job.kind, job.outcome, job.death.as_deref().unwrap_or_default());
    let mut left: Vec<Job> = all.iter().filter(|job| words(job).contains(&part)).cloned().collect();
    let mut rng = Rng::new(seed);
    let mut shuffled = Vec::new();
    while !left.is_empty() {
        let at = usize::try_from(rng.below(left.len() as u64)).unwrap_or(0);
        shuffled.push(left.swap_remove(at));
    }
    let mut had = BTreeSet::new();
    let new = |job: &Job| had.insert((job.outcome, job.death.clone()));
    let (mut chosen, rest): (Vec<Job>, Vec<Job>) = shuffled.into_iter().partition(new);
    let more = if count == 0 { rest.len() } else { count.saturating_sub(chosen.len()) };
    chosen.extend(rest.into_iter().take(more));
    chosen
}

/// How many deaths of how many there are, by kind and outcome.
fn table(all: &[Job], done: &[(Job, Played)]) -> String {
    let mut counts: BTreeMap<(Kind, Outcome), (usize, usize)> = BTreeMap::new();
    for job in all {
        counts.entry((job.kind, job.outcome)).or_default().1 += 1;
    }
    for (job, _) in done.iter().filter(|(_, played)| played.died) {
        counts.entry((job.kind, job.outcome)).or_default().0 += 1;
    }
    let mut text = format!("{:<10}", "deaths");
    // A String takes everything.
    for outcome in OUTCOMES {
        let _ = write!(text, " {outcome:<26}");
    }
    for kind in KINDS {
        let _ = write!(text, "\n{kind:<10}");
        for outcome in OUTCOMES {
            let cell = counts.get(&(kind, outcome)).map(|(done, all)| format!("{done} of {all}"));
            let _ = write!(text, " {:<26}", cell.as_deref().unwrap_or("-"));
        }
    }
    text
}

/// P1, P2, P4: wherever the daemon dies, after the restart both stores show the operation or neither does; what was heard of it before, from
/// the answer or an event, is still so; whoever asks again under its idempotency key hears the same; and nothing else has changed. Read past
/// the daemon. And what must be durable first was: the image before the first write, the end before the answer.
///
/// Fails, for instance, when a compensation is begun before its mark is durable, when a store is written to before the image is, or when
/// an answer leaves before its end mark.
#[test]
fn p1_p2_p4_both_or_neither_wherever_the_daemon_dies() -> Result<()> {
    run(async {
        let begun = Instant::now();
        let (seed, count) = (Rng::seed()?, number("LOCKSTEP_TRANSITIONS", DEATHS)?);
        let at_once = number("LOCKSTEP_TRANSITIONS_AT_ONCE", AT_ONCE)?.max(1);
        let stages = std::iter::repeat_with(|| None).take(at_once).collect();
        let (stages, looked) = play_all(stages, scenes()?).await?;
        ensure!(looked.failed.is_empty(), "without a death:\n{}", looked.failed.join("\n\n"));
        let mut all = Vec::new();
        for (job, played) in looked.done {
            for death in played.passed.into_iter().chain([ANSWERED.to_owned()]) {
                all.push(Job { death: Some(death), ..job });
            }
        }
        all.sort();
        let looked = begun.elapsed();
        let chosen = choose(&all, count, seed);
        let deaths = chosen.len();
        let (stages, played) = play_all(stages, chosen).await?;
        let mut keys = 0;
        for stage in stages.into_iter().flatten() {
            keys += stage.close().await?;
        }
        let steps: BTreeSet<&str> = all.iter().filter_map(|job| job.death.as_deref()).collect();
        let died = played.done.iter().filter(|(_, played)| played.died).count();
        say(format!(
            "{}\n{died} deaths of {} possible ones, at {} steps; {} steps not come by again; {keys} keys as they were left at the end; \
             LOCKSTEP_SEED={seed}; {:.0} s, {:.0} of them to find the steps",
            table(&all, &played.done),
            all.len(),
            steps.len(),
            played.done.len() - died,
            begun.elapsed().as_secs_f64(),
            looked.as_secs_f64(),
        ));
        if !played.failed.is_empty() {
            bail!("{} of {deaths} deaths went wrong:\n{}", played.failed.len(), played.failed.join("\n\n"));
        }
        ensure!(played.done.len() == deaths, "{} of {deaths} deaths were tried", played.done.len());
        ensure!(died * 10 >= deaths * 9, "only {died} of {deaths} deaths were died: the rest proves nothing");
        Ok(())
    })
}
