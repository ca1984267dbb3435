//! Concurrent clients on overlapping keys, each sending one operation after the other until the daemon is gone.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;
use lockstep_api::{Ack, Answer, Client, Error, OpAnswer, OpOptions};
use tokio::task::JoinSet;

use crate::seed::Rng;
use crate::wait::moment;
use crate::witness::{End, NODES, Place, Sent, Told, What, Witness};

/// So long may an operation take at most, on a slow machine.
pub const COMMITTED: Duration = Duration::from_secs(20);

/// The keys that the clients fight for.
#[derive(Debug)]
pub struct Field {
    nodes: Vec<String>,
    /// Nodes that are seldom written: what a checkpoint has lost of them no later write makes good.
    quiet: Vec<String>,
    edges: Vec<(String, String)>,
}

impl Field {
    /// Nodes in a ring, with an edge from each to the next and to the one after that, and as many quiet ones as were asked for.
    #[must_use]
    pub fn new(nodes: usize, quiet: usize) -> Self {
        // Ids of both kinds: integers and texts that only look like some.
        let nodes: Vec<String> =
            (0..nodes).map(|n| if n % 2 == 0 { format!("{NODES}:{n}") } else { format!("{NODES}:0{n}") }).collect();
        let ring = |step: usize| nodes.iter().cloned().zip(nodes.iter().cycle().skip(step).cloned());
        let edges = ring(1).chain(ring(2)).collect();
        let quiet = (0..quiet).map(|n| format!("{NODES}:quiet {n}")).collect();
        Self { nodes, quiet, edges }
    }

    /// Every key of it.
    #[must_use]
    pub fn places(&self) -> Vec<Place> {
        let nodes = self.nodes.iter().chain(&self.quiet).cloned().map(Place::Node);
        nodes.chain(self.edges.iter().cloned().map(|(from, to)| Place::Edge(from, to))).collect()
    }

    fn any(&self, rng: &mut Rng) -> Option<What> {
        let quiet = rng.chance(15) && !self.quiet.is_empty();
        let key = rng.pick(if quiet { &self.quiet } else { &self.nodes })?.clone();
        let (from, to) = rng.pick(&self.edges)?.clone();
        let vector = rng.chance(75);
        Some(match rng.below(100) {
            0..40 => What::Put { key, vector, if_absent: rng.chance(15) },
            40..60 => What::Patch { key, vector: rng.chance(40) },
            60..70 => What::Delete { key },
            70..90 => What::Relate { from, to, vector: rng.chance(40) },
            _ => What::Unrelate { from, to },
        })
    }
}

/// Which answers the clients ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acks {
    /// `logged` and `committed`, as it comes.
    Both,
    /// Only `logged`.
    Logged,
}

/// Clients at work.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    clients: JoinSet<()>,
}

impl Load {
    /// Lets `clients` of them begin.
    #[must_use]
    pub fn start(
        socket: &Path,
        field: &Arc<Field>,
        witness: &Arc<Witness>,
        acks: Acks,
        clients: usize,
        rng: &mut Rng,
    ) -> Self {
        Self::paced(socket, field, witness, acks, clients, Duration::ZERO, rng)
    }

    /// The same with clients that rest for `pause` between two operations.
    #[must_use]
    pub fn paced(
        socket: &Path,
        field: &Arc<Field>,
        witness: &Arc<Witness>,
        acks: Acks,
        clients: usize,
        pause: Duration,
        rng: &mut Rng,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        for _ in 0..clients {
            let (client, mut rng) = (Client::new(socket), rng.fork());
            let (field, witness, stop) = (Arc::clone(field), Arc::clone(witness), Arc::clone(&stop));
            tasks.spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    let Some(what) = field.any(&mut rng) else { return };
                    let ack = if acks == Acks::Logged || rng.chance(50) { Ack::Logged } else { Ack::Committed };
                    if !send(&client, &witness, &what, ack, rng.chance(50)).await {
                        return;
                    }
                    moment(pause).await;
                }
            });
        }
        Self { stop, clients: tasks }
    }

    /// Waits until each has its last answer, or knows that none will come.
    pub async fn finish(mut self) {
        self.stop.store(true, Ordering::SeqCst);
        while self.clients.join_next().await.is_some() {}
    }
}

