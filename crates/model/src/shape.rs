//! The shape of a table's vectors: which there are, of what kind and size, and whether they must be there.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::refusal::{Code, Refusal};
use crate::vector::{Vector, Vectors};

/// How vectors are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Distance {
    /// By their angle.
    #[default]
    Cosine,
    /// By their dot product.
    Dot,
    /// By the straight line between them.
    Euclid,
    /// By the sum of the differences.
    Manhattan,
}

impl Distance {
    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cosine => "cosine",
            Self::Dot => "dot",
            Self::Euclid => "euclid",
            Self::Manhattan => "manhattan",
        }
    }
}

impl fmt::Display for Distance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How a vector's numbers are arranged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VectorKind {
    /// One number for each dimension.
    #[default]
    Dense,
    /// Numbers for some dimensions.
    Sparse,
    /// Several dense vectors of one size.
    Multi,
}

impl VectorKind {
    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dense => "dense",
            Self::Sparse => "sparse",
            Self::Multi => "multi",
        }
    }
}

impl fmt::Display for VectorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a collection wants of one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct VectorSpec {
    /// Its kind.
    #[serde(default)]
    pub kind: VectorKind,
    /// Its dimensions; 0 for a sparse one, which has no size.
    #[serde(default)]
    pub size: u32,
    /// How it is compared.
    #[serde(default)]
    pub distance: Distance,
    /// Whether every put must bring it.
    #[serde(default)]
    pub required: bool,
}

impl fmt::Display for VectorSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            VectorKind::Sparse => self.kind.fmt(f),
            VectorKind::Dense | VectorKind::Multi => write!(f, "{} of {} dimensions", self.kind, self.size),
        }
    }
}

/// What a collection wants, by vector name. An empty shape: the table has no vectors.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Shape(pub BTreeMap<String, VectorSpec>);

impl Shape {
    /// The shape that `vectors` fit: what a collection gets that is created on first use.
    #[must_use]
    pub fn infer(vectors: &Vectors) -> Self {
        Self(vectors.0.iter().map(|(name, vector)| (name.clone(), spec_of(vector))).collect())
    }

    /// Whether an entity with exactly these vectors fits.
    pub fn check_put(&self, vectors: &Vectors) -> Result<(), Refusal> {
        let missing = self.0.iter().find(|(name, spec)| spec.required && !vectors.0.contains_key(*name));
        if let Some((name, spec)) = missing {
            return Err(Refusal::new(Code::VectorMissing, format!("the vector {name:?} is required: {spec}")));
        }
        self.check_patch(vectors)
    }

    /// Whether these vectors fit, where those that are not named stay as they are.
    pub fn check_patch(&self, vectors: &Vectors) -> Result<(), Refusal> {
        for (name, vector) in &vectors.0 {
            let Some(spec) = self.0.get(name) else {
                return Err(Refusal::new(
                    Code::UnknownVector,
                    format!("no vector is called {name:?}; {}", self.known_names()),
                ));
            };
            let got = spec_of(vector);
            if got.kind != spec.kind || (spec.kind != VectorKind::Sparse && got.size != spec.size) {
                return Err(Refusal::new(
                    Code::DimensionMismatch,
                    format!("the vector {name:?} is {got}, the collection wants {spec}"),
                ));
            }
        }
        Ok(())
    }

    fn known_names(&self) -> String {
        if self.0.is_empty() {
            return "the table has no vectors".to_owned();
        }
        let names: Vec<_> = self.0.keys().map(|name| format!("{name:?}")).collect();
        format!("there is {}", names.join(", "))
    }
}

fn spec_of(vector: &Vector) -> VectorSpec {
    VectorSpec { kind: vector.kind(), size: vector.size(), distance: Distance::Cosine, required: false }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vector::DEFAULT_VECTOR;

    fn dense(name: &str, size: usize) -> Vectors {
        Vectors(BTreeMap::from([(name.to_owned(), Vector::Dense(vec![0.5; size]))]))
    }

    fn all_kinds() -> Vectors {
        let mut vectors = dense(DEFAULT_VECTOR, 3);
        vectors.0.insert("words".to_owned(), Vector::Sparse { indices: vec![7, 9], values: vec![1.0, 2.0] });
        vectors.0.insert("rows".to_owned(), Vector::Multi { dim: 2, values: vec![0.0; 4] });
        vectors
    }

    #[test]
    fn what_a_shape_was_inferred_from_fits_it() {
        let shape = Shape::infer(&all_kinds());
        assert_eq!(shape.check_put(&all_kinds()), Ok(()));
        assert_eq!(shape.check_put(&Vectors::default()), Ok(()));
        let sizes: Vec<_> = shape.0.values().map(|spec| spec.size).collect();
        assert_eq!(sizes, [3, 2, 0]);
    }

    #[test]
    fn another_size_or_kind_is_a_mismatch() {
        let shape = Shape::infer(&dense(DEFAULT_VECTOR, 3));
        let refusal = shape.check_put(&dense(DEFAULT_VECTOR, 4)).unwrap_err();
        assert_eq!(refusal.code, Code::DimensionMismatch);
        assert_eq!(
            refusal.detail,
            "the vector \"default\" is dense of 4 dimensions, the collection wants dense of 3 dimensions"
        );
        let multi = Vector::Multi { dim: 3, values: vec![0.0; 3] };
        let multi = Vectors(BTreeMap::from([(DEFAULT_VECTOR.to_owned(), multi)]));
        assert_eq!(shape.check_patch(&multi).unwrap_err().code, Code::DimensionMismatch);
    }

    #[test]
    fn another_name_is_unknown() {
        let refusal = Shape::infer(&all_kinds()).check_patch(&dense("titel", 3)).unwrap_err();
        assert_eq!(refusal.code, Code::UnknownVector);
        assert_eq!(refusal.detail, "no vector is called \"titel\"; there is \"default\", \"rows\", \"words\"");
        let refusal = Shape::default().check_put(&dense(DEFAULT_VECTOR, 3)).unwrap_err();
        assert_eq!(refusal.detail, "no vector is called \"default\"; the table has no vectors");
    }

    #[test]
    fn a_required_vector_must_come_with_a_put_but_not_with_a_patch() {
        let mut shape = Shape::infer(&all_kinds());
        shape.0.values_mut().for_each(|spec| spec.required = true);
        assert_eq!(shape.check_put(&dense(DEFAULT_VECTOR, 3)).unwrap_err().code, Code::VectorMissing);
        assert_eq!(shape.check_patch(&dense(DEFAULT_VECTOR, 3)), Ok(()));
    }

    #[test]
    fn configuration_may_leave_out_what_is_usual() {
        let shape: Shape = serde_json::from_str(r#"{"title":{"size":3}}"#).unwrap();
        assert_eq!(shape, Shape::infer(&dense("title", 3)));
    }
}
