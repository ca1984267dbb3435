//! Kill after kill, of the daemon and of both servers, under load; a judgement of the whole history after each.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use lockstep_model::{Key, State};
use tokio::time::timeout;

use super::change::Keys;
use super::clients::{Clients, repeat};
use super::window::{Notes, Told, World, judge};
use crate::budget::say;
use crate::campaign::Broken;
use crate::cluster::{Cluster, Wanted, client_of, table};
use crate::daemon::Daemon;
use crate::load::COMMITTED;
use crate::seed::Rng;
use crate::servers::{Kind, is_ours};
use crate::wait::moment;
use crate::weather::strike;
use crate::witness::{EDGES, NODES};

/// Nothing that chance sends is given up on, and what has ended is soon forgotten by the log.
const CONFIG: &str = "[wal]\nreserve_bytes = \"4 MiB\"\nretain_committed_s = 3\nretain_last = 20\n\
                      [retry]\nmax_attempts = 1000\nbase_ms = 20\nmax_ms = 300\n";

/// After so many windows a campaign says how far it is.
const PROGRESS: u64 = 100;

/// What chance has left out until then is done: no campaign of some length is without it.
const LATEST: u64 = 10;

/// What is to be done.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How often something is killed.
    pub kills: u64,
    /// Where chance begins.
    pub seed: u64,
    /// How many clients ask for operations.
    pub writers: usize,
    /// The folder of a daemon that breaks a promise, and which.
    pub fault: Option<(PathBuf, &'static str)>,
}

/// What a campaign did, so that a green one can be seen to have meant something.
#[derive(Debug, Default, Clone, Copy)]
pub struct Report {
    /// Kills of the daemon, of SurrealDB, and of Qdrant.
    pub kills: [u64; 3],
    /// Kills of a daemon that was recovering, and how many of those before it was ready.
    pub recovery_kills: (u64, u64),
    /// Faults as chance sends them.
    pub faults: u64,
    /// Those of them in which a network kept bytes, lost them or was late with them.
    pub disturbed: u64,
    /// Windows judged.
    pub windows: u64,
    /// Operations sent.
    pub asked: u64,
    /// Those that ended committed.
    pub committed: u64,
    /// Those that ended rolled back.
    pub rolled_back: u64,
    /// Those that never got an answer.
    pub unanswered: u64,
    /// Asked once more under their idempotency key.
    pub repeated: u64,
    /// The same of operations that had been answered.
    pub answered_again: u64,
    /// Records read while clients were at work.
    pub reads: u64,
}

impl Report {
    /// Kills of anything.
    #[must_use]
    pub fn all_kills(&self) -> u64 {
        self.kills.iter().sum()
    }

    /// This and what another campaign did.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            kills: std::array::from_fn(|place| self.kills[place] + other.kills[place]),
            recovery_kills: (
                self.recovery_kills.0 + other.recovery_kills.0,
                self.recovery_kills.1 + other.recovery_kills.1,
            ),
            faults: self.faults + other.faults,
            disturbed: self.disturbed + other.disturbed,
            windows: self.windows + other.windows,
            asked: self.asked + other.asked,
            committed: self.committed + other.committed,
            rolled_back: self.rolled_back + other.rolled_back,
            unanswered: self.unanswered + other.unanswered,
            repeated: self.repeated + other.repeated,
            answered_again: self.answered_again + other.answered_again,
            reads: self.reads + other.reads,
        }
    }
}

/// Runs the plan.
///
/// # Errors
/// [`Broken`] if a promise was, anything else if the campaign could not be carried out.
pub async fn run(plan: &Plan) -> Result<Report> {
    let tables = vec![table(NODES), table(EDGES), table(super::change::NOTES)];
    let cluster = Cluster::start(&Wanted { more: CONFIG.to_owned(), tables, ..Wanted::default() }).await?;
    let cluster = match &plan.fault {
        Some((folder, fault)) => cluster.faulty(folder, fault),
        None => cluster,
    };
    let mut campaign = Campaign {
        plan: plan.clone(),
        rng: Rng::new(plan.seed),
        keys: Arc::new(Keys::new(5, 4)?),
        notes: Arc::new(Notes::default()),
        world: World::new(),
        report: Report::default(),
        cluster,
    };
    let mut daemon = campaign.cluster.daemon().await?;
    while campaign.report.all_kills() < plan.kills {
        let window = campaign.report.windows + 1;
        let next = campaign.window(daemon).await;
        daemon = next.with_context(|| format!("window {window}, seed {}", plan.seed))?;
        if window.is_multiple_of(PROGRESS) {
            say(format!("campaign: seed {}, {} of {} kills", plan.seed, campaign.report.all_kills(), plan.kills));
        }
    }
    daemon.terminate().await?;
    Ok(campaign.report)
}

