//! Kill after kill under load, with a judgement after each.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::{StreamExt, TryStreamExt, stream};
use lockstep_api::{Client, OpsFilter};
use lockstep_model::{Key, Lsn, State};
use tokio::time::timeout;

use crate::daemon::{Daemon, Launch};
use crate::held::{Age, Held, possible};
use crate::load::{Acks, COMMITTED, Field, Load, repeat};
use crate::look::{Observed, look};
use crate::seed::Rng;
use crate::wait::moment;
use crate::witness::{End, Place, Sent, Told, Witness};
use crate::{directory, op_log};

/// So many keys are looked at side by side.
const AT_ONCE: usize = 8;

/// A promise is broken: not the test, the program under test has failed.
#[derive(Debug, thiserror::Error)]
#[error("a promise is broken: {0}")]
pub struct Broken(pub String);

/// What is to be done to the daemon.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How it is started.
    pub launch: Launch,
    /// How often it is killed under load.
    pub cycles: u32,
    /// Where chance begins.
    pub seed: u64,
    /// How many clients there are.
    pub clients: usize,
    /// The longest load before most kills.
    pub short: Duration,
    /// The longest load before one kill in six: longer than what has ended waits for its checkpoint.
    pub long: Duration,
}

/// What a campaign did, so that a green one can be seen to have meant something.
#[derive(Debug, Default, Clone, Copy)]
pub struct Report {
    /// Kills under load.
    pub kills: u64,
    /// Kills of a daemon that was recovering, and how many of those before it was ready.
    pub recovery_kills: (u64, u64),
    /// Operations sent.
    pub sent: u64,
    /// Answered as committed.
    pub committed: u64,
    /// Answered as rolled back.
    pub rolled_back: u64,
    /// Answered as logged.
    pub logged: u64,
    /// In flight at a kill.
    pub unanswered: u64,
    /// Sent once more under their idempotency key.
    pub repeated: u64,
    /// The same of operations whose end had been told.
    pub answered_again: u64,
    /// Open at a start, and finished by it.
    pub recovered: u64,
    /// Cycles in which a checkpoint let operations leave the log.
    pub checkpoints: u64,
}

/// The keys, and what each of them holds as far as the last judgement knows.
#[derive(Debug)]
pub struct World {
    places: Vec<(Place, Key)>,
    held: BTreeMap<Key, Held>,
}

impl World {
    /// Nothing but the field.
    ///
    /// # Errors
    /// If it has a node without a proper key.
    pub fn new(field: &Field) -> Result<Self> {
        let places =
            field.places().into_iter().map(|place| Ok((place.clone(), place.key()?))).collect::<Result<_>>()?;
        Ok(Self { places, held: BTreeMap::new() })
    }

    /// The keys.
    #[must_use]
    pub fn keys(&self) -> Vec<Key> {
        self.places.iter().map(|(_, key)| key.clone()).collect()
    }

    /// Judges what the stores show after what was sent, and remembers it.
    ///
    /// # Errors
    /// [`Broken`] if they show what cannot be.
    pub fn judge(&mut self, sent: &[Sent], seen: &BTreeMap<Key, Observed>) -> Result<()> {
        for (place, key) in &self.places {
            let seen = seen.get(key).with_context(|| format!("{key} was not looked at"))?;
            let before = self.held.get(key).cloned().unwrap_or_else(Held::nothing);
            let concerned: Vec<&Sent> = sent.iter().filter(|sent| sent.what.touches(place)).collect();
            let possible = possible(&before, &concerned);
            let Some(now) = possible.iter().find(|held| held.is_shown_by(seen)) else {
                return Err(Broken(format!(
                    "{key} shows\n  {seen:?}\nwhich is none of\n  {possible:?}\nafter it held\n  {before:?}\nand these were sent:\n  {}",
                    concerned.iter().map(|sent| format!("{sent:?}")).collect::<Vec<_>>().join("\n  ")
                ))
                .into());
            };
            let age = seen.record.as_ref().map_or(now.age, |record| Age::Exactly(record.version));
            self.held.insert(key.clone(), Held { content: now.content.clone(), age });
        }
        self.no_edge_dangles()
    }

