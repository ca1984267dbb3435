//! Runs a target: every file of its corpus as it is, then what the mutator makes of them.
//!
//! What a target says about an input (it gives a number for it) is all the feedback there is: an input of a kind that was not
//! seen before joins those that are changed further. A failure is made shorter and printed so that it can be kept as a file of the
//! corpus; from then on it is a test. The seed is fixed, so that a run does not fail by chance; long runs bring their own.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::fmt::{Debug, Display};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::{Mutex, Once};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::mutator::{Chance, mutate};

/// No input may take longer, on however slow a machine. One that never comes back ends the process.
const MAX_TIME: Duration = Duration::from_secs(10);
/// A length that an input lies about must not be believed: beyond this the process is aborted.
const MAX_MEMORY_BYTES: u64 = 2 << 30;
/// Inputs of new kinds that are kept.
const MAX_POOL: usize = 4000;
/// How long a failing input is made shorter.
const MAX_SHRINK: Duration = Duration::from_secs(5);

/// A target and what it begins with.
pub struct Fuzz<'a> {
    /// Its name, and the folder of its corpus.
    pub target: &'a str,
    /// Inputs to begin with beside the corpus: what the code itself writes.
    pub seeds: Vec<Vec<u8>>,
    /// Words of its grammar.
    pub tokens: &'a [&'a str],
    /// How many inputs a usual run makes.
    pub inputs: u64,
}

impl Fuzz<'_> {
    /// Runs `check` on everything. It panics at what must not be, and else gives a number for what the input was.
    pub fn run(self, check: impl Fn(&[u8]) -> u64) {
        prepare();
        let corpus = self.corpus();
        let mut pool = Vec::new();
        let mut kinds = HashSet::new();
        for (path, input) in corpus {
            match attempt(&check, &input) {
                Ok(kind) => kinds.insert(kind),
                Err(why) => panic!("{}: {why}", path.display()),
            };
            pool.push(input);
        }
        assert!(!pool.is_empty(), "the corpus of {} is gone", self.target);
        for input in self.seeds.iter().cloned() {
            match attempt(&check, &input) {
                Ok(kind) => kinds.insert(kind),
                Err(why) => self.fail(&check, input, &why, "one of the seeds"),
            };
            pool.push(input);
        }
        let (seed, inputs) = (variable("LOCKSTEP_FUZZ_SEED", 1), variable("LOCKSTEP_FUZZ", 1) * self.inputs);
        // An abort leaves no message; with this the input that did it is in a file.
        let last = std::env::var_os("LOCKSTEP_FUZZ_LAST").map(PathBuf::from);
        let begun = Instant::now();
        let mut chance = Chance(seed);
        for number in 0..inputs {
            let input = mutate(&mut chance, &pool, self.tokens);
            if let Some(last) = &last {
                fs::write(last.with_extension(self.target), &input).unwrap();
            }
            match attempt(&check, &input) {
                Ok(kind) => {
                    if kinds.insert(kind) && pool.len() < MAX_POOL {
                        pool.push(input);
                    }
                }
                Err(why) => self.fail(&check, input, &why, &format!("input {number} of LOCKSTEP_FUZZ_SEED={seed}")),
            }
        }
        println!("{}: seed {seed}, {inputs} inputs in {:.1?}, {} kinds", self.target, begun.elapsed(), kinds.len());
    }

    fn folder(&self) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(self.target)
    }

    fn corpus(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut paths: Vec<PathBuf> =
            fs::read_dir(self.folder()).into_iter().flatten().map(|item| item.unwrap().path()).collect();
        paths.sort();
        paths.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
    }

    fn fail(&self, check: &impl Fn(&[u8]) -> u64, input: Vec<u8>, why: &str, which: &str) -> ! {
        let short = shrink(check, input);
        let why = attempt(check, &short).err().unwrap_or_else(|| why.to_owned());
        // Every shell's printf knows octal digits.
        let printable: String = short
            .iter()
            .map(
                |byte| {
                    if byte.is_ascii_alphanumeric() { char::from(*byte).to_string() } else { format!("\\{byte:03o}") }
                },
            )
            .collect();
        let file = self.folder().join(format!("find-{:08x}", kind_of_bytes(&short) >> 32));
        panic!(
            "{}, {which}: {why}\nb\"{}\"\nto keep it as a test: printf '{printable}' > {}",
            self.target,
            short.escape_ascii(),
            file.display(),
        );
    }
}

