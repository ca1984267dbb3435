//! Vectors as bytes: in the log, and beside the record in SurrealDB. Little-endian, by hand.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | format version: 1 |
//! | 2 | how many vectors; then for each, ascending by name: |
//! | 2 | length of the name |
//! | n | the name, UTF-8 |
//! | 1 | kind: 0 dense, 1 sparse, 2 multi |
//! | 4 | multi only: the size of a row |
//! | 4 | how many numbers |
//! | 4 each | sparse only: the indices, ascending |
//! | 4 each | the numbers, IEEE 754 binary32 |
//!
//! Every set of vectors has exactly one encoding, and decoding accepts no other: the hash is taken of it.

use std::collections::BTreeMap;

use crate::vector::{MAX_MULTI_NUMBERS, MAX_NAME_BYTES, MAX_VECTORS, Vector, VectorError, Vectors, check_name};

const FORMAT: u8 = 1;
const DENSE: u8 = 0;
const SPARSE: u8 = 1;
const MULTI: u8 = 2;

impl Vectors {
    /// The bytes of these vectors.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![FORMAT];
        // The bounds of the vector module keep every count below its field's limit.
        bytes.extend(u16::try_from(self.0.len()).unwrap_or(u16::MAX).to_le_bytes());
        for (name, vector) in &self.0 {
            bytes.extend(u16::try_from(name.len()).unwrap_or(u16::MAX).to_le_bytes());
            bytes.extend(name.as_bytes());
            let values = match vector {
                Vector::Dense(values) => {
                    bytes.push(DENSE);
                    bytes.extend(count(values.len()));
                    values
                }
                Vector::Sparse { indices, values } => {
                    bytes.push(SPARSE);
                    bytes.extend(count(values.len()));
                    bytes.extend(indices.iter().flat_map(|index| index.to_le_bytes()));
                    values
                }
                Vector::Multi { dim, values } => {
                    bytes.push(MULTI);
                    bytes.extend(dim.to_le_bytes());
                    bytes.extend(count(values.len()));
                    values
                }
            };
            bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        }
        bytes
    }

    /// The vectors that [`Vectors::encode`] wrote. Nothing is allocated that the bytes do not hold.
    pub fn decode(bytes: &[u8]) -> Result<Self, VectorError> {
        let mut reader = Reader { bytes, at: 0 };
        if reader.byte()? != FORMAT {
            return Err(VectorError::Damaged { at: 0, what: "not format version 1" });
        }
        let vectors_count = usize::from(reader.short()?);
        if vectors_count > MAX_VECTORS {
            return Err(reader.damaged("too many vectors"));
        }
        let mut vectors = BTreeMap::new();
        for _ in 0..vectors_count {
            let name = reader.name()?;
            if vectors.last_key_value().is_some_and(|(last, _)| *last >= name) {
                return Err(reader.damaged("names out of order"));
            }
            let vector = reader.vector()?;
            vectors.insert(name, vector);
        }
        if reader.at != bytes.len() {
            return Err(reader.damaged("more bytes than vectors"));
        }
        Ok(Self(vectors))
    }
}