    fn no_edge_dangles(&self) -> Result<()> {
        let there = |key: &Key| self.held.get(key).is_some_and(|held| held.content.is_some());
        for (place, key) in &self.places {
            if let Place::Edge(from, to) = place
                && there(key)
                && !(there(&from.parse()?) && there(&to.parse()?))
            {
                return Err(Broken(format!("the edge {key} leads from {from} to {to}, and one of them is gone")).into());
            }
        }
        Ok(())
    }
}

/// Runs the plan.
///
/// # Errors
/// [`Broken`] if a promise was, anything else if the campaign could not be carried out.
pub async fn run(plan: &Plan) -> Result<Report> {
    let field = Arc::new(Field::new(8, 30));
    let mut campaign = Campaign {
        plan: plan.clone(),
        rng: Rng::new(plan.seed),
        witness: Arc::new(Witness::default()),
        world: World::new(&field)?,
        field,
        checkpoint: None,
        report: Report::default(),
    };
    let mut daemon = plan.launch.ready().await?;
    for cycle in 1..=plan.cycles {
        let next = campaign.cycle(daemon).await;
        daemon = next.with_context(|| format!("cycle {cycle} of {}, seed {}", plan.cycles, plan.seed))?;
    }
    daemon.terminate().await?;
    let seen = directory::read(plan.launch.folder(), campaign.world.keys()).await?;
    campaign.world.judge(&[], &seen).context("read from the stores' directories, without the daemon")?;
    Ok(campaign.report)
}

struct Campaign {
    plan: Plan,
    rng: Rng,
    field: Arc<Field>,
    witness: Arc<Witness>,
    world: World,
    checkpoint: Option<Lsn>,
    report: Report,
}

impl Campaign {
    async fn cycle(&mut self, daemon: Daemon) -> Result<Daemon> {
        if self.rng.below(6) == 0 {
            self.load_and_kill(daemon, u64::MAX, self.plan.long).await?;
        } else {
            let answers = 1 + self.rng.below(400);
            self.load_and_kill(daemon, answers, self.plan.short).await?;
        }
        self.report.kills += 1;
        while self.rng.chance(45) {
            self.kill_while_it_recovers().await?;
        }
        let daemon = self.plan.launch.ready().await?;
        let (repeated, answered) = repeat(daemon.client(), &self.witness, &mut self.rng).await?;
        self.report.repeated += repeated;
        self.report.answered_again += answered;
        let (sent, seen) = settle(daemon.client(), &self.witness, &self.world.keys()).await?;
        self.count(&sent);
        let status = daemon.client().status().await?;
        self.report.recovered += status.recovery.finished;
        self.report.checkpoints += u64::from(status.wal.checkpoint_lsn > self.checkpoint);
        self.checkpoint = status.wal.checkpoint_lsn;
        self.world.judge(&sent, &seen)?;
        self.witness.forget();
        Ok(daemon)
    }

    async fn load_and_kill(&mut self, daemon: Daemon, answers: u64, longest: Duration) -> Result<()> {
        let mut answered = self.witness.answers();
        let until = answered.borrow().saturating_add(answers);
        let socket = daemon.client().socket().to_owned();
        let load = Load::start(&socket, &self.field, &self.witness, Acks::Both, self.plan.clients, &mut self.rng);
        // Either is a moment as good as the other.
        let _ = timeout(longest, answered.wait_for(|answered| *answered >= until)).await;
        daemon.kill().await?;
        load.finish().await;
        self.check_log().await
    }

