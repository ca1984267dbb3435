//! Logs whose chunks are sound and say anything: no checksum stands between what was made up and the raw reader.
//!
//! An input tells what is written one after the other; the product's own encoder writes it. So LSNs, groups, incarnations and
//! lists of what has left may be any number, which no writer writes, and which must cost neither time nor memory nor a panic.

use std::collections::BTreeSet;
use std::fs;

use lockstep_model::Lsn;
use lockstep_wal::chunk::{MAX_LSN, Owner, Stamp, encode};
use lockstep_wal::repair::Survey;
use lockstep_wal::{Entry, HighWater, Kind, MAX_SIDE, RawError, RawLog, SideKey};

use crate::driver::{Fuzz, variant};
use crate::samples::every_record;
use crate::support::{ID, payload};
use crate::truth::Scratch;

/// Takes numbers out of an input; behind its end all are 0.
struct Words<'a>(&'a [u8]);

impl Words<'_> {
    fn byte(&mut self) -> u8 {
        let Some((&byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        byte
    }

    /// Mostly a small number, sometimes any.
    fn number(&mut self) -> u64 {
        match self.byte() {
            small @ 0..=239 => u64::from(small),
            240..=247 => MAX_LSN.0 - u64::from(self.byte()),
            248..=250 => u64::MAX - u64::from(self.byte()),
            _ => (0..8).fold(0, |number, _| number << 8 | u64::from(self.byte())),
        }
    }

    fn bytes(&mut self) -> Vec<u8> {
        match self.byte() {
            // Of several chunks.
            255 => payload(self.number(), 4016 * usize::from(self.byte() % 4) + usize::from(self.byte())),
            length => (0..length % 32).map(|_| self.byte()).collect(),
        }
    }
}

struct Story {
    db: Vec<u8>,
    mark: Option<HighWater>,
    written: BTreeSet<(Lsn, Kind, Vec<u8>)>,
}

fn tell(samples: &[Entry], input: &[u8]) -> Story {
    let mut words = Words(input);
    let mut story = Story { db: Vec::new(), mark: None, written: BTreeSet::new() };
    let mut stamp = Stamp { incarnation: 1, base: Lsn(1), turn: 0 };
    let mut next = 1;
    while !words.0.is_empty() && story.db.len() < 1 << 17 {
        stamp.turn += 1;
        match words.byte() % 9 {
            // The next one, and groups that begin before it and end behind it.
            0..=2 => {
                let (kind, before, behind) = (words.byte(), words.number(), words.number());
                write(&mut story, (next, kind), (before, behind), stamp, &words.bytes());
                next += 1;
            }
            3 => next = words.number().min(MAX_LSN.0),
            4 => {
                stamp = Stamp {
                    incarnation: u32::try_from(words.number()).unwrap_or(u32::MAX),
                    base: Lsn(words.number()),
                    ..stamp
                }
            }
            5 => {
                let key = match words.byte() % 3 {
                    0 => SideKey::Summary(Lsn(words.number())),
                    1 => SideKey::Idempotency([words.byte(); 16]),
                    _ => SideKey::Note(words.byte()),
                };
                let owner = Owner::Side { key, at: Lsn(words.number().min(MAX_LSN.0)) };
                let value = words.bytes();
                let value = &value[..value.len().min(MAX_SIDE)];
                encode(owner, stamp, value, |_, chunk| story.db.extend_from_slice(&chunk));
            }
            6 => {
                let durable = Lsn(words.number().min(MAX_LSN.0));
                story.mark = Some(HighWater {
                    log: ID,
                    incarnation: stamp.incarnation,
                    base: Lsn(words.number()),
                    durable,
                    sequence: 1,
                });
            }
            // A record that Lockstep writes, with another number somewhere in it.
            7 => {
                let Entry { kind, mut payload } = samples[usize::from(words.byte()) % samples.len()].clone();
                let (at, number) = (usize::from(words.byte()), words.number());
                if let Some(place) = payload.get_mut(at..at + 8) {
                    place.copy_from_slice(&number.to_le_bytes());
                }
                write(&mut story, (next, kind.0), (0, 0), stamp, &payload);
                next += 1;
            }
            // Some of it is gone, or torn.
            _ => {
                let left = story.db.len().saturating_sub(usize::from(words.byte()));
                story.db.truncate(left);
            }
        }
    }
    story
}

fn write(story: &mut Story, (lsn, kind): (u64, u8), (before, behind): (u64, u64), stamp: Stamp, payload: &[u8]) {
    let lsn = lsn.clamp(1, MAX_LSN.0);
    let (group_first, group_last) = (lsn.saturating_sub(before), (lsn.saturating_add(behind)).min(MAX_LSN.0));
    let owner =
        Owner::Entry { lsn: Lsn(lsn), kind: Kind(kind), group_first: Lsn(group_first), group_last: Lsn(group_last) };
    encode(owner, stamp, payload, |_, chunk| story.db.extend_from_slice(&chunk));
    story.written.insert((Lsn(lsn), Kind(kind), payload.to_vec()));
}

fn check(scratch: &Scratch, samples: &[Entry], input: &[u8]) -> u64 {
    let story = tell(samples, input);
    let mark = story.mark.map(HighWater::to_file);
    let raw = match RawLog::from_bytes(&story.db, mark.as_deref()) {
        Ok(raw) => raw,
        // Two lists of what has left, by one incarnation at one place: nobody writes that. It is said, and nothing is shown.
        Err(error @ RawError::Changed { .. }) => return variant(&error),
        Err(error) => panic!("{error}"),
    };
    let mut shown = 0;
    for record in raw.records() {
        match record {
            Ok(record) => {
                assert!(story.written.contains(&(record.lsn, record.entry.kind, record.entry.payload)));
                assert!(record.lsn <= raw.last() && !raw.trimmed().contains(record.lsn));
                assert_eq!(raw.record(record.lsn).unwrap().map(|found| found.lsn), Some(record.lsn));
                shown += 1;
            }
            // Two appends of one incarnation at one place: nobody writes that, and it is not made into one record.
            Err(RawError::Changed { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    for side in raw.side_entries() {
        assert!(matches!(side, Ok(_) | Err(RawError::Changed { .. })), "{side:?}");
    }
    let said: String = raw.findings().iter().map(ToString::to_string).collect();
    assert!(said.len() < 100_000);
    let bytes = story.db.len();
    let mut files = vec![("db".into(), story.db)];
    files.extend(mark.map(|mark| ("highwater".into(), mark)));
    let dir = scratch.fill(&files);
    let surveyed = match Survey::of(&dir, true) {
        Ok(survey) => {
            let stretches = survey.lost_records();
            assert!(stretches.windows(2).all(|pair| pair[0].last < pair[1].lsn), "a record is lost twice");
            let count: u64 = stretches.iter().map(|stretch| stretch.last.0 - stretch.lsn.0 + 1).sum();
            assert_eq!(count, survey.lost().count());
            // A list of what has left has two bytes for each stretch that it leaves between.
            assert!(stretches.len() <= bytes / 2 + 1, "{} stretches of {bytes} bytes", stretches.len());
            u64::from(survey.is_whole())
        }
        Err(error) => variant(&error),
    };
    drop(fs::remove_dir_all(dir));
    raw.findings().iter().fold(surveyed, |all, finding| all ^ variant(finding)) ^ u64::from(shown > 0)
}

#[test]
fn sound_chunks_that_say_anything_cost_nothing() {
    let scratch = Scratch::new();
    let samples: Vec<Entry> = every_record().iter().map(|record| record.encode().unwrap()).collect();
    // One whole log: three records, a BOOT, a list of what has left, a mark.
    let whole = [
        &[0, 1, 0, 1, 5, 1, 2, 3, 4, 5][..],
        &[1, 2, 1, 0, 3, 7, 8, 9],
        &[0, 1, 0, 0, 255, 3, 2, 9],
        &[4, 2, 4, 0, 201, 0, 0, 28],
        &[2; 28],
        &[0, 200, 0, 0, 2, 1, 0],
        &[5, 0, 1, 3, 0, 6, 5, 4],
    ]
    .concat();
    // Intents, an image, marks, an operator's word, a loss, and then a mark of what was never reached.
    let operations = (0..8)
        .chain([8, 14, 15, 16, 22, 24, 27, 28])
        .flat_map(|sample| [7, sample, 255, 0])
        .chain([6, 20, 0])
        .collect();
    // The same loss, as far as numbers go.
    let endless = vec![7, 0, 255, 0, 7, 28, 1, 248, 0, 6, 2, 0];
    // Two records are gone, and what speaks of them is there.
    let holes = vec![3, 1, 7, 0, 255, 0, 8, 1, 7, 8, 255, 0, 3, 42, 7, 1, 255, 0, 8, 1, 3, 44, 7, 8, 255, 0, 6, 50, 0];
    let tokens = ["\u{7f}", "\0\0\0\0\0\0\0\0", "\u{6}", "\u{7}\u{1c}\u{1}", "\u{3}", "\u{4}"];
    Fuzz { target: "stories", seeds: vec![whole, operations, endless, holes], tokens: &tokens, inputs: 5_000 }
        .run(|input| check(&scratch, &samples, input));
}
