//! What a collection is on the server, and how its vectors' names and ours belong together.
//!
//! Our `default` is the vector without a name where the collection has one, else the one that is called so. A named vector must never go to
//! a collection that has only an unnamed one: the server answers that it is written, and the point is gone.

use std::collections::BTreeMap;

use lockstep_model::{DEFAULT_VECTOR, Distance, Shape, VectorKind, VectorSpec};
use qdrant_client::qdrant::vectors_config::Config;
use qdrant_client::qdrant::{
    CollectionInfo, CreateCollection, Distance as WireDistance, MultiVectorConfig, SparseVectorConfig,
    SparseVectorParams, StrictModeConfig, VectorParams, VectorParamsMap, VectorsConfig,
};

use super::point::odd;
use crate::StoreError;

/// A collection as the server describes it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Layout {
    /// Its vectors by our names.
    pub(super) shape: Shape,
    /// It has a vector without a name.
    unnamed: bool,
    /// Beside the unnamed vector it has one called `default`, which cannot be reached.
    pub(super) hides_default: bool,
    /// The payload fields with an index.
    pub(super) indexed: Vec<String>,
    /// Strict mode, where it is on.
    pub(super) strict: Option<StrictModeConfig>,
}

impl Layout {
    /// Reads the server's description.
    pub(super) fn of(info: CollectionInfo) -> Result<Self, StoreError> {
        let config = info.config.ok_or_else(|| odd("a collection has no configuration"))?;
        let params = config.params.ok_or_else(|| odd("a collection has no parameters"))?;
        let mut dense = match params.vectors_config.and_then(|vectors| vectors.config) {
            None => BTreeMap::new(),
            Some(Config::Params(params)) => BTreeMap::from([(String::new(), params)]),
            Some(Config::ParamsMap(map)) => map.map.into_iter().collect(),
        };
        let sparse = params.sparse_vectors_config.unwrap_or_default().map;
        let unnamed = dense.remove("");
        let mut vectors = BTreeMap::new();
        for (name, params) in &dense {
            vectors.insert(name.clone(), spec_of(params)?);
        }
        // A sparse vector is compared by its dot product, and has no size.
        let spec = VectorSpec { kind: VectorKind::Sparse, size: 0, distance: Distance::Dot, required: false };
        vectors.extend(sparse.into_keys().map(|name| (name, spec)));
        let mut hides_default = false;
        if let Some(params) = &unnamed {
            hides_default = vectors.insert(DEFAULT_VECTOR.to_owned(), spec_of(params)?).is_some();
        }
        let mut indexed: Vec<String> = info.payload_schema.into_keys().collect();
        indexed.sort_unstable();
        let strict = config.strict_mode_config.filter(|strict| strict.enabled == Some(true));
        Ok(Self { shape: Shape(vectors), unnamed: unnamed.is_some(), hides_default, indexed, strict })
    }

    /// The server's name of our vector.
    pub(super) fn wire_name<'a>(&self, name: &'a str) -> &'a str {
        if self.unnamed && name == DEFAULT_VECTOR { "" } else { name }
    }

    /// Our name of the server's vector; none if it is hidden.
    pub(super) fn our_name<'a>(&self, name: &'a str) -> Option<&'a str> {
        match name {
            "" => Some(DEFAULT_VECTOR),
            DEFAULT_VECTOR if self.unnamed => None,
            name => Some(name),
        }
    }
}

fn spec_of(params: &VectorParams) -> Result<VectorSpec, StoreError> {
    let distance = match params.distance() {
        WireDistance::UnknownDistance => return Err(odd("a collection has an unknown distance")),
        WireDistance::Cosine => Distance::Cosine,
        WireDistance::Euclid => Distance::Euclid,
        WireDistance::Dot => Distance::Dot,
        WireDistance::Manhattan => Distance::Manhattan,
    };
    let kind = if params.multivector_config.is_some() { VectorKind::Multi } else { VectorKind::Dense };
    let size = u32::try_from(params.size).map_err(|_| odd(format!("a vector has {} dimensions", params.size)))?;
    Ok(VectorSpec { kind, size, distance, required: false })
}

/// Whether what is stored is as wanted. Whether a put must bring a vector, no collection knows.
pub(super) fn same(want: &Shape, have: &Shape) -> bool {
    want.0.keys().eq(have.0.keys())
        && want.0.values().zip(have.0.values()).all(|(want, have)| crate::collection_look::same(*want, *have))
}

