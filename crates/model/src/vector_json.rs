//! Vectors in JSON: the four forms that callers send, and how they are given back.

use serde_json::{Map, Value as Json, json};

use crate::tag;
use crate::vector::{MAX_MULTI_NUMBERS, MAX_VECTOR_DIM, MAX_VECTORS, Vector, VectorError, Vectors, check_name};

impl Vector {
    /// Reads a vector: an array of numbers, base64 of little-endian f32, an object of `indices` and
    /// `values` (in any order), or an array of arrays.
    pub fn from_json(json: &Json) -> Result<Self, VectorError> {
        match json {
            Json::String(text) => dense_from_base64(text),
            Json::Array(items) if items.first().is_some_and(Json::is_array) => multi_from_rows(items),
            Json::Array(items) => Self::dense(numbers(items, MAX_VECTOR_DIM)?),
            Json::Object(members) => sparse_from_members(members),
            Json::Null | Json::Bool(_) | Json::Number(_) => Err(VectorError::Form),
        }
    }

    /// As readers get it: an array of numbers, an object, or an array of arrays.
    #[must_use]
    pub fn to_json(&self) -> Json {
        match self {
            Self::Dense(values) => numbers_to_json(values),
            Self::Sparse { indices, values } => json!({"indices": indices, "values": numbers_to_json(values)}),
            Self::Multi { dim, values } => {
                let dim = usize::try_from(*dim).unwrap_or(usize::MAX).max(1);
                values.chunks(dim).map(numbers_to_json).collect()
            }
        }
    }

    /// As short as it gets: dense vectors as base64, the others as in [`Vector::to_json`].
    #[must_use]
    pub fn to_compact_json(&self) -> Json {
        match self {
            Self::Dense(values) => {
                let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
                Json::from(tag::base64_text(&bytes))
            }
            Self::Sparse { .. } | Self::Multi { .. } => self.to_json(),
        }
    }
}

impl Vectors {
    /// Reads an object of vectors by name.
    pub fn from_json(json: &Json) -> Result<Self, VectorError> {
        let members = json.as_object().ok_or(VectorError::Names)?;
        if members.len() > MAX_VECTORS {
            return Err(VectorError::TooMany(members.len()));
        }
        let mut vectors = Self::default();
        for (name, member) in members {
            check_name(name)?;
            let vector = Vector::from_json(member)
                .map_err(|source| VectorError::Named { name: name.clone(), source: Box::new(source) })?;
            vectors.0.insert(name.clone(), vector);
        }
        Ok(vectors)
    }

    /// As readers get them: an object of vectors by name.
    #[must_use]
    pub fn to_json(&self) -> Json {
        Json::Object(self.0.iter().map(|(name, vector)| (name.clone(), vector.to_json())).collect())
    }
}

fn dense_from_base64(text: &str) -> Result<Vector, VectorError> {
    let bytes = tag::parse_base64(text).ok_or(VectorError::Base64)?;
    let (words, []) = bytes.as_chunks::<4>() else {
        return Err(VectorError::Base64);
    };
    Vector::dense(words.iter().copied().map(f32::from_le_bytes).collect())
}

fn sparse_from_members(members: &Map<String, Json>) -> Result<Vector, VectorError> {
    let (Some(Json::Array(indices)), Some(Json::Array(values)), 2) =
        (members.get("indices"), members.get("values"), members.len())
    else {
        return Err(VectorError::Form);
    };
    if indices.len() > MAX_VECTOR_DIM {
        return Err(VectorError::TooLong(indices.len(), MAX_VECTOR_DIM));
    }
    let index = |(place, item): (usize, &Json)| {
        item.as_u64().and_then(|index| u32::try_from(index).ok()).ok_or(VectorError::Index(place))
    };
    let indices = indices.iter().enumerate().map(index).collect::<Result<Vec<_>, _>>()?;
    Vector::sparse(&indices, &numbers(values, MAX_VECTOR_DIM)?)
}

fn multi_from_rows(rows: &[Json]) -> Result<Vector, VectorError> {
    let mut values = Vec::new();
    let mut dim = 0;
    for (place, row) in rows.iter().enumerate() {
        let items = row.as_array().ok_or(VectorError::Form)?;
        if place == 0 {
            dim = items.len();
        }
        if items.is_empty() {
            return Err(VectorError::Empty);
        }
        if items.len() != dim {
            return Err(VectorError::Ragged(place));
        }
        let total = values.len() + items.len();
        if total > MAX_MULTI_NUMBERS {
            return Err(VectorError::TooLong(total, MAX_MULTI_NUMBERS));
        }
        values.extend(numbers(items, MAX_VECTOR_DIM)?);
    }
    let dim = u32::try_from(dim).map_err(|_| VectorError::TooLong(dim, MAX_VECTOR_DIM))?;
    Vector::multi(dim, values)
}

