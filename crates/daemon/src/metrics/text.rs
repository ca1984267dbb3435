//! Prometheus' text format, version 0.0.4.

use std::fmt::Write;

use super::catalogue::{Kind, Metric};

/// What the answer calls itself.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The text, line by line.
#[derive(Debug, Default)]
pub(crate) struct Text {
    lines: String,
}

impl Text {
    /// All of it.
    pub(crate) fn done(self) -> String {
        self.lines
    }

    /// The lines before a metric's samples.
    pub(super) fn head(&mut self, metric: &Metric) {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram(_) => "histogram",
        };
        self.line(format_args!("# HELP {} {}", metric.name, metric.help));
        self.line(format_args!("# TYPE {} {kind}", metric.name));
    }

    /// A sample that is a whole number.
    pub(super) fn whole<K: AsRef<str>, V: AsRef<str>>(&mut self, name: &str, labels: &[(K, V)], value: u64) {
        let labels = braced(labels, None);
        self.line(format_args!("{name}{labels} {value}"));
    }

    /// A sample that is any number.
    pub(super) fn number<K: AsRef<str>, V: AsRef<str>>(&mut self, name: &str, labels: &[(K, V)], value: f64) {
        let labels = braced(labels, None);
        self.line(format_args!("{name}{labels} {value}"));
    }

    /// A histogram; `counts` has one more than `bounds`, and they do not add up yet.
    pub(super) fn histogram<K: AsRef<str>, V: AsRef<str>>(
        &mut self,
        name: &str,
        labels: &[(K, V)],
        bounds: &[f64],
        counts: &[u64],
        sum: f64,
    ) {
        let mut so_far = 0;
        let bounds = bounds.iter().map(ToString::to_string).chain(["+Inf".to_owned()]);
        for (bound, count) in bounds.zip(counts) {
            so_far += count;
            let labels = braced(labels, Some(&bound));
            self.line(format_args!("{name}_bucket{labels} {so_far}"));
        }
        let labels = braced(labels, None);
        self.line(format_args!("{name}_sum{labels} {sum}"));
        self.line(format_args!("{name}_count{labels} {so_far}"));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // A String takes everything.
        let _ = writeln!(self.lines, "{line}");
    }
}

fn braced<K: AsRef<str>, V: AsRef<str>>(labels: &[(K, V)], bound: Option<&str>) -> String {
    let given = labels.iter().map(|(name, value)| (name.as_ref(), value.as_ref()));
    let all: Vec<String> = given
        .chain(bound.map(|bound| ("le", bound)))
        .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)))
        .collect();
    if all.is_empty() { String::new() } else { format!("{{{}}}", all.join(",")) }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_labels_are_escaped() {
        let mut text = Text::default();
        text.whole("m", &[("a", "x\"y\\z\nw")], 1);
        text.number("n", &[] as &[(&str, &str)], 0.5);
        assert_eq!(text.done(), "m{a=\"x\\\"y\\\\z\\nw\"} 1\nn 0.5\n");
    }
}
