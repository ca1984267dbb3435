//! Idempotency keys for lines that have none.
//!
//! The key of a line is a hash of the input from its beginning to the end of that line. The same file fed
//! again has the same keys, and each of its lines gets its first answer again. A file that was changed in
//! the middle has new keys from there on: all that follows the change runs, in its order, so that an old
//! answer can never stand in for a write that has to come after the change.

use blake3::Hasher;
use bytes::{BufMut, Bytes, BytesMut};
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use uuid::Uuid;

/// Makes the keys of one input.
#[derive(Debug, Clone)]
pub(crate) struct Stamp {
    hasher: Hasher,
}

impl Stamp {
    /// The same input gets the same keys whenever it is fed.
    pub(crate) fn same_again() -> Self {
        Self { hasher: Hasher::new() }
    }

    /// This time the input gets keys that it never had.
    pub(crate) fn anew() -> Self {
        let mut hasher = Hasher::new();
        hasher.update(Uuid::new_v4().as_bytes());
        Self { hasher }
    }

    /// The input goes on with these bytes.
    pub(crate) fn read(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
    }

    /// The line that ends here, as it is to be sent: with a key, if it is an operation without one.
    pub(crate) fn stamped(&self, line: &[u8]) -> Bytes {
        let line = line.trim_ascii();
        let mut sent = BytesMut::with_capacity(line.len() + 70);
        match line.strip_suffix(b"}") {
            Some(open) if wants_key(line) => {
                sent.put_slice(open);
                sent.put_slice(format!(r#","idempotency_key":"{}"}}"#, self.key()).as_bytes());
            }
            Some(_) | None => sent.put_slice(line),
        }
        sent.put_u8(b'\n');
        sent.freeze()
    }

    fn key(&self) -> String {
        let hash = self.hasher.finalize().to_hex();
        format!("bulk:{}", &hash[..32])
    }
}

/// Whether a line is a JSON object with members, and none of them an idempotency key.
fn wants_key(line: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Peek {
        #[serde(default)]
        idempotency_key: Present,
    }
    let has_members = line.strip_prefix(b"{").is_some_and(|rest| rest.trim_ascii_start() != b"}");
    has_members && serde_json::from_slice::<Peek>(line).is_ok_and(|peek| !peek.idempotency_key.0)
}

/// Whether a member is there, also if it is null.
#[derive(Default)]
struct Present(bool);

impl<'de> Deserialize<'de> for Present {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self(true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamped(stamp: &mut Stamp, line: &str) -> String {
        stamp.read(line.as_bytes());
        stamp.read(b"\n");
        String::from_utf8(stamp.stamped(line.as_bytes()).to_vec()).unwrap()
    }

    #[test]
    fn an_operation_gets_a_key_and_stays_json() {
        let sent = stamped(&mut Stamp::same_again(), r#" {"op":"delete","key":"a:1"} "#);
        let value: serde_json::Value = serde_json::from_str(&sent).unwrap();
        assert_eq!(value["key"], "a:1");
        assert_eq!(value["idempotency_key"].as_str().unwrap().len(), "bulk:".len() + 32);
        assert!(sent.ends_with("\"}\n"));
    }

    #[test]
    fn what_has_a_key_or_is_no_operation_is_sent_as_it_is() {
        let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
        let lines = [
            r#"{"op":"delete","key":"a:1","idempotency_key":"mine"}"#,
            r#"{"op":"delete","idempotency_key":null}"#,
            r#"{"op":"put""#,
            "{}",
            "{ }",
            "[1]",
            "}",
            "tide",
            deep.as_str(),
        ];
        for line in lines {
            assert_eq!(stamped(&mut Stamp::same_again(), line), format!("{line}\n"));
        }
    }

    #[test]
    fn a_change_gives_new_keys_from_there_on() {
        let keys = |lines: &[&str]| {
            let mut stamp = Stamp::same_again();
            lines.iter().map(|line| stamped(&mut stamp, line)).collect::<Vec<_>>()
        };
        let first = keys(&[r#"{"a":1}"#, r#"{"a":2}"#, r#"{"a":3}"#]);
        assert_eq!(first, keys(&[r#"{"a":1}"#, r#"{"a":2}"#, r#"{"a":3}"#]));
        let changed = keys(&[r#"{"a":1}"#, r#"{"a":9}"#, r#"{"a":3}"#]);
        assert_eq!(first[0], changed[0]);
        assert_ne!(first[2], changed[2]);
        let twice = keys(&[r#"{"a":1}"#, r#"{"a":1}"#]);
        assert_ne!(twice[0], twice[1]);
    }

    #[test]
    fn anew_never_repeats() {
        let line = r#"{"a":1}"#;
        assert_ne!(stamped(&mut Stamp::anew(), line), stamped(&mut Stamp::anew(), line));
    }
}
