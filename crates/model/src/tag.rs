//! The texts inside value tags: datetimes, decimals, durations, bytes. Each is parsed and written here,
//! side by side, and what is written parses back to the same value.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose};
use jiff::fmt::temporal::{Pieces, PiecesOffset};
use jiff::{SignedDuration, Timestamp, civil};

const NANOS_PER_SEC: u32 = 1_000_000_000;

const EPOCH: civil::DateTime = civil::datetime(1970, 1, 1, 0, 0, 0, 0);

/// The instant written in RFC 3339, or as `@seconds.nanoseconds` (see [`datetime_text`]).
pub(crate) fn parse_datetime(text: &str) -> Option<(i64, u32)> {
    if let Some(unix) = text.strip_prefix('@') {
        let (secs, nanos) = unix.split_once('.')?;
        let nanos = (nanos.len() == 9 && nanos.bytes().all(|b| b.is_ascii_digit())).then_some(nanos)?;
        return Some((secs.parse().ok()?, nanos.parse().ok()?));
    }
    let nanos = text.parse::<Timestamp>().ok().map(Timestamp::as_nanosecond).or_else(|| last_day(text))?;
    let per_sec = i128::from(NANOS_PER_SEC);
    Some((i64::try_from(nanos.div_euclid(per_sec)).ok()?, u32::try_from(nanos.rem_euclid(per_sec)).ok()?))
}

/// Nanoseconds since 1970 of an instant that jiff's timestamps leave out, so that every offset stays in its range: the last day of
/// 9999, with which many say "for ever", and the first of -9999.
fn last_day(text: &str) -> Option<i128> {
    let pieces = Pieces::parse(text).ok()?;
    // Any other than a number means UTC.
    let zulu = jiff::tz::Offset::UTC;
    let offset = if let PiecesOffset::Numeric(offset) = pieces.offset()? { offset.offset() } else { zulu };
    let local = pieces.date().to_datetime(pieces.time()?).duration_since(EPOCH);
    Some(local.as_nanos() - i128::from(offset.seconds()) * i128::from(NANOS_PER_SEC))
}

/// RFC 3339 in UTC with as many digits of a second as there are.
///
/// SurrealDB knows instants that RFC 3339 has no text for (years beyond ±9999). They are written as
/// `@seconds.nanoseconds` since 1970, so that nothing is lost.
pub(crate) fn datetime_text(secs: i64, nanos: u32) -> String {
    i32::try_from(nanos)
        .ok()
        .filter(|_| nanos < NANOS_PER_SEC)
        .and_then(|nanos| EPOCH.checked_add(SignedDuration::new(secs, nanos)).ok())
        .map_or_else(|| format!("@{secs}.{nanos:09}"), |utc| format!("{utc}Z"))
}

/// The canonical text of a decimal: no plus, no leading zeros, every digit of the fraction kept.
///
/// What is taken is what SurrealDB's decimals hold exactly: 96 bits of digits (28 of any kind), of which
/// at most 28 stand after the point. More would be rounded without a word.
pub(crate) fn canonical_decimal(text: &str) -> Option<String> {
    const MAX_FRACTION: usize = 28;
    const MAX_DIGITS: u128 = (1 << 96) - 1;
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = unsigned.split_once('.').map_or((unsigned, None), |(whole, rest)| (whole, Some(rest)));
    let are_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !are_digits(whole) || fraction.is_some_and(|part| !are_digits(part) || part.len() > MAX_FRACTION) {
        return None;
    }
    let whole = whole.trim_start_matches('0');
    let digits = format!("0{whole}{}", fraction.unwrap_or_default()).parse::<u128>().ok()?;
    if digits > MAX_DIGITS {
        return None;
    }
    let sign = if negative && digits != 0 { "-" } else { "" };
    let whole = if whole.is_empty() { "0" } else { whole };
    Some(fraction.map_or_else(|| format!("{sign}{whole}"), |part| format!("{sign}{whole}.{part}")))
}

/// The units of a duration, largest first, with their nanoseconds. A year has 365 days, as in SurrealDB.
const UNITS: [(&str, u128); 9] = [
    ("y", 365 * 86_400_000_000_000),
    ("w", 7 * 86_400_000_000_000),
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("µs", 1_000),
    ("ns", 1),
];

/// A duration in SurrealDB's words: `1h30m`. The units may come in any order and more than once.
pub(crate) fn parse_duration(text: &str) -> Option<(u64, u32)> {
    let mut rest = text;
    let mut total = 0_u128;
    while !rest.is_empty() {
        let (digits, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let (unit, after) = after.split_at(after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len()));
        // The micro sign and the Greek letter look the same.
        let unit = if matches!(unit, "us" | "μs") { "µs" } else { unit };
        let (_, nanos) = UNITS.iter().find(|(name, _)| *name == unit)?;
        total = digits.parse::<u128>().ok()?.checked_mul(*nanos)?.checked_add(total)?;
        rest = after;
    }
    let per_sec = u128::from(NANOS_PER_SEC);
    let parsed = (u64::try_from(total / per_sec).ok()?, u32::try_from(total % per_sec).ok()?);
    (!text.is_empty()).then_some(parsed)
}

