//! Counters and histograms, as the facade `metrics` wants them kept.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use metrics::{
    Counter, CounterFn, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};

use super::catalogue::{Kind, reported};
use super::text::Text;

/// So many counters and histograms are kept, whatever labels they come with.
pub(super) const MAX_SERIES: usize = 1000;

/// Labels, in the order of their names.
pub(super) type Labels = Vec<(String, String)>;

/// What is counted since the process started.
#[derive(Debug, Default)]
pub struct Registry {
    series: RwLock<BTreeMap<(&'static str, Labels), Series>>,
}

#[derive(Debug, Clone)]
enum Series {
    Counter(Arc<Count>),
    Histogram(Arc<Buckets>),
}

#[derive(Debug, Default)]
struct Count(AtomicU64);

/// How many values fell into each bucket, the last one for those above all bounds, and their sum.
#[derive(Debug)]
struct Buckets {
    bounds: &'static [f64],
    counts: Vec<AtomicU64>,
    sum_bits: AtomicU64,
}

impl CounterFn for Count {
    fn increment(&self, value: u64) {
        self.0.fetch_add(value, Ordering::Relaxed);
    }

    fn absolute(&self, value: u64) {
        self.0.fetch_max(value, Ordering::Relaxed);
    }
}

impl Buckets {
    fn new(bounds: &'static [f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, counts, sum_bits: AtomicU64::new(0_f64.to_bits()) }
    }
}

impl HistogramFn for Buckets {
    fn record(&self, value: f64) {
        // What is no number has no place among numbers.
        if value.is_nan() {
            return;
        }
        let place = self.bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.counts.get(place) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let add = |bits| Some((f64::from_bits(bits) + value).to_bits());
        // The closure always gives a value, so this always succeeds.
        let _ = self.sum_bits.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }
}

impl Registry {
    fn series(&self, key: &Key, wanted: impl FnOnce(Kind) -> Option<Series>) -> Option<Series> {
        let metric = reported(key.name())?;
        let mut labels: Labels = key.labels().map(|label| (label.key().to_owned(), label.value().to_owned())).collect();
        labels.sort_unstable();
        let name = (metric.name, labels);
        if let Some(series) = self.series.read().unwrap_or_else(PoisonError::into_inner).get(&name) {
            return Some(series.clone());
        }
        let mut all = self.series.write().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MAX_SERIES && !all.contains_key(&name) {
            return None;
        }
        let made = wanted(metric.kind)?;
        Some(all.entry(name).or_insert(made).clone())
    }

    /// Writes what has been counted under `name`.
    pub(super) fn write(&self, name: &str, text: &mut Text) {
        let all = self.series.read().unwrap_or_else(PoisonError::into_inner);
        for ((_, labels), series) in all.iter().filter(|((its, _), _)| *its == name) {
            match series {
                Series::Counter(count) => text.whole(name, labels, count.0.load(Ordering::Relaxed)),
                Series::Histogram(buckets) => {
                    let counts: Vec<u64> = buckets.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
                    let sum = f64::from_bits(buckets.sum_bits.load(Ordering::Relaxed));
                    text.histogram(name, labels, buckets.bounds, &counts, sum);
                }
            }
        }
    }
}

impl Recorder for Registry {
    // The catalogue has the descriptions.
    fn describe_counter(&self, _key: KeyName, _unit: Option<Unit>, _description: SharedString) {}

    fn describe_gauge(&self, _key: KeyName, _unit: Option<Unit>, _description: SharedString) {}

    fn describe_histogram(&self, _key: KeyName, _unit: Option<Unit>, _description: SharedString) {}

    fn register_counter(&self, key: &Key, _metadata: &Metadata<'_>) -> Counter {
        let counter = |kind| (kind == Kind::Counter).then(|| Series::Counter(Arc::default()));
        match self.series(key, counter) {
            Some(Series::Counter(count)) => Counter::from_arc(count),
            Some(Series::Histogram(_)) | None => Counter::noop(),
        }
    }

    /// Gauges are read from the status: see `gauges`.
    fn register_gauge(&self, _key: &Key, _metadata: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _metadata: &Metadata<'_>) -> Histogram {
        let histogram = |kind| match kind {
            Kind::Histogram(bounds) => Some(Series::Histogram(Arc::new(Buckets::new(bounds)))),
            Kind::Counter | Kind::Gauge => None,
        };
        match self.series(key, histogram) {
            Some(Series::Histogram(buckets)) => Histogram::from_arc(buckets),
            Some(Series::Counter(_)) | None => Histogram::noop(),
        }
    }
}

#[cfg(test)]
mod tests {
    use metrics::{counter, histogram, with_local_recorder};

    use super::*;

    fn shown(registry: &Registry, name: &str) -> String {
        let mut text = Text::default();
        registry.write(name, &mut text);
        text.done()
    }

    #[test]
    fn counters_and_histograms_add_up() {
        let registry = Registry::default();
        with_local_recorder(&registry, || {
            counter!("lockstep_ops_total", "kind" => "put", "outcome" => "committed").increment(2);
            counter!("lockstep_ops_total", "outcome" => "committed", "kind" => "put").increment(1);
            for operations in [1.0, 3.0, 2000.0, f64::NAN] {
                histogram!("lockstep_batch_ops", "store" => "surreal").record(operations);
            }
            counter!("lockstep_nobody_knows_total").increment(1);
            counter!("lockstep_batch_ops", "store" => "surreal").increment(7);
        });
        assert_eq!(
            shown(&registry, "lockstep_ops_total"),
            "lockstep_ops_total{kind=\"put\",outcome=\"committed\"} 3\n"
        );
        let batches = shown(&registry, "lockstep_batch_ops");
        for line in [
            "lockstep_batch_ops_bucket{store=\"surreal\",le=\"1\"} 1\n",
            "lockstep_batch_ops_bucket{store=\"surreal\",le=\"2\"} 1\n",
            "lockstep_batch_ops_bucket{store=\"surreal\",le=\"4\"} 2\n",
            "lockstep_batch_ops_bucket{store=\"surreal\",le=\"+Inf\"} 3\n",
            "lockstep_batch_ops_sum{store=\"surreal\"} 2004\n",
            "lockstep_batch_ops_count{store=\"surreal\"} 3\n",
        ] {
            assert!(batches.contains(line), "{line} in {batches}");
        }
        assert_eq!(registry.series.read().unwrap().len(), 2);
    }

    #[test]
    fn labels_without_end_are_not_kept() {
        let registry = Registry::default();
        with_local_recorder(&registry, || {
            for number in 0..2 * MAX_SERIES {
                counter!("lockstep_ops_total", "kind" => number.to_string()).increment(1);
            }
            counter!("lockstep_ops_total", "kind" => "0").increment(1);
        });
        assert_eq!(registry.series.read().unwrap().len(), MAX_SERIES);
        assert!(shown(&registry, "lockstep_ops_total").contains("{kind=\"0\"} 2\n"));
    }
}