/// The request that makes a collection of this shape. A `default` that is the only dense vector gets no name, as in Edge; beside other
/// dense vectors it has to have one.
pub(super) fn creation(name: &str, shape: &Shape) -> CreateCollection {
    let is_sparse = |spec: &VectorSpec| spec.kind == VectorKind::Sparse;
    let mut dense: Vec<_> = shape.0.iter().filter(|(_, spec)| !is_sparse(spec)).collect();
    let config = match dense.as_slice() {
        [(name, spec)] if name.as_str() == DEFAULT_VECTOR => Config::Params(params(**spec)),
        _ => {
            let map = dense.drain(..).map(|(name, spec)| (name.clone(), params(*spec))).collect();
            Config::ParamsMap(VectorParamsMap { map })
        }
    };
    let sparse: std::collections::HashMap<_, _> = shape
        .0
        .iter()
        .filter(|(_, spec)| is_sparse(spec))
        .map(|(name, _)| (name.clone(), SparseVectorParams::default()))
        .collect();
    CreateCollection {
        collection_name: name.to_owned(),
        vectors_config: Some(VectorsConfig { config: Some(config) }),
        sparse_vectors_config: (!sparse.is_empty()).then_some(SparseVectorConfig { map: sparse }),
        ..CreateCollection::default()
    }
}

fn params(spec: VectorSpec) -> VectorParams {
    let distance = match spec.distance {
        Distance::Cosine => WireDistance::Cosine,
        Distance::Dot => WireDistance::Dot,
        Distance::Euclid => WireDistance::Euclid,
        Distance::Manhattan => WireDistance::Manhattan,
    };
    VectorParams {
        size: u64::from(spec.size),
        distance: distance.into(),
        multivector_config: (spec.kind == VectorKind::Multi).then(MultiVectorConfig::default),
        ..VectorParams::default()
    }
}

#[cfg(test)]
mod tests {
    use qdrant_client::qdrant::{CollectionConfig, CollectionParams};

    use super::*;

    fn described(shape: &Shape) -> Layout {
        let made = creation("c", shape);
        let params = CollectionParams {
            vectors_config: made.vectors_config,
            sparse_vectors_config: made.sparse_vectors_config,
            ..CollectionParams::default()
        };
        let config = CollectionConfig { params: Some(params), ..CollectionConfig::default() };
        Layout::of(CollectionInfo { config: Some(config), ..CollectionInfo::default() }).unwrap()
    }

    fn shape(names: &[(&str, VectorKind)]) -> Shape {
        let spec = |kind| {
            let (size, distance) = if kind == VectorKind::Sparse { (0, Distance::Dot) } else { (3, Distance::Euclid) };
            VectorSpec { kind, size, distance, required: false }
        };
        Shape(names.iter().map(|(name, kind)| ((*name).to_owned(), spec(*kind))).collect())
    }

    #[test]
    fn default_has_no_name_where_it_is_the_only_dense_vector() {
        for (names, wire) in [
            (&[("default", VectorKind::Dense)][..], ""),
            (&[("default", VectorKind::Multi), ("words", VectorKind::Sparse)], ""),
            (&[("default", VectorKind::Dense), ("title", VectorKind::Dense)], "default"),
            (&[("default", VectorKind::Sparse)], "default"),
            (&[("title", VectorKind::Dense)], "default"),
        ] {
            let layout = described(&shape(names));
            assert_eq!(layout.shape, shape(names), "{names:?}");
            assert_eq!((layout.wire_name("default"), layout.wire_name("title")), (wire, "title"), "{names:?}");
        }
    }

    #[test]
    fn a_vector_called_default_beside_an_unnamed_one_is_hidden() {
        let mut made = creation("c", &shape(&[("default", VectorKind::Dense)]));
        let sparse = SparseVectorConfig { map: [("default".to_owned(), SparseVectorParams::default())].into() };
        made.sparse_vectors_config = Some(sparse);
        let params = CollectionParams {
            vectors_config: made.vectors_config,
            sparse_vectors_config: made.sparse_vectors_config,
            ..CollectionParams::default()
        };
        let config = CollectionConfig { params: Some(params), ..CollectionConfig::default() };
        let layout = Layout::of(CollectionInfo { config: Some(config), ..CollectionInfo::default() }).unwrap();
        assert!(layout.hides_default);
        assert_eq!(layout.shape, shape(&[("default", VectorKind::Dense)]));
        assert_eq!((layout.our_name(""), layout.our_name("default")), (Some("default"), None));
    }

    #[test]
    fn a_description_without_its_parts_is_an_error() {
        assert!(Layout::of(CollectionInfo::default()).is_err());
    }
}
