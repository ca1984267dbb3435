//! Vectors: what Qdrant keeps for a key.
//!
//! A vector is decoded once, where it comes in, and stays numbers from there on. Every vector here is
//! well-formed: not empty, finite, within its bounds. JSON is read and written in `vector_json`, bytes in
//! `vector_codec`.

use std::collections::BTreeMap;

use crate::canon::hash_bytes;
use crate::shape::VectorKind;

/// The name of the vector that an operation gives as `vector`.
pub const DEFAULT_VECTOR: &str = "default";

/// Vectors have at most so many dimensions, sparse ones so many entries.
pub const MAX_VECTOR_DIM: usize = 65_536;

/// A multivector has at most so many numbers in all.
pub(crate) const MAX_MULTI_NUMBERS: usize = 1 << 20;

/// An entity has at most so many vectors.
pub(crate) const MAX_VECTORS: usize = 256;

/// Names of vectors have at most so many bytes.
pub(crate) const MAX_NAME_BYTES: usize = 256;

/// One vector.
#[derive(Debug, Clone, PartialEq)]
pub enum Vector {
    /// One number for each dimension.
    Dense(Vec<f32>),
    /// Numbers for some dimensions, which are ascending and each there once.
    Sparse {
        /// Which dimensions.
        indices: Vec<u32>,
        /// Their numbers, in the same order.
        values: Vec<f32>,
    },
    /// Several dense vectors of one size, one after the other.
    Multi {
        /// The size of each.
        dim: u32,
        /// All numbers; their count is a multiple of `dim`.
        values: Vec<f32>,
    },
}

/// Why something is not a vector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VectorError {
    /// None of the four forms.
    #[error(
        "a vector is an array of numbers, base64 of little-endian f32, an object with indices and values, or an array of arrays"
    )]
    Form,
    /// No numbers.
    #[error("a vector cannot be empty")]
    Empty,
    /// More than the bounds allow.
    #[error("a vector cannot have {0} numbers, at most {1} are allowed")]
    TooLong(usize, usize),
    /// A number that is no finite f32.
    #[error("the number at place {0} is not a finite 32-bit float")]
    NotFinite(usize),
    /// Not base64, or not whole floats.
    #[error("a vector as text is base64 of little-endian 32-bit floats, 4 bytes each")]
    Base64,
    /// Indices and values do not pair.
    #[error("a sparse vector has as many values as indices: {indices} indices, {values} values")]
    Unpaired {
        /// How many indices.
        indices: usize,
        /// How many values.
        values: usize,
    },
    /// An index that is no u32.
    #[error("the index at place {0} of a sparse vector is not an integer from 0 to 4294967295")]
    Index(usize),
    /// An index that comes twice.
    #[error("the index {0} comes twice in a sparse vector")]
    TwiceIndex(u32),
    /// Rows of different lengths.
    #[error("the rows of a multivector have one length: row {0} has another")]
    Ragged(usize),
    /// Names are a map.
    #[error("vectors is an object of vectors by name")]
    Names,
    /// A name that is not allowed.
    #[error("{0:?} is not a vector name: 1 to 256 bytes without control characters")]
    Name(String),
    /// Too many names.
    #[error("an entity cannot have {0} vectors, at most {MAX_VECTORS} are allowed")]
    TooMany(usize),
    /// One of the vectors is wrong.
    #[error("the vector {name:?}")]
    Named {
        /// Its name.
        name: String,
        /// What is wrong.
        source: Box<VectorError>,
    },
    /// Bytes that are not an encoding of vectors.
    #[error("damaged vectors at byte {at}: {what}")]
    Damaged {
        /// Where.
        at: usize,
        /// What is wrong.
        what: &'static str,
    },
}

impl VectorError {
    /// The whole story on one line, for a refusal's detail.
    pub(crate) fn story(&self) -> String {
        if let Self::Named { source, .. } = self { format!("{self}: {}", source.story()) } else { self.to_string() }
    }
}