struct Campaign {
    plan: Plan,
    rng: Rng,
    keys: Arc<Keys>,
    notes: Arc<Notes>,
    world: World,
    report: Report,
    cluster: Cluster,
}

impl Campaign {
    async fn window(&mut self, daemon: Daemon) -> Result<Daemon> {
        let socket = daemon.client().socket().to_owned();
        // Its connection does not outlive a server.
        let eyes = self.cluster.direct().await?;
        let clients = Clients::start(&socket, Some(eyes), &self.keys, &self.notes, self.plan.writers, &mut self.rng);
        let enough = 1 + self.rng.below(150);
        self.until_answers(enough).await;
        let killed = self.strike(daemon).await?;
        let daemon = match killed {
            Some(daemon) => {
                // Those who wait for a store are answered; others go on a while.
                let more = self.rng.below(40);
                self.until_answers(more).await;
                clients.finish().await;
                daemon
            }
            None => {
                clients.finish().await;
                let overdue = self.report.windows >= LATEST && self.report.recovery_kills.0 == 0;
                if self.rng.chance(30) || overdue {
                    self.kill_while_it_recovers().await?;
                }
                self.cluster.daemon().await?
            }
        };
        self.settle(&daemon).await?;
        Ok(daemon)
    }

    async fn until_answers(&self, more: u64) {
        let mut answers = self.notes.answers();
        let until = answers.borrow().saturating_add(more);
        // A moment without answers is as good as any.
        let _ = timeout(Duration::from_millis(1500), answers.wait_for(|answers| *answers >= until)).await;
    }

    /// Kills something, or lets a fault strike. Returns the daemon if it lives. The servers are there again then.
    async fn strike(&mut self, daemon: Daemon) -> Result<Option<Daemon>> {
        let ours = is_ours(Kind::Surreal) && is_ours(Kind::Qdrant);
        let overdue = self.report.windows >= LATEST && self.report.disturbed == 0;
        match self.rng.below(100) {
            _ if overdue => {
                self.fault().await?;
                Ok(Some(daemon))
            }
            0..45 => self.kill_daemon(daemon).await.map(|()| None),
            45..60 if ours => {
                self.kill_server(Kind::Surreal).await?;
                Ok(Some(daemon))
            }
            60..75 if ours => {
                self.kill_server(Kind::Qdrant).await?;
                Ok(Some(daemon))
            }
            75..85 if ours => {
                let kind = if self.rng.chance(50) { Kind::Surreal } else { Kind::Qdrant };
                self.cluster.store(kind).0.kill().await?;
                self.report.kills[kind_place(kind)] += 1;
                moment(Duration::from_millis(self.rng.below(200))).await;
                self.kill_daemon(daemon).await?;
                self.cluster.store(kind).0.restart().await?;
                Ok(None)
            }
            _ => {
                self.fault().await?;
                if self.rng.chance(50) {
                    self.kill_daemon(daemon).await?;
                    return Ok(None);
                }
                Ok(Some(daemon))
            }
        }
    }

    async fn kill_daemon(&mut self, daemon: Daemon) -> Result<()> {
        daemon.kill().await?;
        self.report.kills[0] += 1;
        Ok(())
    }

    /// Before it is ready, or while it works through what it found.
    async fn kill_while_it_recovers(&mut self) -> Result<()> {
        let daemon = self.cluster.launch().start()?;
        moment(Duration::from_millis(self.rng.below(400))).await;
        let said = daemon.kill().await?;
        self.report.recovery_kills.0 += 1;
        self.report.recovery_kills.1 += u64::from(!said.contains("lockstepd ready"));
        Ok(())
    }

