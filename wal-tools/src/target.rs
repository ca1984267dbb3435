//! Which operation is meant: by its place in the log, or by its name.

use std::fmt;
use std::str::FromStr;

use lockstep_model::{Lsn, OpId};

/// `LSN|OP_ID`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// The operation at this place.
    Place(Lsn),
    /// The operation of this name, which carries its place.
    Name(OpId),
}

impl Target {
    /// Its place in the log.
    pub(crate) const fn lsn(self) -> Lsn {
        match self {
            Self::Place(lsn) => lsn,
            Self::Name(op_id) => op_id.lsn(),
        }
    }

    /// Whether the operation of this name at its place is the one that is meant. A name that is not known
    /// cannot be told from another.
    pub(crate) fn is(self, found: Option<OpId>) -> bool {
        match self {
            Self::Place(_) => true,
            Self::Name(op_id) => found.is_none_or(|found| found == op_id),
        }
    }
}

impl FromStr for Target {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(lsn) = text.parse() {
            return Ok(Self::Place(Lsn(lsn)));
        }
        text.parse().map(Self::Name).map_err(|_| "neither an LSN (a number) nor an operation's id (a UUID)")
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Place(lsn) => write!(f, "at LSN {lsn}"),
            Self::Name(op_id) => write!(f, "{op_id}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_a_place_and_a_uuid_a_name() {
        assert_eq!("42".parse(), Ok(Target::Place(Lsn(42))));
        let name: Target = "0193b2c4-0000-7000-8000-00000000002a".parse().unwrap();
        assert_eq!(name.lsn(), Lsn(42));
        assert!(name.is(None) && !name.is("0193b2c4-0000-7000-8000-00000000002b".parse().ok()));
        for wrong in ["", "-1", "memory:01", "99999999999999999999"] {
            assert!(wrong.parse::<Target>().is_err(), "{wrong}");
        }
    }
}
