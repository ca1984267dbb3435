//! Operations that were sent, and the judgement over them.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use futures_util::future::try_join_all;
use lockstep_api::{Ack, Client, Error};
use lockstep_model::{OpId, State};
use lockstep_tests::direct::Direct;

use super::scene::{Act, Kind, Touch};
use crate::support::{commit, options};

/// So long a client waits for `committed` while a store does not work.
const WAITED: Duration = Duration::from_millis(500);

/// An operation that was sent.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) act: Act,
    pub(crate) op_id: OpId,
    /// How it had ended when it was answered.
    pub(crate) answered: Option<State>,
}

/// Sends an operation. It must be taken.
pub(crate) async fn send(client: &Client, act: Act, ack: Ack) -> Result<Sent> {
    let answer = client.op(act.body.to_string(), &options(ack, WAITED)).await;
    let (op_id, state) = match answer {
        Ok(answer) => (answer.op_id, answer.state),
        Err(Error::Problem { problem, .. }) => match (problem.op_id, problem.state) {
            (Some(op_id), Some(state)) => (op_id, state),
            _ => bail!("{} was not taken: {problem}", act.body),
        },
        Err(error) => return Err(anyhow::Error::from(error).context(act.body.to_string())),
    };
    Ok(Sent { act, op_id, answered: state.is_final().then_some(state) })
}

/// Sends operations side by side.
pub(crate) async fn send_all(client: &Client, acts: Vec<Act>, ack: Ack) -> Result<Vec<Sent>> {
    try_join_all(acts.into_iter().map(|act| send(client, act, ack))).await
}

/// Commits what a scene needs.
pub(crate) async fn prepare(client: &Client, before: &[serde_json::Value]) -> Result<()> {
    for body in before {
        commit(client, body).await?;
    }
    Ok(())
}

/// How operations of a kind ended.
pub(crate) type Ends = BTreeMap<Kind, Vec<End>>;

/// How one operation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    Committed,
    /// With the code of the reason.
    RolledBack(String),
}

/// Asks how each has ended, and reads past the daemon whether that is so: what is committed is in both stores, what is rolled back is
/// in neither and says why; an answer that was given stands.
pub(crate) async fn judge(client: &Client, direct: &Direct, sent: &[Sent]) -> Result<Ends> {
    let mut ends = Ends::new();
    for Sent { act, op_id, answered } in sent {
        let view = client.op_view(*op_id).await?.into_body();
        let words = format!("{} ({}) is {view:?}", act.kind, act.body);
        ensure!(answered.is_none_or(|answered| answered == view.state), "answered as {answered:?}, now {words}");
        let end = match view.state {
            State::Committed => End::Committed,
            State::RolledBack => {
                let error = view.error.with_context(|| format!("without a reason: {words}"))?;
                ensure!(!error.detail.is_empty(), "without a reason: {words}");
                End::RolledBack(error.code)
            }
            State::Pending
            | State::SurrealCompleted
            | State::QdrantCompleted
            | State::Compensating
            | State::Parked
            | State::Discarded => bail!("not ended: {words}"),
        };
        let keys: Vec<_> = act.touches.iter().map(|touch| touch.key.clone()).collect();
        let seen = direct.read(&keys).await?;
        for touch in &act.touches {
            let wanted = if end == End::Committed { touch.after.as_ref() } else { touch.before.as_ref() };
            let seen = seen.get(&touch.key).context("not read")?;
            ensure!(Touch::shows(wanted, seen), "{} shows {seen:?}, not {wanted:?}: {words}", touch.key);
        }
        ends.entry(act.kind).or_default().push(end);
    }
    Ok(ends)
}
