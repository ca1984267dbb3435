//! Points, vectors and stamps: how Lockstep's words look in Qdrant.

use std::collections::{BTreeMap, HashMap};

use lockstep_model::{DEFAULT_VECTOR, Distance, PointId, Shape, Vector, VectorKind, VectorSpec, Vectors};
use qdrant_edge::{
    Distance as EdgeDistance, EdgeConfig, EdgeSparseVectorParams, EdgeVectorParams, MultiVectorConfig, Payload,
    PointId as EdgeId, PointStructPersisted, SparseVector, VectorInternal, VectorPersisted, VectorStructInternal,
    VectorStructPersisted, WithPayloadInterface,
};
use serde_json::{Map, Value as Json};

use super::STORE;
use super::filter::path;
use crate::stamp::{STAMP_FIELD, stamp_of, with_stamp};
use crate::{Class, Point, PointStamp, StoreError};

/// Our id as Edge has it.
pub(super) const fn edge_id(id: PointId) -> EdgeId {
    match id {
        PointId::Num(number) => EdgeId::NumId(number),
        PointId::Uuid(uuid) => EdgeId::Uuid(uuid),
    }
}

/// Edge's id as we have it.
pub(super) const fn our_id(id: EdgeId) -> PointId {
    match id {
        EdgeId::NumId(number) => PointId::Num(number),
        EdgeId::Uuid(uuid) => PointId::Uuid(uuid),
    }
}

/// Qdrant's name of a vector: its unnamed one is our `default`. A sparse vector has to have a name: Edge writes one without, and panics when it
/// reads it.
pub(super) fn edge_name(name: &str, kind: VectorKind) -> &str {
    match kind {
        VectorKind::Dense | VectorKind::Multi if name == DEFAULT_VECTOR => "",
        VectorKind::Dense | VectorKind::Multi | VectorKind::Sparse => name,
    }
}

fn our_name(name: &str) -> &str {
    if name.is_empty() { DEFAULT_VECTOR } else { name }
}

/// The configuration of a shard of this shape.
pub(super) fn config(shape: &Shape) -> EdgeConfig {
    let mut config = EdgeConfig::default();
    for (name, spec) in &shape.0 {
        let name = edge_name(name, spec.kind).to_owned();
        match spec.kind {
            VectorKind::Sparse => {
                let params =
                    EdgeSparseVectorParams { full_scan_threshold: None, on_disk: None, modifier: None, datatype: None };
                config.sparse_vectors.insert(name, params);
            }
            VectorKind::Dense | VectorKind::Multi => {
                config.vectors.insert(name, dense_params(*spec));
            }
        }
    }
    config
}

fn dense_params(spec: VectorSpec) -> EdgeVectorParams {
    let distance = match spec.distance {
        Distance::Cosine => EdgeDistance::Cosine,
        Distance::Dot => EdgeDistance::Dot,
        Distance::Euclid => EdgeDistance::Euclid,
        Distance::Manhattan => EdgeDistance::Manhattan,
    };
    EdgeVectorParams {
        size: usize::try_from(spec.size).unwrap_or(usize::MAX),
        distance,
        on_disk: None,
        multivector_config: (spec.kind == VectorKind::Multi).then(MultiVectorConfig::default),
        datatype: None,
        quantization_config: None,
        hnsw_config: None,
    }
}

/// The point that an upsert writes.
pub(super) fn point(
    id: PointId,
    stamp: &PointStamp,
    vectors: &Vectors,
    payload: &Map<String, Json>,
) -> PointStructPersisted {
    let payload = with_stamp(payload, stamp);
    let named: HashMap<_, _> =
        vectors.0.iter().map(|(name, vector)| (edge_name(name, vector.kind()).to_owned(), persisted(vector))).collect();
    PointStructPersisted {
        id: edge_id(id),
        vector: VectorStructPersisted::Named(named),
        payload: Some(Payload(payload.into_iter().collect())),
    }
}

fn persisted(vector: &Vector) -> VectorPersisted {
    match vector {
        Vector::Dense(values) => VectorPersisted::Dense(values.clone()),
        Vector::Sparse { indices, values } => {
            VectorPersisted::Sparse(SparseVector { indices: indices.clone(), values: values.clone() })
        }
        Vector::Multi { dim, values } => VectorPersisted::MultiDense(rows(*dim, values)),
    }
}

fn rows(dim: u32, values: &[f32]) -> Vec<Vec<f32>> {
    let dim = usize::try_from(dim).unwrap_or(usize::MAX).max(1);
    values.chunks(dim).map(<[f32]>::to_vec).collect()
}

/// A query vector as Qdrant takes it for a vector of this spec; nothing if it does not fit.
pub(super) fn query(vector: &Vector, spec: VectorSpec) -> Option<VectorInternal> {
    match (vector, spec.kind) {
        (Vector::Dense(values), VectorKind::Dense) if vector.size() == spec.size => {
            Some(VectorInternal::Dense(values.clone()))
        }
        (Vector::Sparse { indices, values }, VectorKind::Sparse) => {
            Some(VectorInternal::Sparse(SparseVector { indices: indices.clone(), values: values.clone() }))
        }
        // One dense vector asks a multivector with a single row.
        (Vector::Dense(values) | Vector::Multi { values, .. }, VectorKind::Multi) if vector.size() == spec.size => {
            qdrant_edge::Vector::new_multi(rows(spec.size, values)).ok().map(|multi| multi.0)
        }
        _ => None,
    }
}

/// Everything that [`lockstep_model::Vectors`] can hold of a point's vectors.
fn vectors_of(vector: Option<VectorStructInternal>) -> Result<Vectors, StoreError> {
    let named: Vec<(String, VectorInternal)> = match vector {
        None => Vec::new(),
        Some(VectorStructInternal::Single(values)) => vec![(String::new(), VectorInternal::Dense(values))],
        Some(VectorStructInternal::MultiDense(multi)) => vec![(String::new(), VectorInternal::MultiDense(multi))],
        Some(VectorStructInternal::Named(named)) => named.into_iter().collect(),
    };
    let mut vectors = BTreeMap::new();
    for (name, vector) in named {
        let vector = match vector {
            VectorInternal::Dense(values) => Vector::dense(values),
            VectorInternal::Sparse(sparse) => Vector::sparse(&sparse.indices, &sparse.values),
            VectorInternal::MultiDense(multi) => {
                Vector::multi(u32::try_from(multi.dim).unwrap_or(0), multi.flattened_vectors)
            }
        };
        let vector = vector.map_err(|error| {
            StoreError::new(STORE, Class::NotApplied, format!("the store holds a vector that is none: {error}"))
        })?;
        vectors.insert(our_name(&name).to_owned(), vector);
    }
    Ok(Vectors(vectors))
}

/// What reads ask of the payload where only the stamp matters.
pub(super) fn stamp_only() -> WithPayloadInterface {
    WithPayloadInterface::Fields(vec![path(STAMP_FIELD)])
}

/// The stamp in a payload.
pub(super) fn stamp_in(payload: Option<&Payload>) -> PointStamp {
    stamp_of(payload.and_then(|payload| payload.0.get(STAMP_FIELD)))
}

/// A whole point as it was read.
pub(super) fn point_of(record: qdrant_edge::Record) -> Result<Point, StoreError> {
    let stamp = stamp_in(record.payload.as_ref());
    let mut payload: Map<String, Json> =
        record.payload.map(|payload| payload.0.into_iter().collect()).unwrap_or_default();
    payload.remove(STAMP_FIELD);
    Ok(Point { stamp, vectors: vectors_of(record.vector)?, payload })
}
