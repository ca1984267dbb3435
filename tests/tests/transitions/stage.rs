//! Where the scenes are played: two servers, and one daemon after the other on one log. The restart after a death is the life in which the
//! next scene is played, on keys of its own; what earlier scenes left stays there to be looked at.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use lockstep_api::{Ack, Client, Error, Events, OpOptions, OpView, OpsFilter};
use lockstep_model::{Lsn, OpId, State, Version};
use lockstep_tests::cluster::{Cluster, Wanted};
use lockstep_tests::daemon::{Daemon, Launch, check_words};
use lockstep_tests::direct::{Direct, sql};
use lockstep_tests::held::{Age, Content, Held};
use lockstep_tests::proxy::{Fault, Proxy};
use lockstep_tests::servers::{Kind as Store, is_ours};
use lockstep_tests::steps::Steps;
use lockstep_tests::wait::{PATIENCE, wait_until};

use super::scene::{Kind, NEIGHBOURS, Outcome, RULES, Scene, Touch, put};
use crate::support::{bulk, commit};

/// The client has its answer, and the daemon is killed from outside at once.
pub(crate) const ANSWERED: &str = "answered";

/// So long after the end of everything a step that is still to come may take: no more than the way of a group's ticket.
const SOON: Duration = Duration::from_secs(1);

/// What came of a scene.
pub(crate) struct Played {
    /// The steps that were passed.
    pub(crate) passed: Vec<String>,
    /// Whether the daemon died where it was to. What is batched, and how often is tried, is not the same each time: some steps are
    /// not come by twice.
    pub(crate) died: bool,
}

/// Servers, the daemon that lives now, and what must be as it is.
pub(crate) struct Stage {
    cluster: Cluster,
    steps: Steps,
    launch: Launch,
    daemon: Option<Daemon>,
    direct: Direct,
    neighbours: Vec<Touch>,
    /// Every key of every scene that was played, as it was left.
    left: Vec<Touch>,
    played: u32,
}

/// What a client heard before the daemon died.
#[derive(Debug, Default)]
struct Heard {
    /// The answer, if it was final.
    answer: Option<(OpId, State)>,
    /// What events said.
    events: Vec<(OpId, String)>,
}

impl Stage {
    pub(crate) async fn open() -> Result<Self> {
        let cluster = Cluster::start(&Wanted::default()).await?;
        if is_ours(Store::Qdrant) {
            cluster.qdrant.misbehave("refuse-marked")?;
        }
        let steps = Steps::in_folder(&cluster.folder().join("steps"))?;
        let launch = cluster.launch().clone().variable("LOCKSTEP_FAULT", &steps.fault());
        let direct = cluster.direct().await?;
        sql(direct.surreal(), RULES).await?;
        let mut stage =
            Self { cluster, steps, launch, daemon: None, direct, neighbours: Vec::new(), left: Vec::new(), played: 0 };
        let daemon = stage.daemon().await?;
        for key in NEIGHBOURS {
            let (body, content) = put(key, "nobody's");
            commit(daemon.client(), &body).await?;
            let (before, after) = (Some(content.clone()), Some(content));
            stage.neighbours.push(Touch { key: key.parse()?, before, after });
        }
        stage.daemon = Some(daemon);
        Ok(stage)
    }

    /// The daemon that lives, or another one.
    async fn daemon(&mut self) -> Result<Daemon> {
        match self.daemon.take() {
            Some(daemon) => Ok(daemon),
            None => {
                let daemon = self.launch.ready().await?;
                let barrier = daemon.client().barrier(Some(PATIENCE)).await?;
                ensure!(barrier.status == 200, "what was open does not end: {barrier:?}");
                Ok(daemon)
            }
        }
    }

    /// Plays one scene; with `death` the daemon dies at that step.
    pub(crate) async fn play(&mut self, kind: Kind, outcome: Outcome, death: Option<&str>) -> Result<Played> {
        self.played += 1;
        let case = format!("c{}", self.played);
        let scene = Scene::new(kind, outcome, &case)?.context("nothing to play")?;
        let words = || format!("{kind}, {outcome}, death {}", death.map_or("never".to_owned(), |at| at.to_owned()));
        self.act(&scene, (kind, outcome), &case, death).await.with_context(words)
    }

