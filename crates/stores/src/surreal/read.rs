//! Reads for audits and for edges: pages of stamps, counts, what lies between two records.

use std::ops::Bound;

use lockstep_model::{Key, Table};
use surrealdb::types as db;

use crate::surreal::SurrealStore;
use crate::surreal::call::{Kind, Params, run};
use crate::surreal::image::keys_in;
use crate::surreal::record::{key_of_row, record_id, stamp_of};
use crate::{EdgeEnds, Stamp, StoreError};

impl SurrealStore {
    pub(super) async fn read_edges_between(&self, edge: &Table, ends: &EdgeEnds) -> Result<Vec<Key>, StoreError> {
        let mut params = Params::default();
        params.bind("from", record_id(&ends.from));
        params.bind("to", record_id(&ends.to));
        self.tables.ensure(&self.client, [edge.as_str()]).await?;
        let text = format!("SELECT VALUE id FROM $from->`{edge}` WHERE out = $to");
        let ids = run(&self.client, &text, params, Kind::Read).await?.take(0);
        let mut keys = keys_in(ids);
        keys.sort_unstable();
        keys.dedup();
        Ok(keys)
    }

    /// A page may begin with ids that are no keys of ours: it goes on until it is full or the table ends, so
    /// that an empty page always means the end.
    pub(super) async fn read_scan(
        &self,
        table: &Table,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<(Key, Option<Stamp>)>, StoreError> {
        self.tables.ensure(&self.client, [table.as_str()]).await?;
        let mut found = Vec::new();
        let mut start = after.map_or(Bound::Unbounded, |key| Bound::Excluded(record_id(key).key));
        while found.len() < limit {
            let wanted = limit - found.len();
            let mut params = Params::default();
            params.bind(
                "range",
                db::RecordId::new(table.as_str(), db::RecordIdKeyRange::from((start, Bound::Unbounded))),
            );
            params.bind("limit", i64::try_from(wanted).unwrap_or(i64::MAX));
            let rows = run(&self.client, SCAN, params, Kind::Read).await?.rows(0);
            let full = rows.len() >= wanted;
            let Some(db::Value::RecordId(last)) = rows.last().and_then(|row| row.get("id")) else { break };
            start = Bound::Excluded(last.key.clone());
            found.extend(rows.iter().filter_map(|row| Some((key_of_row(row)?, stamp_of(row)))));
            if !full {
                break;
            }
        }
        Ok(found)
    }

    pub(super) async fn read_count(&self, table: &Table) -> Result<u64, StoreError> {
        self.tables.ensure(&self.client, [table.as_str()]).await?;
        let mut params = Params::default();
        params.bind("table", table.as_str().to_owned());
        let rows = run(&self.client, COUNT, params, Kind::Read).await?.rows(0);
        let count = rows.first().and_then(|row| row.get("count"));
        let Some(db::Value::Number(db::Number::Int(count))) = count else { return Ok(0) };
        Ok(u64::try_from(*count).unwrap_or(0))
    }
}

const SCAN: &str = "SELECT id, _lockstep FROM $range LIMIT $limit";

const COUNT: &str = "SELECT count() FROM type::table($table) GROUP ALL";
