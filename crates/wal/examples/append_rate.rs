//! How many records a second the log takes: `append_rate [dir] [records] [bytes] [group]`.
//!
//! The whole life of a record, as the engine gives it: appended and flushed, then a mark for the group and the removal
//! of what has ended, which ride along lazily.
#![expect(clippy::print_stdout, reason = "it prints what it measured")]

use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

use lockstep_model::Lsn;
use lockstep_wal::{Class, Durability, Entry, Group, Kind, Log, OpenOptions, SledLog};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let dir = args.next().map_or_else(|| PathBuf::from("append-rate.wal"), PathBuf::from);
    let mut number = |default: u64| args.next().map_or(Ok(default), |arg| arg.parse());
    let (records, bytes, size) = (number(50_000)?, number(2600)?, number(128)?);
    let options = OpenOptions { floor_bytes: 0, reserve_bytes: 0, ..OpenOptions::new(&dir) };
    let (log, _) = SledLog::open(options)?;
    let payload: Vec<u8> = (0..=250).cycle().take(usize::try_from(bytes)?).collect();

    let started = Instant::now();
    let mut former: Vec<Lsn> = Vec::new();
    let mut done = 0;
    while done < records {
        let mut group = Group::new(Durability::Flush, Class::Intake);
        group.entries = (0..size).map(|_| Entry { kind: Kind(1), payload: payload.clone() }).collect();
        let appended = log.append(group)?;
        appended.ticket.wait_blocking()?;
        let mut mark = Group::new(Durability::Lazy, Class::Drain);
        mark.entries.push(Entry { kind: Kind(2), payload: vec![0; 64] });
        mark.remove = std::mem::take(&mut former);
        let marked = log.append(mark)?;
        former = (appended.first.0..appended.first.0 + size).map(Lsn).collect();
        former.push(marked.first);
        done += size;
    }
    log.append(Group::new(Durability::Flush, Class::Drain))?.ticket.wait_blocking()?;
    let seconds = started.elapsed().as_secs_f64();
    let usage = log.usage();
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let rate = done as f64 / seconds;
    println!("{rate:.0} records/s ({done} of {bytes} bytes in groups of {size}, {seconds:.2} s)");
    println!("disk {} KiB, {} flushes, last {:?} us", usage.disk_bytes / 1024, usage.flushes, usage.last_flush_us);
    let resident = std::fs::read_to_string("/proc/self/status")?;
    println!("{}", resident.lines().find(|line| line.starts_with("VmRSS")).unwrap_or_default());
    log.close()?;
    Ok(())
}
