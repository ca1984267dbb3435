//! Bodies of bulk requests that nobody would send, divided anywhere: every line is answered, in its order and for itself.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tokio::io::AsyncWriteExt;

use self::mutator::Chance;
use super::support::{Answer, Fixture, read, run};

#[expect(unreachable_pub, reason = "the fuzz tests of other crates share it")]
#[path = "../../../model/tests/fuzz/mutator.rs"]
pub(crate) mod mutator;

/// How many times as many inputs are wanted.
pub(crate) fn times() -> usize {
    number("LOCKSTEP_FUZZ")
}

/// Where chance begins.
pub(crate) fn chance() -> Chance {
    Chance(number("LOCKSTEP_FUZZ_SEED") as u64)
}

fn number(variable: &str) -> usize {
    std::env::var(variable)
        .map_or(1, |text| text.parse().unwrap_or_else(|_| panic!("{variable} is a number, and not {text}")))
}

/// What separates lines, and what looks as if it did; and words of operations.
pub(crate) const TOKENS: &[&str] = &[
    "\n",
    "\n\n",
    "\r\n",
    "\r",
    "  \n",
    "\u{2028}",
    "\\n",
    "{",
    "}",
    "[",
    "]",
    "\"",
    "\"op\":\"put\",",
    "\"op\":\"delete\",",
    "\"key\":\"memory:1\",",
    "\"document\":{},",
    "\"vector\":[1,0],",
    "\"if_absent\":true,",
    "\"idempotency_key\":\"k\",",
    "{\"op\":\"put\",\"key\":\"memory:2\",\"document\":{\"n\":1}}\n",
    "{\"op\":\"delete\",\"key\":\"memory:2\"}\n",
];

/// Files of operations, line by line, that the fuzz tests of the model began with or found, and what was found here.
pub(crate) fn corpus() -> Vec<Vec<u8>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = [here.join("tests/fuzz/corpus/bulk"), here.join("../model/tests/fuzz/corpus/operations")];
    let files = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap());
    let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    paths.sort();
    let corpus: Vec<Vec<u8>> = paths.into_iter().map(|path| fs::read(path).unwrap()).collect();
    assert!(corpus.len() > 3, "the corpus is gone");
    corpus
}

/// The input in pieces, some of them empty.
pub(crate) fn pieces(chance: &mut Chance, input: &[u8]) -> Vec<Vec<u8>> {
    let mut cuts: Vec<usize> = (0..chance.below(8)).map(|_| chance.below(input.len() + 1)).collect();
    cuts.sort_unstable();
    cuts.push(input.len());
    let mut from = 0;
    let mut piece = |end| {
        let piece = input[from..end].to_vec();
        from = end;
        piece
    };
    cuts.into_iter().map(&mut piece).collect()
}

/// The lines that are to be answered.
fn lines(input: &[u8]) -> Vec<u64> {
    let numbered = (1..).zip(input.split(|byte| *byte == b'\n'));
    numbered.filter(|(_, line)| !line.trim_ascii().is_empty()).map(|(number, _)| number).collect()
}

async fn send(daemon: &Fixture, pieces: &[Vec<u8>]) -> Answer {
    let mut stream = daemon.connect().await;
    let head =
        "POST /v1/bulk?ack=logged HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    // An empty chunk would end the body.
    for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
        stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes()).await.unwrap();
        stream.write_all(piece).await.unwrap();
        stream.write_all(b"\r\n").await.unwrap();
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    read(&mut stream).await
}

/// Fails when a line gets no answer, two, another's, or one that tells neither a place in the log nor a code; and when something that was
/// taken does not end.
#[test]
fn every_line_of_a_bulk_request_is_answered_whatever_it_holds() {
    run(async {
        let daemon = Fixture::start().await;
        let (mut chance, pool) = (chance(), corpus());
        let (mut taken, mut refused) = (0, 0);
        for number in 0..120 * times() {
            // The corpus first, as it is.
            let input = pool.get(number).cloned().unwrap_or_else(|| mutator::mutate(&mut chance, &pool, TOKENS));
            let pieces = pieces(&mut chance, &input);
            let answer = send(&daemon, &pieces).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            let answers = answer.lines();
            let shown = String::from_utf8_lossy(&input);
            let numbers: Vec<u64> = answers.iter().map(|answer| answer["line"].as_u64().unwrap()).collect();
            assert_eq!(numbers, lines(&input), "{shown}");
            for answer in &answers {
                match (&answer["op_id"], &answer["error"]["code"]) {
                    (Value::String(_), _) => taken += 1,
                    (_, Value::String(_)) => refused += 1,
                    _ => panic!("{answer} to a line of {shown}"),
                }
            }
        }
        assert!(taken > 100 && refused > 100, "{taken} taken, {refused} refused: too little to prove anything");
        assert_eq!(daemon.post("/v1/barrier?timeout=60s", "").await.status, 200, "all of it ends");
        daemon.is_well().await;
        daemon.stop().await;
    });
}