fn count(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes()
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    const fn damaged(&self, what: &'static str) -> VectorError {
        VectorError::Damaged { at: self.at, what }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], VectorError> {
        let end = self.at.checked_add(length);
        let taken = end.and_then(|end| self.bytes.get(self.at..end)).ok_or_else(|| self.damaged("cut off"))?;
        self.at += length;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], VectorError> {
        let start = self.at;
        self.take(N)?.try_into().map_err(|_| VectorError::Damaged { at: start, what: "cut off" })
    }

    fn byte(&mut self) -> Result<u8, VectorError> {
        self.array().map(u8::from_le_bytes)
    }

    fn short(&mut self) -> Result<u16, VectorError> {
        self.array().map(u16::from_le_bytes)
    }

    fn int(&mut self) -> Result<u32, VectorError> {
        self.array().map(u32::from_le_bytes)
    }

    fn name(&mut self) -> Result<String, VectorError> {
        let length = usize::from(self.short()?);
        if length > MAX_NAME_BYTES {
            return Err(self.damaged("a name too long"));
        }
        let bytes = self.take(length)?;
        let name = std::str::from_utf8(bytes).map_err(|_| self.damaged("a name that is not UTF-8"))?;
        check_name(name)?;
        Ok(name.to_owned())
    }

    fn vector(&mut self) -> Result<Vector, VectorError> {
        let vector = match self.byte()? {
            DENSE => {
                let length = self.length()?;
                Vector::Dense(self.numbers(length)?)
            }
            SPARSE => {
                let length = self.length()?;
                let indices = self.words(length)?.map(u32::from_le_bytes).collect();
                Vector::Sparse { indices, values: self.numbers(length)? }
            }
            MULTI => {
                let dim = self.int()?;
                let length = self.length()?;
                Vector::Multi { dim, values: self.numbers(length)? }
            }
            _ => return Err(self.damaged("an unknown kind of vector")),
        };
        vector.checked()
    }

    fn length(&mut self) -> Result<usize, VectorError> {
        let length = self.int()?;
        usize::try_from(length)
            .ok()
            .filter(|length| *length <= MAX_MULTI_NUMBERS)
            .ok_or_else(|| self.damaged("a vector too long"))
    }

    fn numbers(&mut self, length: usize) -> Result<Vec<f32>, VectorError> {
        Ok(self.words(length)?.map(f32::from_le_bytes).collect())
    }

    fn words(&mut self, length: usize) -> Result<impl Iterator<Item = [u8; 4]> + use<'a>, VectorError> {
        let (words, _) = self.take(length * 4)?.as_chunks::<4>();
        Ok(words.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::any_vectors;
    use crate::vector::DEFAULT_VECTOR;
    use proptest::prelude::*;

    fn golden() -> (Vectors, Vec<u8>) {
        let vectors = Vectors(BTreeMap::from([
            (DEFAULT_VECTOR.to_owned(), Vector::Dense(vec![1.0, -0.5])),
            ("m".to_owned(), Vector::Multi { dim: 1, values: vec![2.0, 0.0] }),
            ("s".to_owned(), Vector::Sparse { indices: vec![7], values: vec![0.1] }),
        ]));
        let bytes = [
            &[1, 3, 0][..],
            &[7, 0],
            b"default",
            &[0, 2, 0, 0, 0, 0, 0, 0x80, 0x3f, 0, 0, 0, 0xbf],
            &[1, 0],
            b"m",
            &[2, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0x40, 0, 0, 0, 0],
            &[1, 0],
            b"s",
            &[1, 1, 0, 0, 0, 7, 0, 0, 0, 0xcd, 0xcc, 0xcc, 0x3d],
        ]
        .concat();
        (vectors, bytes)
    }

    #[test]
    fn golden_bytes() {
        let (vectors, bytes) = golden();
        assert_eq!(vectors.encode(), bytes);
        assert_eq!(Vectors::decode(&bytes).unwrap(), vectors);
        assert_eq!(Vectors::default().encode(), [1, 0, 0]);
        let hash: String = vectors.hash().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hash, "f41eb0dfcd0ab240b3ab5ee16e547543");
    }

    #[test]
    fn cut_at_every_byte_it_is_an_error() {
        let (_, bytes) = golden();
        for end in 0..bytes.len() {
            assert!(Vectors::decode(&bytes[..end]).is_err(), "{end}");
        }
        assert!(Vectors::decode(&[&bytes[..], &[0]].concat()).is_err());
    }

    #[test]
    fn a_huge_length_allocates_nothing() {
        let bytes = [&[1, 1, 0, 1, 0][..], b"x", &[0, 0xff, 0xff, 0xff, 0xff]].concat();
        assert_eq!(Vectors::decode(&bytes), Err(VectorError::Damaged { at: 11, what: "a vector too long" }));
    }

    /// Scenario C2: the same vectors in another order would be other bytes, and so another hash.
    #[test]
    fn names_stand_in_one_order_and_once() {
        let of = |names: [&[u8; 1]; 2]| {
            let vectors = names.map(|name| [&[1, 0][..], name, &[DENSE, 1, 0, 0, 0, 0, 0, 0x80, 0x3f]].concat());
            Vectors::decode(&[vec![FORMAT, 2, 0], vectors.concat()].concat())
        };
        assert_eq!(of([b"a", b"b"]).unwrap().0.len(), 2);
        for names in [[b"b", b"a"], [b"a", b"a"]] {
            assert!(matches!(of(names), Err(VectorError::Damaged { what: "names out of order", .. })), "{names:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes_back(vectors in any_vectors()) {
            prop_assert_eq!(Vectors::decode(&vectors.encode()).unwrap(), vectors);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = Vectors::decode(&bytes);
        }

        #[test]
        fn there_is_one_encoding(vectors in any_vectors(), at: prop::sample::Index, byte: u8) {
            let mut bytes = vectors.encode();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Ok(decoded) = Vectors::decode(&bytes) {
                prop_assert_eq!(decoded.encode(), bytes);
            }
        }
    }
}
