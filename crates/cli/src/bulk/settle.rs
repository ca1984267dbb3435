//! Finding out how lines ended that were only waited for until they were logged.
//!
//! One barrier waits for all of them; then the few that did not end committed are found in the lists of
//! operations by state, newest first, down to the first line's place in the log. That is one request for a
//! thousand operations, where asking for each line would be one for each.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use lockstep_api::{Client, Error, LineError, OpsFilter};
use lockstep_model::{Lsn, State};

use crate::bulk::{Interruption, Tally};
use crate::failure::Failure;

/// The barrier is asked again and again, so that a daemon that goes away is noticed.
const BARRIER: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_secs(1);

/// Waits until every open line of the tally has ended, and counts them.
pub(super) async fn settle(client: &Client, tally: &mut Tally, patience: Duration) -> Result<(), Failure> {
    wait_for_all(client, patience).await?;
    let mut failed = Vec::new();
    let lines: HashMap<Lsn, u64> = tally.open.iter().copied().collect();
    let Some(first) = lines.keys().min().copied() else { return Ok(()) };
    for state in [State::RolledBack, State::Parked, State::Discarded] {
        let mut filter = OpsFilter { state: Some(state), limit: Some(OpsFilter::MAX_LIMIT), ..OpsFilter::default() };
        loop {
            let page = client.ops(&filter).await?.into_body();
            let past_the_first = page.ops.last().is_none_or(|view| view.lsn < first);
            for view in page.ops {
                if let Some(&line) = lines.get(&view.lsn) {
                    let error = view.error.map(|error| LineError { code: error.code, detail: error.detail });
                    failed.push((line, state, view.lsn, error));
                }
            }
            filter.cursor = page.next;
            if past_the_first || filter.cursor.is_none() {
                break;
            }
        }
    }
    failed.sort_by_key(|(line, ..)| *line);
    let open = tally.take_open();
    tally.committed += (open.len() - failed.len()) as u64;
    for (line, state, lsn, error) in failed {
        tally.fail(line, Some(state), Some(lsn), error);
    }
    Ok(())
}

/// A store that is away or paused is waited for as long as it takes; a daemon that is away, for `patience`.
async fn wait_for_all(client: &Client, patience: Duration) -> Result<(), Failure> {
    let mut failing_since = None;
    loop {
        let error = match client.barrier(Some(BARRIER)).await {
            Ok(answer) if answer.status == 200 => return Ok(()),
            Ok(_) => {
                failing_since = None;
                continue;
            }
            Err(error) if error.is_transient() => error,
            Err(error) => return Err(error.into()),
        };
        let away = !matches!(error, Error::Problem { .. });
        let since = *failing_since.get_or_insert_with(Instant::now);
        if away && since.elapsed() >= patience {
            return Err(Failure::GaveUp { seconds: patience.as_secs(), source: Interruption::Api(error) });
        }
        tokio::time::sleep(PAUSE).await;
    }
}
