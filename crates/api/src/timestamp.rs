//! Times on the wire: RFC 3339 in UTC, of microseconds since 1970.

use jiff::Timestamp;

/// `2026-01-29T00:00:00.000000Z` for the microseconds since 1970; none for a time that no calendar has.
#[must_use]
pub fn rfc3339_from_micros(micros: u64) -> Option<String> {
    let micros = i64::try_from(micros).ok()?;
    Timestamp::from_microsecond(micros).ok().map(|time| format!("{time:.6}"))
}

/// The microseconds since 1970 of a time in RFC 3339; none if it is not one, or lies before 1970.
#[must_use]
pub fn micros_from_rfc3339(text: &str) -> Option<u64> {
    let time: Timestamp = text.parse().ok()?;
    u64::try_from(time.as_microsecond()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        for (micros, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (1_769_644_800_000_001, "2026-01-29T00:00:00.000001Z"),
            ((1 << 53) - 1, "2255-06-05T23:47:34.740991Z"),
        ] {
            assert_eq!(rfc3339_from_micros(micros).as_deref(), Some(text));
            assert_eq!(micros_from_rfc3339(text), Some(micros));
        }
        assert_eq!(micros_from_rfc3339("2026-01-29T01:00:00+01:00"), Some(1_769_644_800_000_000));
    }

    #[test]
    fn what_is_no_time_is_none() {
        assert_eq!(rfc3339_from_micros(u64::MAX), None);
        assert_eq!(micros_from_rfc3339("soon"), None);
        assert_eq!(micros_from_rfc3339("1969-12-31T23:59:59Z"), None);
    }
}