    async fn fault(&mut self) -> Result<()> {
        let before = self.disturbances();
        strike(&mut self.cluster, &mut self.rng, Duration::from_millis(2500)).await?;
        self.report.faults += 1;
        self.report.disturbed += u64::from(self.disturbances() > before);
        Ok(())
    }

    fn disturbances(&self) -> u64 {
        let counts = [self.cluster.surreal_net.counts(), self.cluster.qdrant_net.counts()];
        counts.iter().map(|counts| counts.resets + counts.swallowed + counts.delayed).sum()
    }

    async fn kill_server(&mut self, kind: Kind) -> Result<()> {
        let (server, _) = self.cluster.store(kind);
        server.kill().await?;
        moment(Duration::from_millis(self.rng.below(1500))).await;
        self.cluster.store(kind).0.restart().await?;
        self.report.kills[kind_place(kind)] += 1;
        Ok(())
    }

    /// Waits until nothing is open, hears how everything ended, reads both stores past the daemon, and judges.
    async fn settle(&mut self, daemon: &Daemon) -> Result<()> {
        let client = client_of(daemon);
        let (repeated, answered) = repeat(&client, &self.notes, &mut self.rng).await?;
        self.report.repeated += repeated;
        self.report.answered_again += answered;
        let barrier = client.barrier(Some(COMMITTED * 2)).await;
        if !barrier.as_ref().is_ok_and(|answer| answer.status == 200) {
            return Err(Broken(format!("work stands still: {barrier:?}")).into());
        }
        for (number, asked) in self.notes.asked().into_iter().enumerate() {
            let op_id = match &asked.told {
                Told::Nothing | Told::NotTaken => continue,
                Told::Logged(op_id) | Told::Ended(op_id, ..) => *op_id,
            };
            let view = client.op_view(op_id).await;
            let view = view.map_err(|error| Broken(format!("{asked:?} was answered, but now: {error}")))?.into_body();
            let detail = view.error.as_ref().map(|error| error.detail.clone());
            let end = Told::Ended(op_id, view.state, view.error.map(|error| error.code));
            if matches!(asked.told, Told::Ended(..)) && asked.told != end {
                return Err(Broken(format!("{asked:?} was answered, and now it is {end:?}")).into());
            }
            let proper = match (view.state, end_code(&end)) {
                (State::Committed, None) => true,
                (State::RolledBack, Some(code)) => code == "not_found" || code == "precondition_failed",
                (_, None | Some(_)) => false,
            };
            if !proper {
                return Err(Broken(format!("{asked:?} ended as {end:?}: {detail:?}, {:?}", view.history)).into());
            }
            if matches!(asked.told, Told::Logged(_)) {
                self.notes.hears(number, end);
            }
        }
        if let Some(fault) = self.notes.fault() {
            return Err(Broken(fault).into());
        }
        let end = self.notes.moment();
        let all: Vec<Key> = self.keys.all();
        let stores = self.cluster.direct().await?.read(&all).await?;
        let window = self.notes.close();
        self.world = judge(&self.keys, &self.world, &window, &stores, end)?;
        self.count(&window.0);
        self.report.reads += window.1.len() as u64;
        self.report.windows += 1;
        Ok(())
    }

    fn count(&mut self, asked: &[super::window::Asked]) {
        self.report.asked += asked.len() as u64;
        for asked in asked {
            match &asked.told {
                Told::Nothing | Told::Logged(_) => self.report.unanswered += 1,
                Told::NotTaken => {}
                Told::Ended(_, State::Committed, _) => self.report.committed += 1,
                Told::Ended(..) => self.report.rolled_back += 1,
            }
        }
    }
}

fn end_code(told: &Told) -> Option<&str> {
    match told {
        Told::Ended(_, _, code) => code.as_deref(),
        Told::Nothing | Told::NotTaken | Told::Logged(_) => None,
    }
}

const fn kind_place(kind: Kind) -> usize {
    match kind {
        Kind::Surreal => 1,
        Kind::Qdrant => 2,
    }
}