/// The duration as SurrealDB writes it: the largest units first, none that is zero, `0ns` for nothing.
pub(crate) fn duration_text(secs: u64, nanos: u32) -> String {
    let mut left = u128::from(secs) * u128::from(NANOS_PER_SEC) + u128::from(nanos);
    let mut text = String::new();
    for (unit, size) in UNITS {
        if left >= size {
            // Writing to a String cannot fail.
            let _ = write!(text, "{}{unit}", left / size);
            left %= size;
        }
    }
    if text.is_empty() { "0ns".to_owned() } else { text }
}

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// Base64 in the standard or the URL-safe alphabet, with or without padding.
pub(crate) fn parse_base64(text: &str) -> Option<Vec<u8>> {
    let engine = if text.contains(['-', '_']) { URL_SAFE } else { STANDARD };
    engine.decode(text).ok()
}

/// Base64 in the standard alphabet with padding.
pub(crate) fn base64_text(bytes: &[u8]) -> String {
    general_purpose::STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn datetimes_are_kept_to_the_nanosecond() {
        for (text, secs, nanos, canonical) in [
            ("2026-01-29T00:00:00Z", 1_769_644_800, 0, "2026-01-29T00:00:00Z"),
            ("2026-01-29T01:00:00.000000001+01:00", 1_769_644_800, 1, "2026-01-29T00:00:00.000000001Z"),
            ("1969-12-31T23:59:59.75Z", -1, 750_000_000, "1969-12-31T23:59:59.75Z"),
            ("9999-12-31T23:59:59Z", 253_402_300_799, 0, "9999-12-31T23:59:59Z"),
            ("9999-12-31T23:59:59.999999999+00:00", 253_402_300_799, 999_999_999, "9999-12-31T23:59:59.999999999Z"),
            ("9999-12-31T23:30:00+01:00", 253_402_295_400, 0, "9999-12-31T22:30:00Z"),
            ("@99999999999999.000000007", 99_999_999_999_999, 7, "@99999999999999.000000007"),
        ] {
            assert_eq!(parse_datetime(text), Some((secs, nanos)), "{text}");
            assert_eq!(datetime_text(secs, nanos), canonical, "{text}");
        }
        for text in
            ["", "2026-01-29", "2026-01-29T00:00:00", "2026-13-01T00:00:00Z", "now", "@1", "@1.5", "@1.00000000x"]
        {
            assert_eq!(parse_datetime(text), None, "{text}");
        }
    }

    #[test]
    fn decimals_keep_their_scale() {
        for (text, canonical) in [
            ("1", "1"),
            ("+1.50", "1.50"),
            ("-007.10", "-7.10"),
            ("0.00", "0.00"),
            ("-0.0", "0.0"),
            ("000", "0"),
            ("79228162514264337593543950335", "79228162514264337593543950335"),
            ("0.0000000000000000000000000001", "0.0000000000000000000000000001"),
        ] {
            assert_eq!(canonical_decimal(text).as_deref(), Some(canonical), "{text}");
        }
        for text in [
            "",
            "-",
            ".5",
            "5.",
            "1e3",
            "1.2.3",
            "0x1",
            "--1",
            " 1",
            "٣",
            "79228162514264337593543950336",
            "0.00000000000000000000000000001",
            &"9".repeat(1000),
        ] {
            assert_eq!(canonical_decimal(text), None, "{text}");
        }
    }

    #[test]
    fn durations_are_surrealdbs() {
        for (text, secs, nanos, canonical) in [
            ("1h30m", 5400, 0, "1h30m"),
            ("90m", 5400, 0, "1h30m"),
            ("1w2d3h4m5s6ms7us8ns", 788_645, 6_007_008, "1w2d3h4m5s6ms7µs8ns"),
            ("1y", 31_536_000, 0, "1y"),
            ("1s1s", 2, 0, "2s"),
            ("0s", 0, 0, "0ns"),
            ("3μs", 0, 3_000, "3µs"),
        ] {
            assert_eq!(parse_duration(text), Some((secs, nanos)), "{text}");
            assert_eq!(duration_text(secs, nanos), canonical, "{text}");
        }
        for text in ["", "1", "h", "1x", "1.5h", "-1h", "1 h", "h1", "99999999999999999999999999999999999999y"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn base64_is_taken_in_every_common_form() {
        for text in ["+/+/AA==", "+/+/AA", "-_-_AA", "-_-_AA=="] {
            assert_eq!(parse_base64(text), Some(vec![0xfb, 0xff, 0xbf, 0]), "{text}");
        }
        for text in ["+_", "A", "AA=A", "é", "AA AA"] {
            assert_eq!(parse_base64(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_parses_back(secs in any::<i64>(), nanos in 0..NANOS_PER_SEC, bytes: Vec<u8>) {
            prop_assert_eq!(parse_datetime(&datetime_text(secs, nanos)), Some((secs, nanos)));
            let length = secs.unsigned_abs();
            prop_assert_eq!(parse_duration(&duration_text(length, nanos)), Some((length, nanos)));
            prop_assert_eq!(parse_base64(&base64_text(&bytes)), Some(bytes));
        }

        #[test]
        fn nothing_panics(text: String) {
            let _ = (parse_datetime(&text), canonical_decimal(&text), parse_duration(&text), parse_base64(&text));
        }
    }
}
