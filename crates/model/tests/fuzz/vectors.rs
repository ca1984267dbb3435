//! Vectors in every spelling, and as the bytes that the log and SurrealDB hold.

use lockstep_model::{Shape, Vector, Vectors, parse_json};

use crate::driver::{Fuzz, kind_of};

const TOKENS: [&str; 18] = [
    "[[",
    "[",
    "{\"indices\":[",
    "]",
    "}",
    "\"values\":",
    "\"indices\":",
    "\"default\":",
    "\"AACAPwAAAL8=\"",
    "\"AACAPwAAAL8\"",
    "\"-_-_AA\"",
    "\"AADAfw==\"",
    "1e39",
    "1e-46",
    "0.1",
    "4294967295",
    "4294967296",
    ",",
];

/// Numbers that are held, so that what is allocated is known to be no more than was sent.
fn numbers(vector: &Vector) -> usize {
    match vector {
        Vector::Dense(values) | Vector::Multi { values, .. } => values.len(),
        Vector::Sparse { indices, values } => indices.len() + values.len(),
    }
}

/// Holds for every set of vectors that was taken, however it came. Bytes tell -0.0 from 0.0.
fn hold(vectors: &Vectors) {
    let bytes = vectors.encode();
    let decoded = Vectors::decode(&bytes).unwrap();
    assert_eq!(decoded.encode(), bytes);
    assert_eq!((decoded.hash(), &decoded), (vectors.hash(), vectors));
    assert_eq!(Vectors::from_json(&vectors.to_json()).unwrap().encode(), bytes);
    let text = vectors.to_json().to_string();
    assert_eq!(Vectors::from_json(&parse_json(text.as_bytes()).unwrap()).unwrap().encode(), bytes);
    for vector in vectors.0.values() {
        let compact = Vectors::single(Vector::from_json(&vector.to_compact_json()).unwrap());
        assert_eq!(compact.encode(), Vectors::single(vector.clone()).encode());
    }
    for vector in vectors.0.values() {
        if let Vector::Sparse { indices, values } = vector {
            let backwards = |numbers: &[f32]| numbers.iter().rev().copied().collect::<Vec<_>>();
            let indices: Vec<u32> = indices.iter().rev().copied().collect();
            assert_eq!(Vector::sparse(&indices, &backwards(values)).as_ref(), Ok(vector));
        }
    }
    let shape = Shape::infer(vectors);
    assert_eq!(shape.check_put(vectors), Ok(()));
    assert_eq!(serde_json::from_value::<Shape>(serde_json::to_value(&shape).unwrap()).unwrap(), shape);
}

fn spelled(input: &[u8]) -> u64 {
    let Ok(json) = parse_json(input) else { return 0 };
    let one = Vector::from_json(&json).map(Vectors::single);
    let named = Vectors::from_json(&json);
    for vectors in one.iter().chain(&named) {
        hold(vectors);
    }
    let kind = |read: &Result<Vectors, _>| match read {
        Ok(vectors) => kind_of(&format!("{:?}", vectors.0.values().map(Vector::kind).collect::<Vec<_>>())),
        Err(error) => kind_of(error),
    };
    kind(&one).rotate_left(7) ^ kind(&named)
}

fn encoded(input: &[u8]) -> u64 {
    match Vectors::decode(input) {
        Ok(vectors) => {
            assert_eq!(vectors.encode(), input, "one set of vectors, two encodings");
            assert!(vectors.0.values().map(numbers).sum::<usize>() * 4 < input.len().max(1));
            hold(&vectors);
            vectors.0.values().fold(1, |all, vector| all * 3 + vector.kind() as u64)
        }
        Err(error) => kind_of(&error),
    }
}

#[test]
fn a_vector_is_the_same_in_every_spelling() {
    Fuzz { target: "vectors", seeds: Vec::new(), tokens: &TOKENS, inputs: 60_000 }.run(spelled);
}

#[test]
fn vectors_have_one_encoding() {
    let spelled = [
        r#"{"default":[1,-0.5]}"#,
        r#"{"a":{"indices":[7,9],"values":[0.1,-0.0]},"b":[[1,2],[3,4]],"ü":[1e-45]}"#,
        r#"{"s":{"indices":[0],"values":[1]},"t":[3.4e38,1]}"#,
    ];
    let seeds = spelled.map(|text| Vectors::from_json(&parse_json(text.as_bytes()).unwrap()).unwrap().encode());
    Fuzz { target: "vector_bytes", seeds: seeds.to_vec(), tokens: &["default", "\u{1}", "é"], inputs: 100_000 }
        .run(encoded);
}
