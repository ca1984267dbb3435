//! What can be configured of a table, as the configuration and the daemon's answers hold it.

use lockstep_model::TableRules;

use crate::driver::{Fuzz, kind_of};

const TOKENS: [&str; 22] = [
    "{\"vectors\":{\"a\":",
    "{",
    "}",
    ",",
    "\"collection\":\"c\"",
    "\"size\":3",
    "\"kind\":\"sparse\"",
    "\"kind\":\"multi\"",
    "\"distance\":\"dot\"",
    "\"required\":true",
    "\"payload\":[\"a\"]",
    "\"payload\":null",
    "\"stores\":\"qdrant\"",
    "\"stores\":\"surreal\"",
    "\"stores\":\"both\"",
    "\"keep_vector\":false",
    "\"point_id\":\"field:uid\"",
    "\"point_id\":\"key\"",
    "\"point_id\":\"hashed\"",
    "\"on_reject\":\"park\"",
    "\"on_reject\":\"rollback\"",
    "4294967295",
];

fn check(input: &[u8]) -> u64 {
    match serde_json::from_slice::<TableRules>(input) {
        Ok(rules) => {
            let written = serde_json::to_vec(&rules).unwrap();
            assert_eq!(serde_json::from_slice::<TableRules>(&written).unwrap(), rules);
            kind_of(&format!("{:?} {:?} {}", rules.stores, rules.on_reject, rules.vectors.is_some()))
        }
        Err(error) => kind_of(&error),
    }
}

#[test]
fn the_rules_of_a_table_come_back() {
    Fuzz { target: "tables", seeds: Vec::new(), tokens: &TOKENS, inputs: 40_000 }.run(check);
}
