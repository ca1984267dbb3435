//! Clients at work: some ask, some only read, through the daemon and past it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lockstep_api::{Ack, Answer, Client, Error, OpAnswer, OpOptions};
use lockstep_model::Key;
use tokio::task::JoinSet;

use super::change::{Change, Keys};
use super::window::{Notes, Seen, Told};
use crate::direct::Direct;
use crate::load::COMMITTED;
use crate::seed::Rng;
use crate::wait::moment;

/// Readers leave the machine to those who write.
const BETWEEN_READS: Duration = Duration::from_millis(5);

/// Some clients.
#[derive(Debug)]
pub struct Clients {
    stop: Arc<AtomicBool>,
    tasks: JoinSet<()>,
}

impl Clients {
    /// Lets `writers` ask for operations, and two read: one asks the daemon, and one SurrealDB itself.
    #[must_use]
    pub fn start(
        socket: &Path,
        direct: Option<Direct>,
        keys: &Arc<Keys>,
        notes: &Arc<Notes>,
        writers: usize,
        rng: &mut Rng,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        for _ in 0..writers {
            let (client, mut rng) = (Client::new(socket), rng.fork());
            let (keys, notes, stop) = (Arc::clone(keys), Arc::clone(notes), Arc::clone(&stop));
            tasks.spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    let Some(change) = keys.any_change(&mut rng) else { return };
                    let ack = if rng.chance(40) { Ack::Logged } else { Ack::Committed };
                    if !ask(&client, &notes, &change, ack, rng.chance(50)).await {
                        return;
                    }
                }
            });
        }
        let (client, mut by_daemon) = (Client::new(socket), rng.fork());
        let (its_keys, its_notes, its_stop) = (Arc::clone(keys), Arc::clone(notes), Arc::clone(&stop));
        tasks.spawn(async move {
            while !its_stop.load(Ordering::SeqCst) {
                moment(BETWEEN_READS).await;
                let Some(key) = its_keys.any(&mut by_daemon) else { return };
                let from = its_notes.moment();
                let Ok(entity) = client.entity(&key.to_string()).await else { return };
                let to = its_notes.moment();
                let record = entity.into_body().surreal;
                let document = record.document.and_then(|document| document.as_object().cloned());
                // What a store that is away holds is not known.
                if record.found.is_some() {
                    its_notes.sees(Seen { document: document.map(without_ours), key, from, to });
                }
            }
        });
        if let Some(direct) = direct {
            let mut rng = rng.fork();
            let (keys, notes, stop) = (Arc::clone(keys), Arc::clone(notes), Arc::clone(&stop));
            tasks.spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    moment(BETWEEN_READS).await;
                    let Some(key) = keys.any(&mut rng) else { return };
                    if !read(&direct, &notes, key).await {
                        return;
                    }
                }
            });
        }
        Self { stop, tasks }
    }

    /// Waits until each has its last answer, or knows that none will come.
    pub async fn finish(mut self) {
        self.stop.store(true, Ordering::SeqCst);
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Reads a record in SurrealDB; tells whether SurrealDB is still there.
async fn read(direct: &Direct, notes: &Notes, key: Key) -> bool {
    let from = notes.moment();
    let Ok(record) = direct.record(&key).await else { return false };
    let to = notes.moment();
    notes.sees(Seen { key, from, to, document: record.map(|record| record.document) });
    true
}

fn without_ours(
    mut document: serde_json::Map<String, serde_json::Value>,
) -> serde_json::Map<String, serde_json::Value> {
    document.remove("_lockstep");
    document
}

/// Asks for one operation; tells whether the daemon is still there.
async fn ask(client: &Client, notes: &Notes, change: &Change, ack: Ack, repeatable: bool) -> bool {
    let (number, tag) = notes.asks(change, repeatable);
    let answer = client.op(change.body(tag).to_string(), &options(ack, repeatable, tag)).await;
    hear(notes, number, change, &answer)
}

/// Asks once more for what got no answer, under its idempotency key: it must not run twice (P4). And for some of what was answered: the
/// answer must be the same. Returns how many of either.
///
/// # Errors
/// If the daemon is gone.
pub async fn repeat(client: &Client, notes: &Notes, rng: &mut Rng) -> anyhow::Result<(u64, u64)> {
    let (mut repeated, mut answered) = (0, 0);
    for (number, asked) in notes.asked().into_iter().enumerate().filter(|(_, asked)| asked.repeatable) {
        let percent = match asked.told {
            Told::Nothing => 60,
            Told::Logged(_) | Told::Ended(..) => 10,
            Told::NotTaken => 0,
        };
        if !rng.chance(percent) {
            continue;
        }
        let body = asked.change.body(asked.tag).to_string();
        let answer = client.op(body, &options(Ack::Committed, true, asked.tag)).await;
        if asked.told == Told::Nothing {
            anyhow::ensure!(hear(notes, number, &asked.change, &answer), "the daemon has gone: {answer:?}");
            repeated += 1;
        } else {
            if !is_same(&asked.told, told(&answer).as_ref()) {
                notes.accuses(format!("{asked:?} was answered, and asked for again it is {answer:?}"));
            }
            answered += 1;
        }
    }
    Ok((repeated, answered))
}

/// A final answer is given again as it was; what was only logged may have ended.
fn is_same(before: &Told, again: Option<&Told>) -> bool {
    match (before, again) {
        (Told::Logged(op_id), Some(Told::Logged(again) | Told::Ended(again, ..))) => op_id == again,
        (Told::Ended(..), Some(again)) => before == again,
        (Told::Nothing | Told::NotTaken | Told::Logged(_), Some(_)) | (_, None) => false,
    }
}

/// What an answer says of the operation, if it says anything of it.
fn told(answer: &Result<Answer<OpAnswer>, Error>) -> Option<Told> {
    match answer {
        Ok(answer) if answer.state.is_final() => Some(Told::Ended(answer.op_id, answer.state, None)),
        Ok(answer) => Some(Told::Logged(answer.op_id)),
        Err(Error::Problem { problem, .. }) => {
            Some(Told::Ended(problem.op_id?, problem.state?, Some(problem.code.clone())))
        }
        Err(_) => None,
    }
}

fn options(ack: Ack, repeatable: bool, tag: u64) -> OpOptions {
    OpOptions { ack, timeout: Some(COMMITTED), idempotency_key: repeatable.then(|| format!("tag-{tag}")) }
}

fn hear(notes: &Notes, number: usize, change: &Change, answer: &Result<Answer<OpAnswer>, Error>) -> bool {
    let told = match answer {
        Ok(_) | Err(Error::Problem { .. }) => told(answer).unwrap_or_else(|| {
            notes.accuses(format!("{change:?} was refused: {answer:?}"));
            Told::NotTaken
        }),
        Err(Error::NotReachable { .. } | Error::NoSocket { .. }) => {
            notes.hears(number, Told::NotTaken);
            return false;
        }
        Err(Error::Lost { .. } | Error::NoAnswer { .. }) => return false,
        Err(error) => {
            notes.accuses(format!("{change:?} got no answer that can be read: {error}"));
            return false;
        }
    };
    notes.hears(number, told);
    true
}