    /// Before it is ready, while it works through what it found, or when clients are back.
    async fn kill_while_it_recovers(&mut self) -> Result<()> {
        let mut daemon = self.plan.launch.start()?;
        let early = self.rng.chance(50);
        if early {
            moment(Duration::from_millis(self.rng.below(400))).await;
        } else {
            daemon.until_ready().await?;
        }
        self.report.recovery_kills.0 += 1;
        self.report.recovery_kills.1 += u64::from(!daemon.words().contains("lockstepd ready"));
        if !early && self.rng.chance(50) {
            let answers = self.rng.below(20);
            return self.load_and_kill(daemon, answers, Duration::from_millis(100)).await;
        }
        moment(Duration::from_micros(self.rng.below(60_000))).await;
        daemon.kill().await?;
        self.check_log().await
    }

    /// An answer once given as final never changes: the end must be in the log when the answer is out (P2, P8).
    async fn check_log(&self) -> Result<()> {
        let (sent, _) = self.witness.so_far();
        let states = op_log::states(self.plan.launch.folder(), 10_000).await?;
        for sent in &sent {
            let Told::Ended(end) = &sent.told else { continue };
            match states.get(&end.op_id) {
                Some(state) if *state != end.state => {
                    let broken = format!("{sent:?} was answered, and after the kill the log says {state}");
                    return Err(Broken(broken).into());
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn count(&mut self, sent: &[Sent]) {
        let (before, _) = self.witness.so_far();
        self.report.sent += sent.len() as u64;
        for sent in &before {
            match &sent.told {
                Told::Nothing => self.report.unanswered += 1,
                Told::NotTaken => {}
                Told::Logged { .. } => self.report.logged += 1,
                Told::Ended(End { state: State::Committed, .. }) => self.report.committed += 1,
                Told::Ended(_) => self.report.rolled_back += 1,
            }
        }
    }
}

/// Waits until nothing is open, asks how everything ended, and what the stores show.
///
/// # Errors
/// [`Broken`] if an answer was taken back, or came that must not come.
pub async fn settle(client: &Client, witness: &Witness, keys: &[Key]) -> Result<(Vec<Sent>, BTreeMap<Key, Observed>)> {
    let barrier = client.barrier(Some(COMMITTED)).await;
    if !barrier.as_ref().is_ok_and(|answer| answer.status == 200) {
        let open = client.ops(&OpsFilter { limit: Some(OpsFilter::MAX_LIMIT), ..OpsFilter::default() }).await?;
        let open: Vec<_> = open.ops.iter().filter(|op| op.state.is_open()).collect();
        return Err(Broken(format!("work stands still: {barrier:?}; open: {open:?}")).into());
    }
    let (mut sent, faults) = witness.so_far();
    if let Some(fault) = faults.first() {
        return Err(Broken(fault.clone()).into());
    }
    for sent in &mut sent {
        let (op_id, told) = match &sent.told {
            Told::Nothing | Told::NotTaken => continue,
            Told::Logged { op_id, .. } => (*op_id, None),
            Told::Ended(end) => (end.op_id, Some((end.state, end.code.clone()))),
        };
        let view = match client.op_view(op_id).await {
            Ok(view) => view.into_body(),
            Err(error) => return Err(Broken(format!("{sent:?} was answered, but now: {error}")).into()),
        };
        let end = (view.state, view.error.map(|error| error.code));
        if told.as_ref().is_some_and(|told| *told != end) {
            return Err(Broken(format!("{sent:?} was answered, and now it is {end:?}")).into());
        }
        let proper = match (&end.0, end.1.as_deref()) {
            (State::Committed, None) => true,
            (State::RolledBack, code) => matches!(code, Some("not_found" | "precondition_failed")),
            _ => false,
        };
        if !proper {
            return Err(Broken(format!("{sent:?} ended as {end:?}")).into());
        }
        sent.told = Told::Ended(End { op_id, lsn: view.lsn, version: view.version, state: end.0, code: end.1 });
    }
    let looks = stream::iter(keys.iter().cloned()).map(|key| async move {
        let observed = look(client, &key.to_string()).await;
        observed.map_err(|error| Broken(format!("{key}: {error:#}"))).map(|observed| (key, observed))
    });
    let seen = looks.buffer_unordered(AT_ONCE).try_collect().await?;
    Ok((sent, seen))
}
