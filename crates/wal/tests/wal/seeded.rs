//! Damages by the seed, of sled's own structures, too: a repair brings back what is whole in the bytes, and that alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use lockstep_model::{Lsn, State};
use lockstep_wal::repair::{Survey, Trial, sled_opens};
use lockstep_wal::{Entry, Log, Record};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::repair::{folded, mend};
use crate::support::{all, open};
use crate::written::{Written, at, chunks, contents, memory, memory_find, put};

/// A log of every kind of record, some of several chunks, some gone; what is live, and the bytes of its chunks.
fn many() -> (Written, BTreeMap<Lsn, Entry>) {
    let log = Written::new();
    let mut gone = Vec::new();
    for n in 0..150 {
        let key = format!("a:{}", n % 40);
        let op = log.op(put(&key, if n % 10 == 0 { 9_000 } else { 100 + n * 3 }));
        let mut records = Vec::new();
        if n % 3 == 0 {
            records.push(log.image(op, &key));
        }
        if n % 4 != 0 {
            for state in [State::SurrealCompleted, State::QdrantCompleted, State::Committed] {
                records.push(log.mark(&[op], state));
            }
            gone.push((op, records));
        }
        if n % 25 == 24 {
            for (op, records) in gone.drain(..) {
                log.leave(op, &records);
            }
        }
    }
    let live = all(log.log().as_ref()).into_iter().collect();
    log.close();
    (log, live)
}

fn hurt(dir: &Path, dice: &mut StdRng) {
    let path = dir.join("db");
    let mut db = fs::read(&path).unwrap();
    for _ in 0..dice.random_range(1..4) {
        let len = db.len();
        let at = dice.random_range(0..len);
        match dice.random_range(0..6) {
            0 => (0..dice.random_range(1..30))
                .for_each(|_| db[dice.random_range(0..len)] ^= 1 << dice.random_range(0..8)),
            1 => db[at..len.min(at + dice.random_range(1..20_000))].fill(0),
            2 => {
                let end = len.min(at + dice.random_range(1..5_000));
                dice.fill(&mut db[at..end]);
            }
            // sled's own: the head of a segment, the head of a message.
            3 => {
                let at = at / 524_288 * 524_288;
                let end = len.min(at + 20);
                dice.fill(&mut db[at..end]);
            }
            4 => {
                let place = memory_find(&db)[0];
                db[place - 12..place].fill(0xee);
            }
            _ => db.truncate(len - dice.random_range(0..len / 4)),
        }
    }
    fs::write(&path, db).unwrap();
    if dice.random_range(0..5) == 0 {
        fs::write(dir.join("conf"), b"nonsense").unwrap();
    }
    if dice.random_range(0..8) == 0 {
        fs::remove_file(dir.join("highwater")).unwrap();
    }
}

/// 200 damages: every live record whose chunks are whole comes back, byte for byte, nothing else does, and the log opens, clean.
#[test]
fn p1_every_record_whose_chunks_are_whole_comes_back() {
    let (log, live) = many();
    let (mut refused, mut came, mut lost) = (0, 0, 0);
    for seed in 0..200 {
        let place = memory();
        let dir = place.path().join("wal");
        fs::create_dir(&dir).unwrap();
        for (path, bytes) in contents(&log.path()) {
            fs::write(dir.join(path.file_name().unwrap()), bytes).unwrap();
        }
        hurt(&dir, &mut StdRng::seed_from_u64(seed));
        // What is whole in the bytes, told without the raw reader.
        let mut numbers: BTreeMap<Lsn, (u32, BTreeSet<u32>)> = BTreeMap::new();
        for (_, header, _) in chunks(&fs::read(dir.join("db")).unwrap()) {
            if let Some(lsn) = at(&header) {
                numbers.entry(lsn).or_insert((header.count(), BTreeSet::new())).1.insert(header.number);
            }
        }
        let whole = |lsn: &Lsn| numbers.get(lsn).is_some_and(|(count, found)| found.len() == *count as usize);

        let survey = Survey::of(&dir, true).unwrap();
        let scratch = memory();
        let opens = matches!(sled_opens(survey.durable(), &dir, scratch.path()), Trial::Opens);
        refused += u32::from(!opens);
        if opens && survey.is_whole() {
            assert!(live.keys().all(whole), "seed {seed}: nothing was said");
            continue;
        }
        mend(&dir);
        folded(&dir);
        let (opened, _) = open(&dir).unwrap();
        let found: BTreeMap<Lsn, Entry> = all(opened.as_ref()).into_iter().collect();
        opened.close().unwrap();
        // Without a mark nobody knows how far the log went: what follows is given out again.
        let end = numbers.keys().next_back().copied().filter(|_| survey.is_end_unknown());
        for (lsn, entry) in &live {
            if end.is_some_and(|end| *lsn > end) {
                lost += 1;
                continue;
            }
            let record = found.get(lsn).filter(|found| found.kind != Record::LOST);
            assert_eq!(record.is_some(), whole(lsn), "seed {seed}: record {lsn}, {}", survey.lost());
            if let Some(record) = record {
                assert_eq!(record, entry, "seed {seed}: record {lsn}");
                came += 1;
            } else {
                lost += 1;
            }
        }
        // The old tail is followed by nothing but what the repair had to say.
        let last = live.keys().next_back().unwrap();
        for (lsn, entry) in found.range(last.next()..) {
            assert!([Record::MARK, Record::LOST].contains(&entry.kind), "seed {seed}: record {lsn}");
        }
        assert!(Survey::of(&dir, true).unwrap().is_whole(), "seed {seed}: a second repair finds nothing");
    }
    println!("sled or its content refused in {refused} of 200; {came} records came back, {lost} were not whole");
    assert!(refused > 50 && lost > 100 && came > 10_000, "{refused} {lost} {came}");
}
