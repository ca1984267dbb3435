//! The payload of a BOOT entry: an incarnation begins. Little-endian: incarnation (4), base (8), log id (16).

use lockstep_model::{LogId, Lsn};
use uuid::Uuid;

use crate::log::{Entry, Kind};

/// What a BOOT entry says. Its log id is the second copy, should the high-water file be gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Boot {
    pub(crate) incarnation: u32,
    pub(crate) base: Lsn,
    pub(crate) log: LogId,
}

impl Boot {
    pub(crate) fn to_entry(self) -> Entry {
        let mut payload = Vec::with_capacity(28);
        payload.extend_from_slice(&self.incarnation.to_le_bytes());
        payload.extend_from_slice(&self.base.0.to_le_bytes());
        payload.extend_from_slice(self.log.0.as_bytes());
        Entry { kind: Kind::BOOT, payload }
    }

    pub(crate) fn parse(payload: &[u8]) -> Option<Self> {
        let (incarnation, rest) = payload.split_first_chunk()?;
        let (base, log) = rest.split_first_chunk()?;
        Some(Self {
            incarnation: u32::from_le_bytes(*incarnation),
            base: Lsn(u64::from_le_bytes(*base)),
            log: LogId(Uuid::from_bytes(log.try_into().ok()?)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes_of_a_boot_entry() {
        let boot = Boot { incarnation: 2, base: Lsn(3), log: LogId(Uuid::from_u128(0x0102)) };
        let payload = boot.to_entry().payload;
        assert_eq!(payload[..12], [2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(payload[12..], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(Boot::parse(&payload), Some(boot));
        assert_eq!(Boot::parse(&payload[..27]), None);
    }
}
