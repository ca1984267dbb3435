//! Reads for audits, for `clear` and for edges: pages, counts, what lies between two records.

use std::collections::BTreeSet;
use std::ops::Bound;

use lockstep_model::{Key, Table};
use surrealdb::types as db;

use crate::surreal::SurrealStore;
use crate::surreal::call::Params;
use crate::surreal::image::keys_in;
use crate::surreal::record::{application_part, key_of_row, record_id, stamp_of};
use crate::surreal::value::document_of;
use crate::{EdgeEnds, Scanned, Stamp, StoreError};

impl SurrealStore {
    pub(super) async fn read_edges_between(&self, edge: &Table, ends: &EdgeEnds) -> Result<Vec<Key>, StoreError> {
        if !self.has_table(edge).await? {
            return Ok(Vec::new());
        }
        let mut params = Params::default();
        params.bind("from", record_id(&ends.from));
        params.bind("to", record_id(&ends.to));
        let text = format!("SELECT VALUE id FROM $from->`{edge}` WHERE out = $to");
        let ids = self.keeper.read(&text, params).await?.take(0);
        let mut keys = keys_in(ids);
        keys.sort_unstable();
        keys.dedup();
        Ok(keys)
    }

    pub(super) async fn read_scan(
        &self,
        table: &Table,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<(Key, Option<Stamp>)>, StoreError> {
        let rows = self.page(SCAN, table, after, limit).await?;
        Ok(rows.into_iter().map(|(key, row)| (key, stamp_of(&row))).collect())
    }

    pub(super) async fn read_documents(
        &self,
        table: &Table,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Scanned>, StoreError> {
        let rows = self.page(SCAN_WHOLE, table, after, limit).await?;
        let scanned = |(key, row): (Key, db::Object)| {
            Ok(Scanned { key, stamp: stamp_of(&row), document: document_of(application_part(row))? })
        };
        rows.into_iter().map(scanned).collect()
    }

    /// A page may begin with ids that are no keys of ours: it goes on until it is full or the table ends, so
    /// that an empty page always means the end.
    async fn page(
        &self,
        text: &str,
        table: &Table,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<(Key, db::Object)>, StoreError> {
        let mut found = Vec::new();
        if !self.has_table(table).await? {
            return Ok(found);
        }
        let mut start = after.map_or(Bound::Unbounded, |key| Bound::Excluded(record_id(key).key));
        while found.len() < limit {
            let wanted = limit - found.len();
            let mut params = Params::default();
            params.bind(
                "range",
                db::RecordId::new(table.as_str(), db::RecordIdKeyRange::from((start, Bound::Unbounded))),
            );
            params.bind("limit", i64::try_from(wanted).unwrap_or(i64::MAX));
            let rows = self.keeper.read(text, params).await?.rows(0);
            let full = rows.len() >= wanted;
            let Some(db::Value::RecordId(last)) = rows.last().and_then(|row| row.get("id")) else { break };
            start = Bound::Excluded(last.key.clone());
            found.extend(rows.into_iter().filter_map(|row| Some((key_of_row(&row)?, row))));
            if !full {
                break;
            }
        }
        Ok(found)
    }

    pub(super) async fn read_count(&self, table: &Table) -> Result<u64, StoreError> {
        if !self.has_table(table).await? {
            return Ok(0);
        }
        let mut params = Params::default();
        params.bind("table", table.as_str().to_owned());
        let rows = self.keeper.read(COUNT, params).await?.rows(0);
        let count = rows.first().and_then(|row| row.get("count"));
        let Some(db::Value::Number(db::Number::Int(count))) = count else { return Ok(0) };
        Ok(u64::try_from(*count).unwrap_or(0))
    }

    async fn has_table(&self, table: &Table) -> Result<bool, StoreError> {
        Ok(!self.keeper.there(&BTreeSet::from([table.as_str()])).await?.is_empty())
    }
}

const SCAN: &str = "SELECT id, _lockstep FROM $range LIMIT $limit";

const SCAN_WHOLE: &str = "SELECT * FROM $range LIMIT $limit";

const COUNT: &str = "SELECT count() FROM type::table($table) GROUP ALL";