    async fn act(
        &mut self,
        scene: &Scene,
        (kind, outcome): (Kind, Outcome),
        case: &str,
        death: Option<&str>,
    ) -> Result<Played> {
        let daemon = self.daemon().await?;
        let client = daemon.client().clone();
        let lines: String = scene.before.iter().map(|body| format!("{body}\n")).collect();
        for answer in bulk(&client, lines.into_bytes(), Ack::Committed).await? {
            ensure!(answer.state == Some(State::Committed), "before the scene: {answer:?}");
        }
        let before = client.status().await?.into_body().wal.last_lsn.unwrap_or(Lsn(0));
        let events = Arc::new(Mutex::new(Vec::new()));
        let listener = tokio::spawn(listen(client.events(None).await?, Arc::clone(&events)));

        let mut orders: Vec<String> = death.iter().map(|step| format!("kill {step}")).collect();
        let lost = match outcome {
            Outcome::SurrealReplyLost => Some(("surreal apply 1", &self.cluster.surreal_net)),
            Outcome::QdrantReplyLost => Some(("qdrant apply 1", &self.cluster.qdrant_net)),
            Outcome::Well | Outcome::SurrealRefuses | Outcome::QdrantRefuses => None,
        };
        let pause = lost.map(|(call, _)| format!("pause before {call}"));
        self.steps.plan(case, &orders.iter().cloned().chain(pause).collect::<Vec<_>>())?;
        let (asking, steps) = (send(client.clone(), scene.body.to_string(), case.to_owned()), self.steps.clone());
        let name = case.to_owned();
        let sending = tokio::spawn(async move {
            let answer = asking.await?;
            anyhow::Ok((answer, steps.passed(&name)?))
        });
        if let Some((call, net)) = lost {
            self.lose_reply(&daemon, case, call, net, &mut orders).await?;
        }
        let (answer, by_then) = sending.await??;
        if let Some((_, state)) = answer {
            let durable = |step: &String| step.starts_with("after ") && step.contains(&format!("mark {state}"));
            ensure!(by_then.iter().any(durable), "answered as {state} before that was durable: {by_then:?}");
        }
        let daemon = match death {
            None => {
                client.barrier(Some(PATIENCE)).await?;
                self.steps.end()?;
                Some(daemon)
            }
            Some(ANSWERED) => {
                check_words(&daemon.kill().await?)?;
                self.steps.end()?;
                None
            }
            Some(step) if self.dies(&daemon, step, answer.is_some()).await? => {
                let ended = daemon.ended(PATIENCE).await?;
                ensure!(ended.status.code().is_none(), "it ended with {}: {}", ended.status, ended.said);
                check_words(&ended.said)?;
                None
            }
            Some(_) => Some(daemon),
        };
        let died = daemon.is_none();
        if died {
            listener.await?;
        } else {
            listener.abort();
        }
        let passed = self.steps.passed(case)?;
        if kind != Kind::Clear {
            in_order(&passed)?;
        }
        let heard = Heard { answer, events: events.lock().unwrap_or_else(PoisonError::into_inner).clone() };
        self.daemon = daemon;
        let daemon = self.daemon().await?;
        let judged = self.judge(daemon.client(), scene, case, before, &heard).await;
        self.daemon = Some(daemon);
        judged.with_context(|| format!("{}\nheard {heard:?}\npassed {passed:?}", scene.body))?;
        Ok(Played { passed, died })
    }

    /// Whether the daemon dies at `step`, or lives on because it did not come by it. Nothing is planned any more then.
    async fn dies(&self, daemon: &Daemon, step: &str, answered: bool) -> Result<bool> {
        let ended = || async { Ok(daemon.has_ended().then_some(())) };
        if !answered {
            // Whoever has no answer has lost the connection.
            wait_until(step, PATIENCE, ended).await?;
        } else if wait_until(step, SOON, ended).await.is_err() {
            self.steps.end()?;
            // It may have been about to.
            return Ok(wait_until(step, SOON, ended).await.is_ok());
        }
        self.steps.end()?;
        Ok(true)
    }

    /// The call is carried out by the store, and nobody hears of it.
    async fn lose_reply(
        &self,
        daemon: &Daemon,
        case: &str,
        call: &str,
        net: &Proxy,
        orders: &mut [String],
    ) -> Result<()> {
        let steps = &self.steps;
        let until = |step: String| async move {
            wait_until(&step, PATIENCE, || async {
                Ok((daemon.has_ended() || steps.passed(case)?.contains(&step)).then_some(()))
            })
            .await
        };
        until(format!("before {call}")).await?;
        net.set(Fault::ResetReply { past: 0 }).await?;
        self.steps.plan(case, orders)?;
        until(format!("after {call}")).await?;
        net.set(Fault::None).await
    }