fn numbers(items: &[Json], max: usize) -> Result<Vec<f32>, VectorError> {
    if items.len() > max {
        return Err(VectorError::TooLong(items.len(), max));
    }
    items
        .iter()
        .enumerate()
        .map(|(place, item)| {
            let number = narrow(item.as_f64().ok_or(VectorError::Form)?);
            if number.is_finite() { Ok(number) } else { Err(VectorError::NotFinite(place)) }
        })
        .collect()
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "vectors are f32: rounded here, once; an overflow becomes infinite"
)]
const fn narrow(number: f64) -> f32 {
    number as f32
}

fn numbers_to_json(values: &[f32]) -> Json {
    values.iter().map(|value| Json::from(widened(*value))).collect()
}

/// The double with the fewest digits that is this float: 0.1, and not 0.10000000149011612.
fn widened(value: f32) -> f64 {
    let exact = f64::from(value);
    value.to_string().parse().ok().filter(|short| narrow(*short).to_bits() == value.to_bits()).unwrap_or(exact)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::any_vectors;
    use proptest::prelude::*;

    #[test]
    fn the_four_forms() {
        let dense = Vector::Dense(vec![1.0, -0.5]);
        for json in [json!([1, -0.5]), json!("AACAPwAAAL8="), json!("AACAPwAAAL8")] {
            assert_eq!(Vector::from_json(&json), Ok(dense.clone()), "{json}");
        }
        assert_eq!(
            Vector::from_json(&json!({"indices": [9, 4_294_967_295_u32, 7], "values": [1, 2, 3]})),
            Ok(Vector::Sparse { indices: vec![7, 9, u32::MAX], values: vec![3.0, 1.0, 2.0] })
        );
        assert_eq!(
            Vector::from_json(&json!([[1, 2], [3, 4]])),
            Ok(Vector::Multi { dim: 2, values: vec![1.0, 2.0, 3.0, 4.0] })
        );
    }

    #[test]
    fn what_is_not_a_vector() {
        for (json, want) in [
            (json!(null), VectorError::Form),
            (json!(1), VectorError::Form),
            (json!({}), VectorError::Form),
            (json!(["1"]), VectorError::Form),
            (json!([1, [2]]), VectorError::Form),
            (json!([[1], 2]), VectorError::Form),
            (json!([]), VectorError::Empty),
            (json!(""), VectorError::Empty),
            (json!([[]]), VectorError::Empty),
            (json!({"indices": [], "values": []}), VectorError::Empty),
            (json!([1, 1e39]), VectorError::NotFinite(1)),
            (json!([-1e39]), VectorError::NotFinite(0)),
            (json!("AADAfw=="), VectorError::NotFinite(0)),
            (json!("AAAA"), VectorError::Base64),
            (json!("AACAPwA="), VectorError::Base64),
            (json!("not base64!"), VectorError::Base64),
            (json!({"indices": [1, 1], "values": [1, 2]}), VectorError::TwiceIndex(1)),
            (json!({"indices": [1], "values": [1, 2]}), VectorError::Unpaired { indices: 1, values: 2 }),
            (json!({"indices": [1, -1], "values": [1, 2]}), VectorError::Index(1)),
            (json!({"indices": [4_294_967_296_u64], "values": [1]}), VectorError::Index(0)),
            (json!({"indices": [1.5], "values": [1]}), VectorError::Index(0)),
            (json!({"indices": [1], "values": [1], "size": 3}), VectorError::Form),
            (json!([[1, 2], [3]]), VectorError::Ragged(1)),
            (json!(vec![0; MAX_VECTOR_DIM + 1]), VectorError::TooLong(MAX_VECTOR_DIM + 1, MAX_VECTOR_DIM)),
        ] {
            assert_eq!(Vector::from_json(&json), Err(want), "{:.80}", json.to_string());
        }
        assert!(Vector::from_json(&json!(vec![0; MAX_VECTOR_DIM])).is_ok());
    }

    #[test]
    fn names_are_checked_and_named() {
        assert_eq!(Vectors::from_json(&json!([])), Err(VectorError::Names));
        assert!(matches!(Vectors::from_json(&json!({"": [1]})), Err(VectorError::Name(_))));
        assert!(matches!(Vectors::from_json(&json!({"a\n": [1]})), Err(VectorError::Name(_))));
        let error = Vectors::from_json(&json!({"title": [1], "body": []})).unwrap_err();
        assert_eq!(error.story(), "the vector \"body\": a vector cannot be empty");
        let many = Json::Object((0..=MAX_VECTORS).map(|n| (n.to_string(), json!([1]))).collect());
        assert_eq!(Vectors::from_json(&many), Err(VectorError::TooMany(MAX_VECTORS + 1)));
    }

    #[test]
    fn numbers_are_given_back_as_they_were_written() {
        let json = json!([0.1, 0.2, 1.0, -3.4e38, 1e-45]);
        assert_eq!(Vector::from_json(&json).unwrap().to_json(), json);
    }

    proptest! {
        #[test]
        fn json_gives_back_every_vector(vectors in any_vectors()) {
            prop_assert_eq!(&Vectors::from_json(&vectors.to_json()).unwrap(), &vectors);
            for vector in vectors.0.values() {
                prop_assert_eq!(&Vector::from_json(&vector.to_compact_json()).unwrap(), vector);
            }
        }
    }
}
