//! Configurations that nobody would write: each is taken or refused with a reason, and none of them ends the daemon in a panic.

use super::*;
use crate::config::tests::uncommented;
use crate::tests::fuzz::{chance, mutator, times};

const TOKENS: &[&str] = &[
    "[daemon]",
    "[wal]",
    "[surreal]",
    "[qdrant]",
    "[retry]",
    "[limits]",
    "[tables.memory]",
    "[tables.memory.vectors.title]",
    " = ",
    "\"",
    "\"4 GiB\"",
    "\"1 B\"",
    "\"99999999999 TiB\"",
    "-1",
    "0",
    "18446744073709551615",
    "1e308",
    "nan",
    "true",
    "[]",
    "{}",
    "\"\"\"",
    "\n",
    "size",
    "distance",
    "\"cosine\"",
    "\"field:uuid\"",
    "point_id",
    "payload",
    "stores",
    "\"qdrant\"",
    "\"ws://\"",
    "\"mem://\"",
    "'''",
];

/// P7: what cannot be understood is refused by name. Fails when a size overflows, or a value is taken for what it is not.
#[test]
fn no_configuration_ends_in_a_panic() {
    let mut chance = chance();
    let whole = uncommented();
    let tables = "[tables.memory]\npoint_id = \"field:uuid\"\nstores = \"both\"\npayload = [\"a\"]\n[tables.memory.vectors.title]\nsize = 4\ndistance = \"cosine\"\n";
    let mut pool = vec![whole.clone().into_bytes(), tables.as_bytes().to_vec()];
    // Short ones are changed where it matters.
    pool.extend(whole.split("\n\n").map(|part| part.as_bytes().to_vec()));
    let sources = Sources { data: Some("data".into()), ..Sources::default() };
    let (mut taken, mut refused) = (0, 0);
    for _ in 0..30_000 * times() {
        let input = mutator::mutate(&mut chance, &pool, TOKENS);
        let text = String::from_utf8_lossy(&input);
        let Ok(config) = toml::from_str::<Config>(&text) else {
            refused += 1;
            continue;
        };
        match Setup::new(&config, &sources) {
            Ok(_) => taken += 1,
            Err(error) => {
                assert!(!error.to_string().is_empty(), "{text}");
                refused += 1;
            }
        }
        if pool.len() < 2000 {
            pool.push(input);
        }
    }
    assert!(taken > 100 && refused > 100, "{taken} taken, {refused} refused: too little to prove anything");
}
