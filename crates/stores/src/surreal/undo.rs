//! Taking one write back: look, judge, then change under the guard that nothing has moved since the look.

use surrealdb::types as db;

use crate::surreal::SurrealStore;
use crate::surreal::call::{Kind, Params, into_array, run};
use crate::surreal::guard::{Schema, outside_change};
use crate::surreal::record::{Raw, application_part, ends_of, kept_id, record_id, stamp_of};
use crate::{StoreError, Undo, UndoTo, Undone};

const LOOK: &str = "BEGIN;
    SELECT * FROM ONLY $id;
    $id<->?;
    INFO FOR TABLE $table STRUCTURE;
    COMMIT;";

/// The guard is the whole record as it was seen. `<->?` is asked again only where a record is deleted.
const REMOVE: &str = "BEGIN;
    LET $same = (SELECT * FROM ONLY $id) == $seen AND array::len($id<->? ?? []) = $edges;
    IF $same { DELETE $id RETURN NONE; DELETE $kept RETURN NONE; };
    $same;
    COMMIT;";

/// `in` and `out` never change in place: an edge with other ends is made anew.
const RESTORE: &str = "BEGIN;
    LET $same = (SELECT * FROM ONLY $id) == $seen;
    IF $same {
        IF $anew { DELETE $id RETURN NONE; INSERT RELATION $image RETURN NONE; }
        ELSE { UPDATE $id CONTENT $image RETURN NONE; };
        DELETE $kept RETURN NONE;
        INSERT $kept_image RETURN NONE;
    };
    $same;
    COMMIT;";

impl SurrealStore {
    pub(super) async fn take_back(&self, undo: &Undo) -> Result<Undone, StoreError> {
        let name = undo.key.table.as_str();
        self.tables.ensure(&self.client, [name, super::record::KEPT_TABLE]).await?;
        let mut params = Params::default();
        params.bind("id", record_id(&undo.key));
        params.bind("table", name.to_owned());
        let mut looked = run(&self.client, LOOK, params, Kind::Read).await?;
        let seen = looked.rows(1).pop();
        let edges = into_array(looked.take(2)).len();
        let schema = Schema::of(looked.rows(3).pop());
        let image = match &undo.to {
            UndoTo::Absent => None,
            UndoTo::Image { raw, version } => Some((Raw::decode(raw)?, *version)),
        };
        let Some(seen) = seen else {
            return Ok(match image {
                None => Undone::AlreadyThere,
                Some(_) => Undone::Blocked(format!("{} is gone", undo.key)),
            });
        };
        match judge(undo, &seen, edges, image.as_ref(), &schema)? {
            Verdict::Done => Ok(Undone::AlreadyThere),
            Verdict::Blocked(why) => Ok(Undone::Blocked(why)),
            Verdict::Go => self.change(undo, seen, edges, image.map(|(raw, _)| raw)).await,
        }
    }

    async fn change(
        &self,
        undo: &Undo,
        seen: db::Object,
        edges: usize,
        image: Option<Raw>,
    ) -> Result<Undone, StoreError> {
        let mut params = Params::default();
        params.bind("id", record_id(&undo.key));
        params.bind("kept", kept_id(&undo.key));
        let text = match image {
            None => {
                params.bind("edges", i64::try_from(edges).unwrap_or(i64::MAX));
                REMOVE
            }
            Some(Raw { record, kept }) => {
                params.bind("anew", seen.get("in") != record.get("in") || seen.get("out") != record.get("out"));
                params.bind("image", record);
                params.bind_list("kept_image", kept.map(db::Value::Object).into_iter().collect());
                RESTORE
            }
        };
        params.bind("seen", seen);
        let outcome = run(&self.client, text, params, Kind::Transaction).await;
        if outcome.is_err() {
            self.tables.forget();
        }
        let done = outcome?.take_from_end(1) == db::Value::Bool(true);
        let moved = || Undone::Blocked(format!("{} changed while it was being taken back", undo.key));
        Ok(if done { Undone::Restored } else { moved() })
    }
}

enum Verdict {
    Go,
    Done,
    Blocked(String),
}

type Target = (Raw, Option<lockstep_model::Version>);

fn judge(
    undo: &Undo,
    seen: &db::Object,
    edges: usize,
    image: Option<&Target>,
    schema: &Schema,
) -> Result<Verdict, StoreError> {
    let key = &undo.key;
    let stamp = stamp_of(seen);
    if let Some((raw, version)) = image {
        let back = match version {
            Some(version) => stamp.is_some_and(|stamp| stamp.version == *version),
            None => stamp.is_none() && *seen == raw.record,
        };
        if back {
            return Ok(Verdict::Done);
        }
    }
    match stamp {
        Some(stamp) if stamp.version == undo.version => {}
        Some(stamp) => return Ok(Verdict::Blocked(format!("{key} has the version {}", stamp.version))),
        None => return Ok(Verdict::Blocked(format!("{key} has lost its _lockstep field"))),
    }
    if let Some(what) = outside_change(&undo.document, application_part(seen.clone()), schema)? {
        return Ok(Verdict::Blocked(format!("{key} was changed from outside: {what}")));
    }
    // An edge's own ends are not edges at it, but they stand at the same place.
    let own = if ends_of(seen).is_some() { edges.min(2) } else { 0 };
    if image.is_none() && edges > own {
        return Ok(Verdict::Blocked(format!("{} edges have come to {key}", edges - own)));
    }
    Ok(Verdict::Go)
}
