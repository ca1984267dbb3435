//! The high-water file.

use lockstep_model::Lsn;
use lockstep_wal::HighWater;
use lockstep_wal::chunk::MAX_LSN;

use crate::driver::{Fuzz, kind_of};
use crate::support::ID;

/// Says nothing where a slot is broken, whatever else is in the file.
fn check(input: &[u8]) -> u64 {
    match HighWater::parse(input) {
        Ok((mark, both)) => {
            assert!(mark.durable <= MAX_LSN);
            let (again, whole) = HighWater::parse(&mark.to_file()).unwrap();
            assert!(whole);
            assert_eq!(HighWater { sequence: mark.sequence, ..again }, mark);
            // No CRC is right by chance.
            assert_eq!(mark.log, ID, "a mark that nobody wrote");
            u64::from(both)
        }
        Err(error) => kind_of(&error),
    }
}

#[test]
fn a_mark_is_what_was_written_or_nothing() {
    let mark = |durable| HighWater { log: ID, incarnation: 2, base: Lsn(6), durable: Lsn(durable), sequence: durable };
    let torn = [mark(9).to_file()[..4096].to_vec(), mark(8).to_file()[4096..].to_vec()].concat();
    let seeds = vec![mark(8).to_file(), torn, mark(1).to_file()[..60].to_vec()];
    Fuzz { target: "marks", seeds, tokens: &["\0\0\0\0", "\u{1}"], inputs: 60_000 }.run(check);
}
