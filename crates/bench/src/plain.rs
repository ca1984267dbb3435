//! The plain alternative: batches of 128, one bulk INSERT into SurrealDB and one upsert into Qdrant Edge each. No log, no fence, no
//! kept vectors, nothing that a crash in the middle could be recovered from.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use lockstep_model::Key;
use lockstep_tests::sample::Sampled;
use qdrant_edge::{
    Distance, EdgeConfig, EdgeShard, EdgeVectorParams, Payload, PointId, PointInsertOperations, PointOperations,
    PointStructPersisted, UpdateOperation, VectorStructPersisted,
};
use surrealdb::Surreal;
use surrealdb::engine::any::{Any, connect};
use surrealdb::types::{Object, RecordId, RecordIdKey, SurrealValue, Value};

/// So many operations go into one transaction and one upsert.
pub(crate) const BATCH: usize = 128;

/// Writes everything once into fresh stores and makes it durable; tells how long the writing took.
pub(crate) async fn load(operations: &[Sampled]) -> Result<Duration> {
    let folder = tempfile::tempdir()?;
    let surreal = Box::pin(connect(format!("surrealkv://{}", folder.path().join("surreal").display())).into_future());
    let surreal = surreal.await?;
    surreal.use_ns("bench").use_db("bench").await?;
    let edge = shard(&folder.path().join("edge"))?;
    let begun = Instant::now();
    for batch in operations.chunks(BATCH) {
        Box::pin(write_records(&surreal, batch)).await?;
        let points = batch.iter().filter_map(|op| point(op).transpose()).collect::<Result<Vec<_>>>()?;
        if !points.is_empty() {
            let upsert = PointOperations::UpsertPoints(PointInsertOperations::PointsList(points));
            edge.update(UpdateOperation::PointOperation(upsert)).map_err(|e| anyhow!("{e}"))?;
        }
    }
    edge.flush();
    Ok(begun.elapsed())
}

fn shard(path: &std::path::Path) -> Result<EdgeShard> {
    std::fs::create_dir_all(path)?;
    let mut config = EdgeConfig::default();
    let params = EdgeVectorParams {
        size: 384,
        distance: Distance::Cosine,
        on_disk: None,
        multivector_config: None,
        datatype: None,
        quantization_config: None,
        hnsw_config: None,
    };
    config.vectors.insert(String::new(), params);
    EdgeShard::new(path, config).map_err(|e| anyhow!("{e}"))
}

fn record_id(key: &str) -> Result<RecordId> {
    let (table, id) = key.split_once(':').context("a key")?;
    Ok(RecordId::new(table, RecordIdKey::String(id.to_owned())))
}

/// Documents and edges of a batch, in one transaction.
pub(crate) async fn write_records(surreal: &Surreal<Any>, batch: &[Sampled]) -> Result<()> {
    let (mut records, mut edges) = (Vec::new(), Vec::new());
    for op in batch {
        match op {
            Sampled::Put { key, document, .. } => {
                let mut row = Object::new();
                for (name, value) in document {
                    row.insert(name.clone(), value.clone().into_value());
                }
                row.insert("id".to_owned(), Value::RecordId(record_id(key)?));
                records.push(Value::Object(row));
            }
            Sampled::Relate { edge, from, to } => {
                let mut row = Object::new();
                let (edge, from, to) = (edge.parse_table()?, from.parse::<Key>()?, to.parse::<Key>()?);
                row.insert("id".to_owned(), Value::RecordId(record_id(&Key::edge(&edge, &from, &to).to_string())?));
                row.insert("in".to_owned(), Value::RecordId(record_id(&from.to_string())?));
                row.insert("out".to_owned(), Value::RecordId(record_id(&to.to_string())?));
                edges.push(Value::Object(row));
            }
        }
    }
    let text =
        "BEGIN; INSERT INTO package $records RETURN NONE; INSERT RELATION INTO depends_on $edges RETURN NONE; COMMIT;";
    let answer = surreal.query(text).bind(("records", records)).bind(("edges", edges)).await?;
    answer.check()?;
    Ok(())
}

fn point(op: &Sampled) -> Result<Option<PointStructPersisted>> {
    let Sampled::Put { key, document, vector } = op else { return Ok(None) };
    let bytes = BASE64_STANDARD.decode(vector)?;
    let numbers = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    Ok(Some(PointStructPersisted {
        id: match key.parse::<Key>()?.point_id() {
            lockstep_model::PointId::Num(number) => PointId::NumId(number),
            lockstep_model::PointId::Uuid(uuid) => PointId::Uuid(uuid),
        },
        vector: VectorStructPersisted::Single(numbers),
        payload: Some(Payload(document.clone())),
    }))
}

/// Tables by name.
trait ParseTable {
    fn parse_table(&self) -> Result<lockstep_model::Table>;
}

impl ParseTable for String {
    fn parse_table(&self) -> Result<lockstep_model::Table> {
        Ok(lockstep_model::Table::new(self)?)
    }
}
