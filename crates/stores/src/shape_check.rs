//! Whether writes and queries fit a collection: judged before Qdrant is asked, which may apply what comes before a bad point, or lose
//! it with a good answer.

use lockstep_model::{Shape, Vector, VectorKind, VectorSpec};

use crate::{Class, PointWrite, SearchAsk, StoreError};

/// All writes fit the shape.
///
/// # Errors
/// [`Class::Refused`], with the key of the first that does not.
pub(crate) fn check_writes(store: &'static str, shape: &Shape, writes: &[PointWrite]) -> Result<(), StoreError> {
    for write in writes {
        let (vectors, key) = match write {
            PointWrite::Upsert { vectors, key, .. } => (vectors, Some(key)),
            PointWrite::Restore { to: Some(point), .. } => (&point.vectors, point.stamp.key.as_ref()),
            PointWrite::Restore { to: None, .. } | PointWrite::Delete { .. } => continue,
        };
        if let Err(refusal) = shape.check_patch(vectors) {
            let name = key.map_or_else(|| write.id().to_string(), ToString::to_string);
            let error = StoreError::new(store, Class::Refused, format!("{name}: {}", refusal.detail));
            return Err(StoreError { culprit: key.cloned(), ..error });
        }
    }
    Ok(())
}

/// What the vector asked for is like; the query fits it.
///
/// # Errors
/// [`Class::Refused`]
pub(crate) fn check_ask(store: &'static str, shape: &Shape, ask: &SearchAsk) -> Result<VectorSpec, StoreError> {
    let refused = |detail: String| StoreError::new(store, Class::Refused, detail);
    let Some(spec) = shape.0.get(&ask.using).copied() else {
        let known: Vec<&str> = shape.0.keys().map(String::as_str).collect();
        return Err(refused(format!("no vector is called {:?}; there is: {}", ask.using, known.join(", "))));
    };
    let fits = match (&ask.vector, spec.kind) {
        // One dense vector asks a multivector with a single row.
        (Vector::Dense(_), VectorKind::Dense | VectorKind::Multi) | (Vector::Multi { .. }, VectorKind::Multi) => {
            ask.vector.size() == spec.size
        }
        (Vector::Sparse { .. }, VectorKind::Sparse) => true,
        (Vector::Dense(_), VectorKind::Sparse)
        | (Vector::Sparse { .. }, VectorKind::Dense | VectorKind::Multi)
        | (Vector::Multi { .. }, VectorKind::Dense | VectorKind::Sparse) => false,
    };
    if fits {
        return Ok(spec);
    }
    let (kind, size) = (ask.vector.kind(), ask.vector.size());
    Err(refused(format!("the vector {:?} is {spec}, the query is {kind} of {size} dimensions", ask.using)))
}
