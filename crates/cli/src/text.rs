//! Words for people: figures, times, lines that fit.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use indicatif::{HumanCount, HumanDuration};
use lockstep_api::micros_from_rfc3339;

/// Human output fits a terminal of so many columns.
pub(crate) const COLUMNS: usize = 100;

/// `12,911`
pub(crate) fn count(number: u64) -> HumanCount {
    HumanCount(number)
}

/// `12,911`, or `unknown`: never 0 for what is not known.
pub(crate) fn known(number: Option<u64>) -> String {
    number.map_or_else(|| "unknown".to_owned(), |number| count(number).to_string())
}

/// Rows with their columns one below the other, each as wide as its widest cell.
pub(crate) fn aligned<const N: usize>(rows: &[[String; N]]) -> Vec<String> {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..N).map(width).collect();
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// `1 package`, `2 packages`, `0 packages`
pub(crate) fn counted(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", count(number))
}

/// `0.3 s`, `12.0 s`, `4 minutes`
pub(crate) fn duration(time: Duration) -> String {
    if time < Duration::from_secs(120) {
        format!("{:.1} s", time.as_secs_f64())
    } else {
        HumanDuration(time).to_string()
    }
}

/// The same of seconds, if a time has so many.
pub(crate) fn seconds(seconds: f64) -> Option<String> {
    Duration::try_from_secs_f64(seconds).ok().map(duration)
}

/// How many a second.
pub(crate) fn rate(number: u64, time: Duration) -> u64 {
    let micros = time.as_micros().max(1);
    u64::try_from(u128::from(number) * 1_000_000 / micros).unwrap_or(u64::MAX)
}

/// How long ago that was, if it can be told.
pub(crate) fn age(rfc3339: &str) -> Option<Duration> {
    let then = UNIX_EPOCH + Duration::from_micros(micros_from_rfc3339(rfc3339)?);
    SystemTime::now().duration_since(then).ok()
}

/// The first `columns` characters of a line, with `…` if there was more.
pub(crate) fn cut(line: &str, columns: usize) -> String {
    match line.char_indices().nth(columns) {
        None => line.to_owned(),
        Some(_) => line.chars().take(columns.saturating_sub(1)).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_at_characters() {
        assert_eq!(cut("tide", 4), "tide");
        assert_eq!(cut("äöüß!", 4), "äöü…");
    }

    #[test]
    fn figures() {
        assert_eq!((known(None).as_str(), known(Some(0)).as_str()), ("unknown", "0"));
        assert_eq!(counted(1, "line"), "1 line");
        assert_eq!(counted(12_911, "line"), "12,911 lines");
        assert_eq!(duration(Duration::from_millis(340)), "0.3 s");
        assert_eq!((seconds(900.5).as_deref(), seconds(-1.0)), (Some("15 minutes"), None));
        assert_eq!(rate(10, Duration::from_secs(2)), 5);
        assert_eq!(rate(10, Duration::ZERO), 10_000_000);
        assert_eq!(age("2999-01-01T00:00:00Z"), None);
    }
}