/// What the panic of this thread said last; `None` where panics are not caught here.
type Said = Option<String>;

thread_local! {
    static SAID: RefCell<Said> = const { RefCell::new(None) };
}

/// What each thread is at, and since when.
static RUNNING: Mutex<BTreeMap<String, (Instant, Vec<u8>)>> = Mutex::new(BTreeMap::new());

fn attempt(check: &impl Fn(&[u8]) -> u64, input: &[u8]) -> Result<u64, String> {
    let test = thread::current().name().unwrap_or_default().to_owned();
    let begun = Instant::now();
    RUNNING.lock().unwrap().insert(test.clone(), (begun, input.to_vec()));
    SAID.set(Some(String::new()));
    let done = panic::catch_unwind(AssertUnwindSafe(|| check(input)));
    let said = SAID.take().unwrap_or_default();
    let taken = begun.elapsed();
    RUNNING.lock().unwrap().remove(&test);
    match done {
        Err(_) => Err(said),
        Ok(_) if taken > MAX_TIME => Err(format!("it took {taken:?}")),
        Ok(kind) => Ok(kind),
    }
}

/// Catches what panics say instead of printing it, in threads that are within an attempt; and bounds memory.
fn prepare() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let others = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let caught = SAID.with_borrow_mut(|said| said.as_mut().map(|said| *said = info.to_string()));
            if caught.is_none() {
                others(info);
            }
        }));
        let hard = getrlimit(Resource::As).maximum;
        thread::spawn(watch);
        setrlimit(Resource::As, Rlimit { current: Some(MAX_MEMORY_BYTES), maximum: hard }).unwrap();
    });
}

/// Ends the process when an input does not come back, and says which: a test cannot be stopped from outside.
fn watch() {
    loop {
        thread::sleep(Duration::from_secs(1));
        for (test, (begun, input)) in &*RUNNING.lock().unwrap() {
            if begun.elapsed() > 2 * MAX_TIME {
                // Not printed: what threads of tests print is held back, and would be lost.
                let said = format!("{test}: this does not come back\nb\"{}\"\n", input.escape_ascii());
                drop(std::io::stderr().write_all(said.as_bytes()));
                std::process::exit(101);
            }
        }
    }
}

/// Leaves out ever smaller spans, as long as it still fails.
fn shrink(check: &impl Fn(&[u8]) -> u64, mut input: Vec<u8>) -> Vec<u8> {
    let until = Instant::now() + MAX_SHRINK;
    let mut length = input.len();
    while length > 0 {
        let mut at = 0;
        while at < input.len() && Instant::now() < until {
            let mut shorter = input.clone();
            shorter.drain(at..input.len().min(at + length));
            if attempt(check, &shorter).is_err() {
                input = shorter;
            } else {
                at += length;
            }
        }
        length /= 2;
    }
    input
}

fn variable(name: &str, usual: u64) -> u64 {
    std::env::var(name).map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// The kind of an answer: how it begins and ends, without what stands in quotes and without numbers. What a message repeats of
/// the input mostly stands between.
pub fn kind_of(answer: &impl Display) -> u64 {
    const BEGIN: usize = 12;
    const END: usize = 24;
    let text = answer.to_string();
    let (mut quoted, mut escaped) = (false, false);
    let mut letters = Vec::new();
    for c in text.chars() {
        quoted ^= c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        if !quoted && c.is_ascii_alphabetic() {
            letters.push(c);
        }
    }
    let end = letters.len().saturating_sub(END).max(BEGIN.min(letters.len()));
    let mut hasher = DefaultHasher::new();
    (&letters[..BEGIN.min(letters.len())], &letters[end..]).hash(&mut hasher);
    hasher.finish()
}

/// The kind of a value by its variant: the first word of its debug text.
pub fn variant(value: &impl Debug) -> u64 {
    let text = format!("{value:?}");
    kind_of(&text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default())
}

fn kind_of_bytes(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}
