//! A point as the log keeps it in a group's image, and as it goes back.

use std::collections::BTreeMap;

use lockstep_model::{PointId, Vectors, Version};
use lockstep_stores::{Point, PointStamp, PointWrite};
use lockstep_wal::{ImageRecord, LoggedPoint, Outcome};

use crate::core::Fatal;
use crate::work::Work;

/// The point, for the log.
pub(crate) fn logged(point: &Point) -> LoggedPoint {
    LoggedPoint {
        version: point.stamp.version,
        op: point.stamp.op,
        key: point.stamp.key.as_ref().map(ToString::to_string),
        vectors: point.vectors.encode(),
        payload: serde_json::Value::Object(point.payload.clone()).to_string().into_bytes(),
    }
}

fn point(logged: &LoggedPoint) -> Result<Point, String> {
    let payload: serde_json::Value = serde_json::from_slice(&logged.payload).map_err(|e| e.to_string())?;
    let key = logged.key.as_ref().map(|key| key.parse()).transpose().map_err(|e| format!("{e}"))?;
    Ok(Point {
        stamp: PointStamp { version: logged.version, op: logged.op, key },
        vectors: Vectors::decode(&logged.vectors).map_err(|e| e.to_string())?,
        payload: payload.as_object().cloned().ok_or("a payload that is no object")?,
    })
}

/// How large the points in it are, in bytes.
pub(crate) fn size(outcome: &Outcome) -> usize {
    let Outcome::Group { points, .. } = outcome else { return 0 };
    points.iter().filter_map(|before| before.point.as_ref()).map(|p| p.vectors.len() + p.payload.len()).sum()
}

/// The writes that make a group's points what they were, by collection.
pub(crate) fn restores(work: &Work) -> Result<BTreeMap<String, Vec<PointWrite>>, Fatal> {
    let mut writes: BTreeMap<String, Vec<PointWrite>> = BTreeMap::new();
    let Some(ImageRecord { outcome: Outcome::Group { points, .. }, .. }) = &work.image else { return Ok(writes) };
    for before in points {
        let to = before.point.as_ref().map(point).transpose();
        let to = to.map_err(|e| Fatal::Lost(format!("operation {}: its image: {e}", work.lsn)))?;
        writes.entry(before.collection.clone()).or_default().push(PointWrite::Restore {
            id: before.id.into(),
            wrote: work.version,
            to: to.map(Box::new),
        });
    }
    Ok(writes)
}

/// The vectors that the point had at this version, if the operation's image tells.
pub(crate) fn imaged(work: &Work, id: PointId, version: Version) -> Option<Vectors> {
    let Some(ImageRecord { outcome: Outcome::Group { points, .. }, .. }) = &work.image else { return None };
    let logged = points.iter().filter(|before| PointId::from(before.id) == id).find_map(|before| before.point.as_ref());
    logged.filter(|point| point.version == Some(version)).and_then(|point| Vectors::decode(&point.vectors).ok())
}
