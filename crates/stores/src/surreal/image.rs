//! Images: what the store holds for some keys, in one read.

use std::collections::{BTreeMap, HashMap};

use lockstep_model::{Document, Key};
use surrealdb::types as db;

use crate::surreal::SurrealStore;
use crate::surreal::call::{Kind, Params, into_object, run};
use crate::surreal::record::{ends_of, found, has_vectors, kept_id, key_of, record_id, stamp_of};
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
        let mut answers = run(&self.client, IMAGES, params, Kind::Read).await?;

        let mut records = by_id(answers.rows(1));
        let mut kept = by_id(answers.rows(2));
        let mut stamps = by_id(answers.rows(3));
        let mut edges = by_id(answers.rows(4));
        let mut read: HashMap<&Key, Image> = HashMap::with_capacity(asks.len());
        for ask in asks {
            if read.contains_key(&ask.key) {
                continue;
            }
            let id = record_id(&ask.key);
            let whole = match records.remove(&id) {
                Some(record) => Some(found(record, kept.remove(&kept_id(&ask.key)))?),
                None => None,
            };
            let seen = whole.or_else(|| stamps.remove(&id).map(|record| stamp_only(&record)));
            let edges = edges.remove(&id).map(edge_keys).unwrap_or_default();
            read.insert(&ask.key, Image { key: ask.key.clone(), found: seen, edges });
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

/// Rows by their record id.
fn by_id(rows: Vec<db::Object>) -> BTreeMap<db::RecordId, db::Object> {
    rows.into_iter()
        .filter_map(|row| match row.get("id") {
            Some(db::Value::RecordId(id)) => Some((id.clone(), row)),
            _ => None,
        })
        .collect()
}

/// The keys in a row's `edges`, sorted, each once: an edge from a record to itself is seen at both ends.
fn edge_keys(mut row: db::Object) -> Vec<Key> {
    let Some(db::Value::Array(ids)) = row.remove("edges") else { return Vec::new() };
    let mut keys = keys_in(ids);
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// The keys among record ids.
pub(super) fn keys_in(ids: db::Array) -> Vec<Key> {
    let key = |value: db::Value| match value {
        db::Value::RecordId(id) => key_of(&id),
        other => match into_object(other)?.get("id") {
            Some(db::Value::RecordId(id)) => key_of(id),
            _ => None,
        },
    };
    ids.into_vec().into_iter().filter_map(key).collect()
}
