//! Points, ids, vectors and payloads in the types of the wire.

use std::collections::{BTreeMap, HashMap};

use lockstep_model::{PointId, Vector, VectorKind, Vectors};
use qdrant_client::qdrant::point_id::PointIdOptions;
use qdrant_client::qdrant::vectors::VectorsOptions;
use qdrant_client::qdrant::{
    DenseVector, MultiDenseVector, NamedVectors, PayloadIncludeSelector, PointId as WireId, PointStruct,
    RetrievedPoint, SparseVector, Value, Vector as WireVector, VectorInput, VectorOutput, Vectors as WireVectors,
    VectorsOutput, WithPayloadSelector, WithVectorsSelector, vector, vector_input, vector_output, vectors_output,
    with_payload_selector, with_vectors_selector,
};
use serde_json::{Map, Value as Json};
use uuid::Uuid;

use super::STORE;
use super::layout::Layout;
use crate::stamp::{STAMP_FIELD, stamp_of, with_stamp};
use crate::{Class, Point, PointStamp, StoreError};

/// An id for the wire.
pub(super) fn wire_id(id: PointId) -> WireId {
    let options = match id {
        PointId::Num(number) => PointIdOptions::Num(number),
        PointId::Uuid(uuid) => PointIdOptions::Uuid(uuid.hyphenated().to_string()),
    };
    WireId { point_id_options: Some(options) }
}

/// The id that the server sent.
pub(super) fn our_id(id: Option<WireId>) -> Result<PointId, StoreError> {
    match id.and_then(|id| id.point_id_options) {
        Some(PointIdOptions::Num(number)) => Ok(PointId::Num(number)),
        Some(PointIdOptions::Uuid(text)) => {
            Uuid::try_parse(&text).map(PointId::Uuid).map_err(|_| odd(format!("a point's id is no UUID: {text:?}")))
        }
        None => Err(odd("a point has no id")),
    }
}

/// The point that an upsert writes. Its vectors have been found to fit.
pub(super) fn point(
    id: PointId,
    stamp: &PointStamp,
    vectors: &Vectors,
    payload: &Map<String, Json>,
    layout: &Layout,
) -> PointStruct {
    let payload = with_stamp(payload, stamp).into_iter().map(|(name, json)| (name, Value::from(json))).collect();
    let named: Vec<_> = vectors.0.iter().map(|(name, vector)| (layout.wire_name(name), wire_vector(vector))).collect();
    let options = match <[_; 1]>::try_from(named) {
        // A collection with nothing but an unnamed vector gets it without a name.
        Ok([("", vector)]) => VectorsOptions::Vector(vector),
        Ok([(name, vector)]) => named_vectors([(name, vector)]),
        Err(named) => named_vectors(named),
    };
    PointStruct { id: Some(wire_id(id)), payload, vectors: Some(WireVectors { vectors_options: Some(options) }) }
}

fn named_vectors<'a>(named: impl IntoIterator<Item = (&'a str, WireVector)>) -> VectorsOptions {
    let vectors = named.into_iter().map(|(name, vector)| (name.to_owned(), vector)).collect();
    VectorsOptions::Vectors(NamedVectors { vectors })
}

fn wire_vector(vector: &Vector) -> WireVector {
    let vector = match vector {
        Vector::Dense(values) => vector::Vector::Dense(DenseVector { data: values.clone() }),
        Vector::Sparse { indices, values } => {
            vector::Vector::Sparse(SparseVector { values: values.clone(), indices: indices.clone() })
        }
        Vector::Multi { dim, values } => vector::Vector::MultiDense(rows(*dim, values)),
    };
    WireVector { vector: Some(vector), ..WireVector::default() }
}

fn rows(dim: u32, values: &[f32]) -> MultiDenseVector {
    let dim = usize::try_from(dim).unwrap_or(usize::MAX).max(1);
    MultiDenseVector { vectors: values.chunks(dim).map(|row| DenseVector { data: row.to_vec() }).collect() }
}

