//! Points, ids, vectors and payloads between the wire and the engine.

use std::collections::HashMap;

use qdrant_client::qdrant::point_id::PointIdOptions;
use qdrant_client::qdrant::vector::Vector as WireOne;
use qdrant_client::qdrant::vectors::VectorsOptions;
use qdrant_client::qdrant::{
    DenseVector, MultiDenseVector, NamedVectorsOutput, PointId as WireId, PointStruct, RetrievedPoint, ScoredPoint,
    SparseVector as WireSparse, Value, Vector, VectorOutput, VectorsOutput, WithPayloadSelector, WithVectorsSelector,
    vector_output, vectors_output, with_payload_selector, with_vectors_selector,
};
use qdrant_edge::external::uuid::Uuid;
use qdrant_edge::{
    Payload, PointId, PointStructPersisted, Record, SparseVector, VectorInternal, VectorPersisted,
    VectorStructInternal, VectorStructPersisted, WithPayloadInterface, WithVector,
};
use tonic::Status;

use crate::filter::path;
use crate::status::wrong;

/// An id for the engine.
pub(crate) fn point_id(wire: WireId) -> Result<PointId, Status> {
    match wire.point_id_options.ok_or_else(|| wrong("No ID options provided"))? {
        PointIdOptions::Num(number) => Ok(PointId::NumId(number)),
        PointIdOptions::Uuid(text) => Uuid::parse_str(&text)
            .map(PointId::Uuid)
            .map_err(|_| Status::invalid_argument(format!("Unable to parse UUID: {text}"))),
    }
}

/// An id for the wire.
pub(crate) fn wire_id(id: PointId) -> WireId {
    let options = match id {
        PointId::NumId(number) => PointIdOptions::Num(number),
        PointId::Uuid(uuid) => PointIdOptions::Uuid(uuid.to_string()),
    };
    WireId { point_id_options: Some(options) }
}

/// A point for the engine.
pub(crate) fn point(wire: PointStruct) -> Result<PointStructPersisted, Status> {
    let id = point_id(wire.id.ok_or_else(|| wrong("Empty ID is not allowed"))?)?;
    let options = wire.vectors.and_then(|vectors| vectors.vectors_options);
    let vector = match options.ok_or_else(|| wrong("Expected some vectors"))? {
        VectorsOptions::Vector(wire) => match vector(wire)? {
            VectorPersisted::Dense(values) => VectorStructPersisted::Single(values),
            VectorPersisted::MultiDense(rows) => VectorStructPersisted::MultiDense(rows),
            VectorPersisted::Sparse(_) => return Err(wrong("Sparse vector must be named")),
        },
        VectorsOptions::Vectors(named) => VectorStructPersisted::Named(
            named.vectors.into_iter().map(|(name, wire)| Ok((name, vector(wire)?))).collect::<Result<_, Status>>()?,
        ),
    };
    let payload = wire.payload.into_iter().map(|(name, value)| (name, value.into_json())).collect();
    Ok(PointStructPersisted { id, vector, payload: Some(Payload(payload)) })
}

fn vector(wire: Vector) -> Result<VectorPersisted, Status> {
    match wire.vector.ok_or_else(|| wrong("this server wants vectors as clients since 1.16 send them"))? {
        WireOne::Dense(dense) => Ok(VectorPersisted::Dense(dense.data)),
        WireOne::Sparse(wire) => Ok(VectorPersisted::Sparse(sparse(wire)?)),
        WireOne::MultiDense(rows) => Ok(VectorPersisted::MultiDense(self::rows(rows))),
        WireOne::Document(_) | WireOne::Image(_) | WireOne::Object(_) => Err(Status::unimplemented("inference")),
    }
}

/// A sparse vector for the engine.
pub(crate) fn sparse(wire: WireSparse) -> Result<SparseVector, Status> {
    SparseVector::new(wire.indices, wire.values).map_err(wrong)
}

/// The rows of a multivector.
pub(crate) fn rows(wire: MultiDenseVector) -> Vec<Vec<f32>> {
    wire.vectors.into_iter().map(|row| row.data).collect()
}

/// Which payload a reader wants.
pub(crate) fn with_payload(wire: Option<WithPayloadSelector>) -> Result<WithPayloadInterface, Status> {
    use with_payload_selector::SelectorOptions;
    Ok(match wire.and_then(|wire| wire.selector_options) {
        None => false.into(),
        Some(SelectorOptions::Enable(enable)) => enable.into(),
        Some(SelectorOptions::Include(include)) => {
            WithPayloadInterface::Fields(include.fields.iter().map(|field| path(field)).collect::<Result<_, _>>()?)
        }
        Some(SelectorOptions::Exclude(_)) => return Err(Status::unimplemented("payload exclusion")),
    })
}

/// Which vectors a reader wants.
pub(crate) fn with_vectors(wire: Option<WithVectorsSelector>) -> WithVector {
    use with_vectors_selector::SelectorOptions;
    match wire.and_then(|wire| wire.selector_options) {
        None => WithVector::Bool(false),
        Some(SelectorOptions::Enable(enable)) => WithVector::Bool(enable),
        Some(SelectorOptions::Include(include)) => WithVector::Selector(include.names),
    }
}

/// A point that was read.
pub(crate) fn retrieved(record: Record) -> RetrievedPoint {
    RetrievedPoint {
        id: Some(wire_id(record.id)),
        payload: payload(record.payload),
        vectors: vectors(record.vector),
        ..RetrievedPoint::default()
    }
}

/// A point that was found.
pub(crate) fn scored(point: qdrant_edge::ScoredPoint) -> ScoredPoint {
    ScoredPoint {
        id: Some(wire_id(point.id)),
        payload: payload(point.payload),
        score: point.score,
        version: point.version,
        vectors: vectors(point.vector),
        ..ScoredPoint::default()
    }
}

fn payload(payload: Option<Payload>) -> HashMap<String, Value> {
    payload.map(|payload| payload.0.into_iter().map(|(name, json)| (name, json.into())).collect()).unwrap_or_default()
}

fn vectors(vectors: Option<VectorStructInternal>) -> Option<VectorsOutput> {
    use vectors_output::VectorsOptions;
    let options = match vectors? {
        VectorStructInternal::Single(values) => VectorsOptions::Vector(output(VectorInternal::Dense(values))),
        VectorStructInternal::MultiDense(rows) => VectorsOptions::Vector(output(VectorInternal::MultiDense(rows))),
        VectorStructInternal::Named(mut named) => match (named.len(), named.remove("")) {
            (1, Some(unnamed)) => VectorsOptions::Vector(output(unnamed)),
            (_, unnamed) => {
                named.extend(unnamed.map(|vector| (String::new(), vector)));
                let vectors = named.into_iter().map(|(name, vector)| (name, output(vector))).collect();
                VectorsOptions::Vectors(NamedVectorsOutput { vectors })
            }
        },
    };
    Some(VectorsOutput { vectors_options: Some(options) })
}

fn output(vector: VectorInternal) -> VectorOutput {
    use vector_output::Vector;
    let vector = match vector {
        VectorInternal::Dense(data) => Vector::Dense(DenseVector { data }),
        VectorInternal::Sparse(sparse) => Vector::Sparse(WireSparse { values: sparse.values, indices: sparse.indices }),
        VectorInternal::MultiDense(multi) => {
            let rows = multi.flattened_vectors.chunks(multi.dim.max(1));
            let vectors = rows.map(|row| DenseVector { data: row.to_vec() }).collect();
            Vector::MultiDense(MultiDenseVector { vectors })
        }
    };
    VectorOutput { vector: Some(vector), ..VectorOutput::default() }
}
