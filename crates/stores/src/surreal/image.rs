//! Images: what the store holds for some keys, in one read.

use std::collections::HashMap;

use lockstep_model::{Document, Key};
use surrealdb::types as db;

use crate::surreal::SurrealStore;
use crate::surreal::call::{Params, into_array};
use crate::surreal::record::{
    ends_of, found, has_vectors, kept_id, key_of, key_of_row, owner_of_row, record_id, stamp_of,
};
use crate::{Found, Image, ImageAsk, StoreError, Want};

/// All reads see the same moment. Records of tables that do not exist are simply not there.
const IMAGES: &str = "BEGIN;
    SELECT * FROM $whole;
    SELECT * FROM $kept;
    SELECT id, _lockstep, in, out FROM $stamps;
    SELECT id, <->? AS edges FROM $edges;
    COMMIT;";

impl SurrealStore {
    pub(super) async fn read_images(&self, asks: &[ImageAsk]) -> Result<Vec<Image>, StoreError> {
        let ids = |wanted: &dyn Fn(&ImageAsk) -> bool| -> Vec<db::Value> {
            asks.iter().filter(|ask| wanted(ask)).map(|ask| db::Value::RecordId(record_id(&ask.key))).collect()
        };
        let whole = |ask: &&ImageAsk| ask.want == Want::Whole;
        let mut params = Params::default();
        params.bind_list("whole", ids(&|ask| ask.want == Want::Whole));
        params.bind_list("stamps", ids(&|ask| ask.want == Want::Stamp));
        params.bind_list("edges", ids(&|ask| ask.edges));
        params.bind_list("kept", asks.iter().filter(whole).map(|ask| db::Value::RecordId(kept_id(&ask.key))).collect());
        let mut answers = self.keeper.read(IMAGES, params).await?;

        let mut records = by_key(answers.rows(1), key_of_row);
        let mut kept = by_key(answers.rows(2), owner_of_row);
        let mut stamps = by_key(answers.rows(3), key_of_row);
        let mut edges = by_key(answers.rows(4), key_of_row);
        let mut read: HashMap<&Key, Image> = HashMap::with_capacity(asks.len());
        for ask in asks {
            let key = &ask.key;
            if read.contains_key(key) {
                continue;
            }
            let whole = match records.remove(key) {
                Some(record) => Some(found(record, kept.remove(key))?),
                None => None,
            };
            let seen = whole.or_else(|| stamps.remove(key).map(|record| stamp_only(&record)));
            let (edges, unkeyed_edges) = edges.remove(key).map(edge_keys).unwrap_or_default();
            read.insert(key, Image { key: key.clone(), found: seen, edges, unkeyed_edges });
        }
        Ok(asks.iter().filter_map(|ask| read.get(&ask.key).cloned()).collect())
    }
}

fn stamp_only(record: &db::Object) -> Found {
    Found {
        stamp: stamp_of(record),
        ends: ends_of(record),
        document: Document::default(),
        kept: None,
        has_vectors: has_vectors(record),
        raw: Vec::new(),
    }
}

/// Rows by the key that they are about.
fn by_key(rows: Vec<db::Object>, key: fn(&db::Object) -> Option<Key>) -> HashMap<Key, db::Object> {
    rows.into_iter().filter_map(|row| Some((key(&row)?, row))).collect()
}

/// The keys in a row's `edges`, sorted, and how many edges have none. Each counts once: an edge from a record to itself is
/// seen at both ends.
fn edge_keys(mut row: db::Object) -> (Vec<Key>, usize) {
    let mut ids = row.remove("edges").map(into_array).unwrap_or_default();
    ids.sort_unstable();
    ids.dedup();
    let all = ids.len();
    let mut keys = keys_in(db::Value::Array(ids.into()));
    keys.sort_unstable();
    let unkeyed = all - keys.len();
    (keys, unkeyed)
}

/// The keys among record ids.
pub(super) fn keys_in(ids: db::Value) -> Vec<Key> {
    let key = |value: &db::Value| if let db::Value::RecordId(id) = value { key_of(id) } else { None };
    into_array(ids).iter().filter_map(key).collect()
}