    /// P1, P2: what the daemon that lives now says of the operations of this scene, and what both stores show.
    async fn judge(&mut self, client: &Client, scene: &Scene, case: &str, before: Lsn, heard: &Heard) -> Result<()> {
        let ops: Vec<OpView> =
            client.ops(&OpsFilter::default()).await?.into_body().ops.into_iter().filter(|op| op.lsn > before).collect();
        for op in &ops {
            ensure!(op.state.is_final(), "after the barrier: {op:?}");
        }
        let state_of = |op_id: OpId| ops.iter().find(|op| op.op_id == op_id).map(|op| op.state);
        for (op_id, event) in &heard.events {
            let Some(state) = state_of(*op_id) else { bail!("{event} was heard of {op_id}, which is not known") };
            ensure!(event == "logged" || event == state.as_str(), "{event} was heard of {op_id}, which is {state}");
        }
        if let Some((op_id, state)) = heard.answer {
            let now = state_of(op_id);
            ensure!(now == Some(state), "{op_id} was answered as {state}, and is {now:?}");
        }
        let op = ops.iter().min_by_key(|op| op.lsn);
        if let Some(op) = op {
            ensure!(op.state == scene.end, "it is {op:?}, not {}", scene.end);
            // P4: whoever asks again under the same key hears of the same operation.
            let again = send(client.clone(), scene.body.to_string(), case.to_owned()).await?;
            ensure!(again == Some((op.op_id, op.state)), "asked again: {again:?}, not {op:?}");
        }
        for touch in &scene.touches {
            let content = if op.is_some() { &touch.after } else { &touch.before };
            self.shows(touch, content.as_ref()).await.with_context(|| format!("the operation is {op:?}"))?;
            self.left.push(Touch { before: None, after: content.clone(), key: touch.key.clone() });
        }
        for touch in &self.neighbours {
            self.shows(touch, touch.after.as_ref()).await?;
        }
        Ok(())
    }

    /// Read past the daemon: record, kept vector and point.
    async fn shows(&self, touch: &Touch, content: Option<&Content>) -> Result<()> {
        let key = &touch.key;
        let seen = self.direct.read(std::slice::from_ref(key)).await?.into_values().next().context("not read")?;
        let held = Held { content: content.cloned(), age: Age::Above(Version(0)) };
        ensure!(held.is_shown_by(&seen), "{key} shows {seen:?}, not {content:?}");
        let kept = format!("RETURN record::exists(type::record('lockstep_vector', ['{}', '{}']))", key.table, key.id);
        let kept = sql(self.direct.surreal(), &kept).await?.into_json_value().as_bool().context("no answer")?;
        let wanted = content.is_some_and(|content| content.vector.is_some());
        ensure!(kept == wanted, "{key} has a kept vector: {kept}");
        Ok(())
    }

    /// Everything that was ever played is as it was left, after one more start.
    pub(crate) async fn close(mut self) -> Result<usize> {
        let daemon = self.daemon().await?;
        daemon.terminate().await?;
        let daemon = self.daemon().await?;
        for touch in self.left.iter().chain(&self.neighbours) {
            self.shows(touch, touch.after.as_ref()).await.context("at the end of all scenes")?;
        }
        daemon.terminate().await?;
        Ok(self.left.len())
    }
}

/// P1, P2: a store is written to only when the intent, the image and the decision to take back that came before are durable. The deletes of a
/// clear are operations of their own, some of which are logged while others are written.
fn in_order(passed: &[String]) -> Result<()> {
    let mut waits: Option<&str> = None;
    for step in passed {
        let (when, what) = step.split_once(' ').context("no step")?;
        let must_be_durable = ["intent", "image", "mark compensating"].iter().any(|record| what.starts_with(record));
        match (when, must_be_durable) {
            ("before", true) => waits = Some(what),
            ("after", true) => waits = None,
            ("before", false) if what.contains("apply") || what.contains("undo") => {
                ensure!(waits.is_none(), "{what} does not wait for {waits:?}: {passed:?}");
            }
            _ => {}
        }
    }
    Ok(())
}

/// How it ended, if the daemon lived to say it.
async fn send(client: Client, body: String, key: String) -> Result<Option<(OpId, State)>> {
    let options = OpOptions { ack: Ack::Committed, timeout: Some(PATIENCE), idempotency_key: Some(key) };
    let ended = match client.op(body, &options).await {
        Ok(answer) => (answer.op_id, answer.state),
        Err(Error::Problem { problem, .. }) => match (problem.op_id, problem.state) {
            (Some(op_id), Some(state)) => (op_id, state),
            _ => bail!("not taken: {problem}"),
        },
        Err(Error::Lost { .. } | Error::NotReachable { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    ensure!(ended.1.is_final(), "answered as {}", ended.1);
    Ok(Some(ended))
}

/// Until the daemon dies.
async fn listen(mut events: Events, heard: Arc<Mutex<Vec<(OpId, String)>>>) {
    while let Ok(Some(event)) = events.next().await {
        if let Some(op) = event.op() {
            heard.lock().unwrap_or_else(PoisonError::into_inner).push((op.op_id, event.event));
        }
    }
}
