//! Words for people: figures, times, lines that fit.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use lockstep_api::{micros_from_rfc3339, rfc3339_from_micros};

/// Human output fits a terminal of so many columns.
pub(crate) const COLUMNS: usize = 100;
/// What a line says stands behind its label, in this column.
pub(crate) const LABEL: usize = 11;

/// Microseconds since 1970, now.
pub(crate) fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// `source     directory ./wal`, cut to fit.
pub(crate) fn labelled(label: &str, said: &str) -> String {
    cut(&format!("{label:<LABEL$}{}", plain(said)), COLUMNS)
}

/// As [`labelled`], but in as many lines as it takes.
pub(crate) fn paragraph(label: &str, said: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    for word in plain(said).split(' ') {
        if !line.is_empty() && LABEL + line.chars().count() + 1 + word.chars().count() > COLUMNS {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    let labels = std::iter::once(label).chain(std::iter::repeat(""));
    let all: Vec<String> = labels.zip(&lines).map(|(label, line)| format!("{label:<LABEL$}{line}")).collect();
    all.join("\n")
}

/// The first `columns` characters of a line, with `…` if there was more.
pub(crate) fn cut(line: &str, columns: usize) -> String {
    match line.char_indices().nth(columns) {
        None => line.to_owned(),
        Some(_) => line.chars().take(columns.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// Without control characters: what others wrote must not move the cursor, or break a line in two.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { '\u{fffd}' } else { char }).collect()
}

/// `12,911`
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut said = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            said.push(',');
        }
        said.push(digit);
    }
    said
}

/// `1 operation`, `12,911 operations`
pub(crate) fn counted(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", count(number))
}

/// `512 B`, `1.5 KiB`, `4.0 GiB`
pub(crate) fn bytes(number: u64) -> String {
    let units = [("GiB", 30_u32), ("MiB", 20), ("KiB", 10)];
    let Some((unit, shift)) = units.into_iter().find(|&(_, shift)| number >> shift > 0) else {
        return format!("{number} B");
    };
    let tenths = (u128::from(number) * 10) >> shift;
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

/// `0s`, `42s`, `3m`, `5h`, `12d`: how long something lasts or is past.
pub(crate) fn age(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// How long ago a time is that a daemon or the log told.
pub(crate) fn ago(at: &str) -> Option<String> {
    let past = now_us().saturating_sub(micros_from_rfc3339(at)?) / 1_000_000;
    Some(format!("{} ago", age(past)))
}

/// A time, or that it is not known.
pub(crate) fn time(micros: u64) -> String {
    rfc3339_from_micros(micros).unwrap_or_else(|| "not known".to_owned())
}

/// A path as a shell takes it.
pub(crate) fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |char: char| char.is_ascii_alphanumeric() || "/._-+:@".contains(char);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text;
    }
    let mut said = String::from("'");
    for char in text.chars() {
        if char == '\'' {
            said.push_str("'\\''");
        } else {
            said.push(char);
        }
    }
    said.push('\'');
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures() {
        assert_eq!([0, 999, 1_000, 12_911, 1_234_567].map(count), ["0", "999", "1,000", "12,911", "1,234,567"]);
        assert_eq!(counted(1, "record"), "1 record");
        assert_eq!([5, 1_536, 4 << 30, u64::MAX].map(bytes), ["5 B", "1.5 KiB", "4.0 GiB", "17179869183.9 GiB"]);
        assert_eq!([0, 119, 120, 7_199, 7_200, 172_800].map(age), ["0s", "119s", "2m", "119m", "2h", "2d"]);
        assert_eq!(time(u64::MAX), "not known");
    }

    #[test]
    fn lines_are_cut_at_characters_and_keep_no_escapes() {
        assert_eq!(cut("tide", 4), "tide");
        assert_eq!(cut("äöüß!", 4), "äöü…");
        assert_eq!(plain("a\u{1b}[31m\nb"), "a\u{fffd}[31m\u{fffd}b");
    }

    #[test]
    fn a_paragraph_breaks_at_words() {
        let said = paragraph("damage", &"word ".repeat(40));
        assert!(said.lines().count() > 1);
        assert!(said.lines().all(|line| line.chars().count() <= COLUMNS), "{said}");
        assert!(said.lines().skip(1).all(|line| line.starts_with("           word")), "{said}");
    }

    #[test]
    fn paths_are_quoted_for_the_shell() {
        assert_eq!(quoted(Path::new("./lockstep-data/wal")), "./lockstep-data/wal");
        assert_eq!(quoted(Path::new("my log's")), r"'my log'\''s'");
    }
}
