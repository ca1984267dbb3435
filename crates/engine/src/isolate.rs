//! Halving: a batch that a store refuses is divided until the guilty operation stands alone (P5).

use std::future::Future;

use lockstep_model::Key;
use lockstep_stores::{Class, Scope, StoreError};

/// Makes `call` on all of `items`, which it gives back, on halves if it is refused, and so on. Each item gets its own answer, or the
/// error that its smallest batch met. Only refusals are divided: after any other failure the store, not an item, is in question.
///
/// The item whose key the store names as guilty is tried alone first. What belongs to a table that the store names as missing
/// shares that answer; the rest is tried without it.
pub(crate) async fn isolate<T, R, F>(
    items: Vec<T>,
    is_named: impl Fn(&T, &Key) -> bool,
    is_of_table: impl Fn(&T, &Key) -> bool,
    mut call: impl FnMut(Vec<T>) -> F,
) -> Vec<(T, Result<R, StoreError>)>
where
    F: Future<Output = (Vec<T>, Result<Vec<R>, StoreError>)>,
{
    let mut done = Vec::with_capacity(items.len());
    let mut rest = vec![items];
    while let Some(batch) = rest.pop() {
        if batch.is_empty() {
            continue;
        }
        let (mut batch, answer) = call(batch).await;
        match answer {
            Ok(answers) => {
                debug_assert_eq!(answers.len(), batch.len(), "a store answers for each write");
                done.extend(batch.into_iter().zip(answers.into_iter().map(Ok)));
            }
            Err(error) if error.class == Class::Refused && batch.len() > 1 => {
                let named = error.culprit.as_ref().and_then(|key| batch.iter().position(|item| is_named(item, key)));
                if let Some(at) = named {
                    let culprit = batch.remove(at);
                    rest.push(batch);
                    rest.push(vec![culprit]);
                } else {
                    let second = batch.split_off(batch.len() / 2);
                    rest.push(second);
                    rest.push(batch);
                }
            }
            // One table is not there: what belongs to others goes on without it.
            Err(error) if error.class == Class::Configuration(Scope::Table) && batch.len() > 1 => {
                let (of_it, others): (Vec<T>, Vec<T>) = batch
                    .into_iter()
                    .partition(|item| error.culprit.as_ref().is_some_and(|key| is_of_table(item, key)));
                if of_it.is_empty() || others.is_empty() {
                    done.extend(of_it.into_iter().chain(others).map(|item| (item, Err(error.clone()))));
                } else {
                    done.extend(of_it.into_iter().map(|item| (item, Err(error.clone()))));
                    rest.push(others);
                }
            }
            Err(error) => done.extend(batch.into_iter().map(|item| (item, Err(error.clone())))),
        }
    }
    done
}

/// The writes of all items, in one list, without a copy. [`give_back`] undoes it.
pub(crate) fn gather<T, W>(items: &mut [T], writes_of: impl Fn(&mut T) -> &mut Vec<W>) -> (Vec<W>, Vec<usize>) {
    let mut all = Vec::new();
    let mut lengths = Vec::with_capacity(items.len());
    for item in items {
        let writes = writes_of(item);
        lengths.push(writes.len());
        all.append(writes);
    }
    (all, lengths)
}

/// Gives each item its writes back, and its share of the answers.
pub(crate) fn give_back<T, W, A>(
    items: &mut [T],
    writes_of: impl Fn(&mut T) -> &mut Vec<W>,
    (all, lengths): (Vec<W>, Vec<usize>),
    answers: Result<Vec<A>, StoreError>,
) -> Result<Vec<Vec<A>>, StoreError> {
    let count = all.len();
    let mut all = all.into_iter();
    for (item, length) in items.iter_mut().zip(&lengths) {
        writes_of(item).extend(all.by_ref().take(*length));
    }
    let answers = answers?;
    if answers.len() != count {
        let detail = format!("{} answers to {count} writes: what was applied is not known", answers.len());
        return Err(StoreError::new("store", Class::Unknown, detail));
    }
    let mut answers = answers.into_iter();
    Ok(lengths.into_iter().map(|length| answers.by_ref().take(length).collect()).collect())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    async fn run(items: Vec<u32>, bad: &[u32], name_it: bool) -> (Vec<u32>, usize) {
        let calls = Cell::new(0);
        let answers = isolate(
            items,
            |i, key| format!("t:{i}") == key.to_string(),
            |_, _| false,
            |batch: Vec<u32>| {
                calls.set(calls.get() + 1);
                let guilty = batch.iter().find(|i| bad.contains(i)).copied();
                let n = batch.len();
                async move {
                    let answer = match guilty {
                        None => Ok(vec![(); n]),
                        Some(i) => {
                            let mut error = StoreError::new("surreal", Class::Refused, "no");
                            error.culprit = name_it.then(|| format!("t:{i}").parse().unwrap());
                            Err(error)
                        }
                    };
                    (batch, answer)
                }
            },
        )
        .await;
        (answers.into_iter().filter(|(_, r)| r.is_err()).map(|(i, _)| i).collect(), calls.get())
    }

    #[tokio::test]
    async fn the_guilty_ones_stand_alone() {
        let (refused, calls) = run((0..128).collect(), &[7, 99], false).await;
        assert_eq!(refused, [7, 99]);
        assert!(calls <= 1 + 2 * 2 * 7, "{calls} calls");
    }

    #[tokio::test]
    async fn a_named_culprit_costs_three_calls() {
        let (refused, calls) = run((0..128).collect(), &[7], true).await;
        assert_eq!(refused, [7]);
        assert_eq!(calls, 3);
    }

    #[tokio::test]
    async fn all_may_be_guilty() {
        let (refused, _) = run((0..16).collect(), &(0..16).collect::<Vec<_>>(), false).await;
        assert_eq!(refused.len(), 16);
    }

    #[tokio::test]
    async fn other_failures_are_not_divided() {
        let calls = Cell::new(0);
        let answers = isolate(
            vec![1, 2, 3],
            |_, _| false,
            |_, _| false,
            |batch: Vec<i32>| {
                calls.set(calls.get() + 1);
                async { (batch, Err::<Vec<()>, _>(StoreError::new("surreal", Class::Unknown, "lost"))) }
            },
        )
        .await;
        assert_eq!((answers.len(), calls.get()), (3, 1));
        assert!(answers.iter().all(|(_, r)| r.is_err()));
    }

    #[test]
    fn each_item_gets_its_writes_and_answers_back() {
        let whole = || vec![vec![1], vec![], vec![2, 3]];
        let mut items = whole();
        let writes = gather(&mut items, |item| item);
        assert_eq!(writes.0, [1, 2, 3]);
        let answers = give_back(&mut items, |item| item, writes, Ok(vec!['a', 'b', 'c'])).unwrap();
        assert_eq!((items, answers), (whole(), vec![vec!['a'], vec![], vec!['b', 'c']]));

        // Too few, and none: nobody knows what was applied, and the writes are there for the next attempt.
        for answers in [Ok(vec!['a', 'b']), Err(StoreError::new("surreal", Class::Unknown, "lost"))] {
            let mut items = whole();
            let writes = gather(&mut items, |item| item);
            assert_eq!(give_back(&mut items, |item| item, writes, answers).unwrap_err().class, Class::Unknown);
            assert_eq!(items, whole());
        }
    }
}