impl Vector {
    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> VectorKind {
        match self {
            Self::Dense(_) => VectorKind::Dense,
            Self::Sparse { .. } => VectorKind::Sparse,
            Self::Multi { .. } => VectorKind::Multi,
        }
    }

    /// Its dimensions; 0 for a sparse one, which has no size.
    #[must_use]
    pub fn size(&self) -> u32 {
        match self {
            // No vector is as long as that; a wrong one fits no shape.
            Self::Dense(values) => u32::try_from(values.len()).unwrap_or(u32::MAX),
            Self::Sparse { .. } => 0,
            Self::Multi { dim, .. } => *dim,
        }
    }

    /// A dense vector of these numbers.
    pub fn dense(values: Vec<f32>) -> Result<Self, VectorError> {
        Self::Dense(values).checked()
    }

    /// A sparse vector of these pairs, in any order.
    pub fn sparse(indices: &[u32], values: &[f32]) -> Result<Self, VectorError> {
        if indices.len() != values.len() {
            return Err(VectorError::Unpaired { indices: indices.len(), values: values.len() });
        }
        let mut pairs: Vec<(u32, f32)> = indices.iter().copied().zip(values.iter().copied()).collect();
        pairs.sort_unstable_by_key(|(index, _)| *index);
        let (indices, values) = pairs.into_iter().unzip();
        Self::Sparse { indices, values }.checked()
    }

    /// A multivector of rows of `dim` numbers each.
    pub fn multi(dim: u32, values: Vec<f32>) -> Result<Self, VectorError> {
        Self::Multi { dim, values }.checked()
    }

    /// This vector, if it is what the module promises.
    pub(crate) fn checked(self) -> Result<Self, VectorError> {
        let (values, max) = match &self {
            Self::Dense(values) | Self::Sparse { values, .. } => (values, MAX_VECTOR_DIM),
            Self::Multi { values, .. } => (values, MAX_MULTI_NUMBERS),
        };
        if values.is_empty() {
            return Err(VectorError::Empty);
        }
        if values.len() > max {
            return Err(VectorError::TooLong(values.len(), max));
        }
        if let Some(place) = values.iter().position(|value| !value.is_finite()) {
            return Err(VectorError::NotFinite(place));
        }
        match &self {
            Self::Dense(_) => {}
            Self::Sparse { indices, values } => {
                if indices.len() != values.len() {
                    return Err(VectorError::Unpaired { indices: indices.len(), values: values.len() });
                }
                let twice = indices.iter().zip(indices.iter().skip(1)).find(|(index, next)| index >= next);
                if let Some((index, _)) = twice {
                    return Err(VectorError::TwiceIndex(*index));
                }
            }
            Self::Multi { dim, values } => {
                let dim = usize::try_from(*dim).unwrap_or(usize::MAX);
                if dim == 0 {
                    return Err(VectorError::Empty);
                }
                if dim > MAX_VECTOR_DIM {
                    return Err(VectorError::TooLong(dim, MAX_VECTOR_DIM));
                }
                if !values.len().is_multiple_of(dim) {
                    return Err(VectorError::Ragged(values.len() / dim));
                }
            }
        }
        Ok(self)
    }
}

/// The vectors of one entity by name. None at all: the entity has no point.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Vectors(pub BTreeMap<String, Vector>);

impl Vectors {
    /// Only the default vector.
    #[must_use]
    pub fn single(vector: Vector) -> Self {
        Self(BTreeMap::from([(DEFAULT_VECTOR.to_owned(), vector)]))
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The hash of names and numbers: the first 128 bits of BLAKE3 of [`Vectors::encode`]. It is part of
    /// what stands in SurrealDB: never change it.
    #[must_use]
    pub fn hash(&self) -> [u8; 16] {
        hash_bytes(&self.encode())
    }
}

pub(crate) fn check_name(name: &str) -> Result<(), VectorError> {
    if name.is_empty() || name.len() > MAX_NAME_BYTES || name.chars().any(char::is_control) {
        return Err(VectorError::Name(name.chars().take(80).collect()));
    }
    Ok(())
}
