//! The daemon, asked over its socket.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lockstep_api::{Answer, Client, DecisionAnswer, DecisionRequest, Error, OpView, OpsFilter, OpsPage, StatusAnswer};
use lockstep_model::{Key, Lsn, OpId, State};
use lockstep_wal::Verdict;
use tokio::runtime::{Builder, Runtime};

use crate::failure::Failure;
use crate::target::Target;

/// A daemon that has not answered after so long is taken for silent: whoever looks must never wait for ever.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running daemon.
#[derive(Debug)]
pub(crate) struct Daemon {
    client: Client,
    runtime: Runtime,
}

impl Daemon {
    /// The daemon at `socket`, which has answered.
    pub(crate) fn find(socket: PathBuf) -> Result<Self, Failure> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(Failure::Runtime)?;
        let daemon = Self { client: Client::new(socket), runtime };
        daemon.ask(daemon.client.healthz())?;
        Ok(daemon)
    }

    /// Where it listens.
    pub(crate) fn socket(&self) -> &Path {
        self.client.socket()
    }

    /// All that it says of itself.
    pub(crate) fn status(&self) -> Result<Answer<StatusAnswer>, Failure> {
        self.ask(self.client.status())
    }

    /// A page of operations, newest first.
    pub(crate) fn ops(&self, filter: &OpsFilter) -> Result<OpsPage, Failure> {
        self.ask(self.client.ops(filter)).map(Answer::into_body)
    }

    /// Its newest operations, so many at most.
    pub(crate) fn newest(&self, limit: usize) -> Result<Vec<OpView>, Failure> {
        let mut filter = OpsFilter { limit: Some(OpsFilter::MAX_LIMIT), ..OpsFilter::default() };
        let mut found = Vec::new();
        while found.len() < limit {
            let page = self.ops(&filter)?;
            let is_last = page.ops.is_empty() || page.next.is_none();
            found.extend(page.ops);
            if is_last {
                break;
            }
            filter.cursor = page.next;
        }
        found.truncate(limit);
        Ok(found)
    }

    /// One operation, with its history.
    pub(crate) fn op(&self, target: Target) -> Result<Answer<OpView>, Failure> {
        let op_id = match target {
            Target::Name(op_id) => op_id,
            Target::Place(lsn) => self.name_of(lsn)?.ok_or(Failure::NotFound(target))?,
        };
        match self.ask(self.client.op_view(op_id)) {
            Err(Failure::Daemon(error)) if error.problem().is_some_and(|problem| problem.status == 404) => {
                Err(Failure::NotFound(target))
            }
            answer => answer,
        }
    }

    /// The name of the operation at `lsn`: the daemon is asked by name, and lists operations newest first.
    fn name_of(&self, lsn: Lsn) -> Result<Option<OpId>, Failure> {
        let mut filter = OpsFilter { limit: Some(OpsFilter::MAX_LIMIT), ..OpsFilter::default() };
        loop {
            let page = self.ops(&filter)?;
            if let Some(found) = page.ops.iter().find(|view| view.lsn <= lsn) {
                return Ok((found.lsn == lsn).then_some(found.op_id));
            }
            match page.next {
                Some(next) if !page.ops.is_empty() => filter.cursor = Some(next),
                Some(_) | None => return Ok(None),
            }
        }
    }

    /// Every operation in the state and on the key, newest first.
    pub(crate) fn all_ops(&self, state: Option<State>, key: Option<&Key>) -> Result<Vec<OpView>, Failure> {
        let mut found = Vec::new();
        let key = key.map(ToString::to_string);
        let mut filter = OpsFilter { state, key, limit: Some(OpsFilter::MAX_LIMIT), ..OpsFilter::default() };
        loop {
            let page = self.ops(&filter)?;
            let is_last = page.ops.is_empty() || page.next.is_none();
            found.extend(page.ops);
            if is_last {
                return Ok(found);
            }
            filter.cursor = page.next;
        }
    }

    /// Decides about an operation.
    pub(crate) fn decide(
        &self,
        op_id: OpId,
        verdict: Verdict,
        request: &DecisionRequest,
    ) -> Result<DecisionAnswer, Failure> {
        let answer = match verdict {
            Verdict::Retry { .. } => self.ask(self.client.retry(op_id, request)),
            Verdict::Rollback => self.ask(self.client.rollback(op_id, request)),
            Verdict::Discard => self.ask(self.client.discard(op_id, request)),
        };
        answer.map(Answer::into_body)
    }

    fn ask<T>(&self, question: impl Future<Output = Result<T, Error>>) -> Result<T, Failure> {
        let silent = || Failure::Silent { socket: self.socket().to_owned(), seconds: PATIENCE.as_secs() };
        self.runtime
            .block_on(async { tokio::time::timeout(PATIENCE, question).await })
            .map_err(|_| silent())?
            .map_err(Failure::Daemon)
    }
}