/// Sends one; tells whether the daemon is still there.
async fn send(client: &Client, witness: &Witness, what: &What, ack: Ack, repeatable: bool) -> bool {
    let (number, tag) = witness.sends(what, repeatable);
    let answer = client.op(what.body(tag).to_string(), &options(ack, repeatable, tag)).await;
    hear(witness, number, what, &answer)
}

/// Sends what got no answer once more under its idempotency key: it must not run twice (P4). And some of what has ended: the answer must
/// be the same. Returns how many of either.
///
/// # Errors
/// If the daemon is gone.
pub async fn repeat(client: &Client, witness: &Witness, rng: &mut Rng) -> Result<(u64, u64)> {
    let (mut repeated, mut answered) = (0, 0);
    let (sent, _) = witness.so_far();
    for (number, sent) in sent.iter().enumerate().filter(|(_, sent)| sent.repeatable) {
        let percent = match sent.told {
            Told::Nothing => 60,
            Told::Ended(_) => 30,
            Told::Logged { .. } | Told::NotTaken => 0,
        };
        if !rng.chance(percent) {
            continue;
        }
        let Sent { tag, what, .. } = sent;
        let answer = client.op(what.body(*tag).to_string(), &options(Ack::Committed, true, *tag)).await;
        if let Told::Ended(end) = &sent.told {
            if told(&answer) != Some(Told::Ended(end.clone())) {
                witness.accuses(format!("{sent:?} was answered, and sent again it is {answer:?}"));
            }
            answered += 1;
            continue;
        }
        anyhow::ensure!(hear(witness, number, what, &answer), "the daemon has gone: {answer:?}");
        if let Ok(Answer { status: 202, body, .. }) = &answer {
            let view = client.op_view(body.op_id).await;
            witness.accuses(format!("{what:?} has not ended within {COMMITTED:?}: {view:?}"));
        }
        repeated += 1;
    }
    Ok((repeated, answered))
}

/// What an answer says of the operation, if it says anything of it.
fn told(answer: &Result<Answer<OpAnswer>, Error>) -> Option<Told> {
    match answer {
        Ok(answer) if answer.state.is_final() => Some(Told::Ended(End {
            op_id: answer.op_id,
            lsn: answer.lsn,
            version: Some(answer.version),
            state: answer.state,
            code: None,
        })),
        Ok(answer) => Some(Told::Logged { op_id: answer.op_id, lsn: answer.lsn }),
        Err(Error::Problem { problem, .. }) => Some(Told::Ended(End {
            op_id: problem.op_id?,
            lsn: problem.lsn?,
            version: None,
            state: problem.state?,
            code: Some(problem.code.clone()),
        })),
        Err(_) => None,
    }
}

fn options(ack: Ack, repeatable: bool, tag: u64) -> OpOptions {
    let idempotency_key = repeatable.then(|| format!("tag-{tag}"));
    OpOptions { ack, timeout: Some(COMMITTED), idempotency_key }
}

fn hear(witness: &Witness, number: usize, what: &What, answer: &Result<Answer<OpAnswer>, Error>) -> bool {
    let told = match answer {
        Ok(_) | Err(Error::Problem { .. }) => told(answer).unwrap_or_else(|| {
            witness.accuses(format!("{what:?} was refused: {answer:?}"));
            Told::NotTaken
        }),
        Err(Error::NotReachable { .. } | Error::NoSocket { .. }) => {
            witness.hears(number, Told::NotTaken);
            return false;
        }
        Err(Error::Lost { .. } | Error::NoAnswer { .. }) => {
            witness.hears(number, Told::Nothing);
            return false;
        }
        Err(error) => {
            witness.accuses(format!("{what:?} got no answer that can be read: {error}"));
            return false;
        }
    };
    witness.hears(number, told);
    true
}
