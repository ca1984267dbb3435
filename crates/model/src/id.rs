//! Names and positions: what an operation is called, where it stands in the log, how new its content is.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A place in the log's one dense sequence of records. The first record has 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Lsn(pub u64);

impl Lsn {
    /// The place after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How new a key's content is: a hybrid logical clock in microseconds since 1970, below 2^53.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(pub u64);

impl Version {
    /// Versions stay below this, so that every JSON reader keeps them whole (year 2255).
    pub const LIMIT: u64 = 1 << 53;
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Hands out versions: the wall clock, or the last version plus one if that is more.
#[derive(Debug, Clone)]
pub struct VersionClock {
    last: u64,
}

impl VersionClock {
    /// A clock whose first version is above `seen`.
    #[must_use]
    pub const fn starting_above(seen: Version) -> Self {
        Self { last: seen.0 }
    }

    /// The next version. `now_us` is the wall clock in microseconds since 1970; it may jump.
    ///
    /// A wall clock beyond [`Version::LIMIT`] is taken as wrong and only counted up from.
    pub const fn tick(&mut self, now_us: u64) -> Version {
        let next = self.last + 1;
        self.last = if now_us > next && now_us < Version::LIMIT { now_us } else { next };
        Version(self.last)
    }

    /// Every later version will be above `seen`.
    pub const fn lift_above(&mut self, seen: Version) {
        if seen.0 > self.last && seen.0 < Version::LIMIT {
            self.last = seen.0;
        }
    }

    /// The last version given, or the one the clock started above.
    #[must_use]
    pub const fn last(&self) -> Version {
        Version(self.last)
    }
}

/// Which log this is: made once, at the log's creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LogId(pub Uuid);

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An operation's public name: a UUIDv7 that carries the operation's LSN.
///
/// Layout (RFC 9562, section 5.7): 48 bits of Unix milliseconds, version 7, then 12 bits and 14 bits
/// taken from the log's id, then the LSN in the low 48 bits. So no index from names to places is
/// needed, and two logs give different names to the same place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OpId(pub Uuid);

impl OpId {
    const LSN_BITS: u32 = 48;
    const LSN_MASK: u128 = (1 << Self::LSN_BITS) - 1;

    /// The name of the operation that stands at `lsn` in `log` and was logged at `unix_ms`.
    #[must_use]
    pub fn new(log: LogId, lsn: Lsn, unix_ms: u64) -> Self {
        let salt = log.0.as_u128();
        let bits = (u128::from(unix_ms) & Self::LSN_MASK) << 80
            | 0x7 << 76
            | (salt & 0xfff) << 64
            | 0b10 << 62
            | (salt >> 12 & 0x3fff) << Self::LSN_BITS
            | u128::from(lsn.0) & Self::LSN_MASK;
        Self(Uuid::from_u128(bits))
    }

    /// The place that this name speaks of. Whether such an operation is there, only the log knows.
    #[must_use]
    pub const fn lsn(self) -> Lsn {
        Lsn((self.0.as_u128() & Self::LSN_MASK) as u64)
    }
}

impl fmt::Display for OpId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for OpId {
    type Err = uuid::Error;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Uuid::parse_str(s).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn op_id_is_a_uuid_v7_and_carries_its_lsn() {
        let log = LogId(Uuid::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef));
        let id = OpId::new(log, Lsn(42), 1_700_000_000_000);
        assert_eq!(id.0.get_version_num(), 7);
        assert_eq!(id.0.get_variant(), uuid::Variant::RFC4122);
        assert_eq!(id.lsn(), Lsn(42));
        assert_eq!(id.to_string().parse::<OpId>().unwrap(), id);
    }

    #[test]
    fn version_clock_never_goes_back() {
        let mut clock = VersionClock::starting_above(Version(100));
        assert_eq!(clock.tick(50), Version(101));
        assert_eq!(clock.tick(500), Version(500));
        assert_eq!(clock.tick(400), Version(501));
        assert_eq!(clock.tick(u64::MAX), Version(502));
        clock.lift_above(Version(900));
        assert_eq!(clock.tick(600), Version(901));
    }
}