/// A query vector for a vector of this kind, which it has been found to fit: a dense one asks a multivector as a single row.
pub(super) fn query(vector: &Vector, kind: VectorKind) -> VectorInput {
    use vector_input::Variant;
    let variant = match vector {
        Vector::Dense(values) if kind == VectorKind::Multi => Variant::MultiDense(rows(vector.size(), values)),
        Vector::Dense(values) => Variant::Dense(DenseVector { data: values.clone() }),
        Vector::Sparse { indices, values } => {
            Variant::Sparse(SparseVector { values: values.clone(), indices: indices.clone() })
        }
        Vector::Multi { dim, values } => Variant::MultiDense(rows(*dim, values)),
    };
    VectorInput { variant: Some(variant) }
}

/// What reads ask of the payload where only the stamp matters.
pub(super) fn stamp_only() -> WithPayloadSelector {
    let include = PayloadIncludeSelector { fields: vec![STAMP_FIELD.to_owned()] };
    WithPayloadSelector { selector_options: Some(with_payload_selector::SelectorOptions::Include(include)) }
}

/// All of the payload.
pub(super) fn whole_payload() -> WithPayloadSelector {
    WithPayloadSelector { selector_options: Some(with_payload_selector::SelectorOptions::Enable(true)) }
}

/// All vectors, or none.
pub(super) fn vectors_wanted(enable: bool) -> WithVectorsSelector {
    WithVectorsSelector { selector_options: Some(with_vectors_selector::SelectorOptions::Enable(enable)) }
}

/// The stamp in a payload.
pub(super) fn stamp_in(mut payload: HashMap<String, Value>) -> PointStamp {
    stamp_of(payload.remove(STAMP_FIELD).map(Value::into_json).as_ref())
}

/// A whole point as it was read.
pub(super) fn point_of(point: RetrievedPoint, layout: &Layout) -> Result<Point, StoreError> {
    let mut payload: Map<String, Json> =
        point.payload.into_iter().map(|(name, value)| (name, value.into_json())).collect();
    let stamp = stamp_of(payload.remove(STAMP_FIELD).as_ref());
    Ok(Point { stamp, vectors: vectors_of(point.vectors, layout)?, payload })
}

fn vectors_of(vectors: Option<VectorsOutput>, layout: &Layout) -> Result<Vectors, StoreError> {
    use vectors_output::VectorsOptions;
    let named: Vec<(String, VectorOutput)> = match vectors.and_then(|vectors| vectors.vectors_options) {
        None => Vec::new(),
        Some(VectorsOptions::Vector(vector)) => vec![(String::new(), vector)],
        Some(VectorsOptions::Vectors(named)) => named.vectors.into_iter().collect(),
    };
    let mut vectors = BTreeMap::new();
    for (name, vector) in named {
        // What the layout does not show is hidden by a vector without a name.
        let Some(name) = layout.our_name(&name) else { continue };
        vectors.insert(name.to_owned(), our_vector(vector)?);
    }
    Ok(Vectors(vectors))
}

fn our_vector(vector: VectorOutput) -> Result<Vector, StoreError> {
    use vector_output::Vector as Output;
    let vector = match vector.into_vector() {
        Output::Dense(dense) => Vector::dense(dense.data),
        Output::Sparse(sparse) => Vector::sparse(&sparse.indices, &sparse.values),
        Output::MultiDense(multi) => {
            let dim = multi.vectors.first().map_or(0, |row| row.data.len());
            let values = multi.vectors.into_iter().flat_map(|row| row.data).collect();
            Vector::multi(u32::try_from(dim).unwrap_or(0), values)
        }
    };
    vector.map_err(|error| odd(format!("the store holds a vector that is none: {error}")))
}

/// The server answered what no answer of Qdrant's is. Nothing was done but reading.
pub(super) fn odd(detail: impl Into<String>) -> StoreError {
    StoreError::new(STORE, Class::NotApplied, detail)
}
