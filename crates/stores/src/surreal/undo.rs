//! Taking writes of one operation back: look, judge, then change all of it under the guard that nothing has moved since the
//! look.
//!
//! The order within the change: edges that the operation made go first, then the records that it made (a record takes its
//! edges with it), then records come back, and edges last, when their ends are there again.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use lockstep_model::{Key, Version};
use surrealdb::types as db;

use crate::surreal::SurrealStore;
use crate::surreal::call::{Answers, Params, into_array, into_object};
use crate::surreal::guard::{Schema, outside_change};
use crate::surreal::image::keys_in;
use crate::surreal::record::{Raw, application_part, ends_of, kept_id, key_of_row, record_id, stamp_of};
use crate::{StoreError, Undo, UndoTo, Undone, Wrote};

/// What the judgement is made from. INFO FOR TABLE follows, a statement for each table.
const LOOK: &str = "SELECT * FROM $ids;
    SELECT id, <->? AS edges FROM $made;
    SELECT VALUE id FROM $ends;";

/// Everything that was looked at is as it was: the records whole, the edges at those that will go, the ends of edges that
/// come back.
const CHANGE: &str = "LET $same = (SELECT * FROM $ids) == $seen
        AND (SELECT id, <->? AS edges FROM $made) == $seen_edges
        AND (SELECT VALUE id FROM $ends) == $seen_ends;
    IF $same {
        DELETE $gone_edges RETURN NONE;
        DELETE $turned RETURN NONE;
        DELETE $gone RETURN NONE;
        FOR $image IN $back { UPDATE $image.id CONTENT $image RETURN NONE; };
        INSERT $new RETURN NONE;
        FOR $image IN $back_edges { UPDATE $image.id CONTENT $image RETURN NONE; };
        INSERT RELATION $new_edges RETURN NONE;
        DELETE $kept RETURN NONE;
        INSERT $kept_images RETURN NONE;
    };
    $same;";

impl SurrealStore {
    pub(super) async fn take_back(&self, undos: &[Undo]) -> Result<Undone, StoreError> {
        if undos.is_empty() {
            return Ok(Undone::AlreadyThere);
        }
        let asked = undos.iter().map(Asked::of).collect::<Result<Vec<_>, _>>()?;
        let names: BTreeSet<&str> = asked.iter().map(|asked| asked.undo.key.table.as_str()).collect();
        self.keeper.ensure(&names).await?;
        let look = self.look(&asked, &names).await?;
        let mut change = Change::default();
        for asked in &asked {
            match look.judge(asked)? {
                Verdict::Done => {}
                Verdict::Go => change.add(asked, &look),
                Verdict::Blocked(why) => return Ok(Undone::Blocked(why)),
            }
        }
        if change.is_empty() {
            return Ok(Undone::AlreadyThere);
        }
        let outcome = self.keeper.write(CHANGE, change.params(look)).await;
        if outcome.is_err() {
            self.keeper.tables.forget();
        }
        let done = outcome?.take_from_end(1) == db::Value::Bool(true);
        let moved = || Undone::Blocked("something changed while it was being taken back".to_owned());
        Ok(if done { Undone::Restored } else { moved() })
    }

    async fn look(&self, asked: &[Asked<'_>], names: &BTreeSet<&str>) -> Result<Look, StoreError> {
        let mut text = format!("BEGIN;\n{LOOK}\n");
        for name in names {
            text.push_str(&format!("INFO FOR TABLE `{name}` STRUCTURE;\n"));
        }
        text.push_str("COMMIT;");
        let ids = |wanted: &dyn Fn(&Asked<'_>) -> bool| -> Vec<db::Value> {
            asked.iter().filter(|asked| wanted(asked)).map(|asked| id_value(&asked.undo.key)).collect()
        };
        let lists = [
            ("ids", ids(&|_| true)),
            ("made", ids(&|asked| asked.image.is_none())),
            ("ends", asked.iter().filter_map(Asked::ends).flatten().map(|key| id_value(&key)).collect()),
        ];
        let mut params = Params::default();
        for (name, list) in &lists {
            params.bind_list(name, list.clone());
        }
        let answers = self.keeper.read(&text, params).await?;
        let undone = asked.iter().map(|asked| asked.undo.key.clone()).collect();
        Ok(Look::of(answers, lists, names, undone))
    }
}

/// An undo with its image decoded.
struct Asked<'a> {
    undo: &'a Undo,
    image: Option<(Raw, Option<Version>)>,
}

impl<'a> Asked<'a> {
    fn of(undo: &'a Undo) -> Result<Self, StoreError> {
        let image = match &undo.to {
            UndoTo::Absent => None,
            UndoTo::Image { raw, version } => Some((Raw::decode(raw)?, *version)),
        };
        Ok(Self { undo, image })
    }

    /// The ends of an edge that is to come back.
    fn ends(&self) -> Option<[Key; 2]> {
        let (raw, _) = self.image.as_ref()?;
        ends_of(&raw.record).map(|ends| [ends.from, ends.to])
    }
}

/// What the store holds for all of them.
struct Look {
    lists: [(&'static str, Vec<db::Value>); 3],
    answers: [db::Value; 3],
    records: HashMap<Key, db::Object>,
    /// By record that may go: the edges at it.
    edges: HashMap<Key, Vec<db::Value>>,
    there: HashSet<Key>,
    schemas: HashMap<String, Schema>,
    /// All that is being undone.
    undone: HashSet<Key>,
    none: Schema,
}

enum Verdict {
    Go,
    Done,
    Blocked(String),
}

impl Look {
    fn of(
        mut answers: Answers,
        lists: [(&'static str, Vec<db::Value>); 3],
        names: &BTreeSet<&str>,
        undone: HashSet<Key>,
    ) -> Self {
        let mut schemas = HashMap::new();
        for (place, name) in names.iter().enumerate() {
            schemas.insert((*name).to_owned(), Schema::of(answers.rows(4 + place).pop()));
        }
        let answers = [1, 2, 3].map(|place| answers.take(place));
        let rows = |answer: &db::Value| -> Vec<(Key, db::Object)> {
            let rows = into_array(answer.clone()).into_iter().filter_map(into_object);
            rows.filter_map(|row| Some((key_of_row(&row)?, row))).collect()
        };
        let edges = |mut row: db::Object| {
            let mut ids = row.remove("edges").map(into_array).unwrap_or_default();
            ids.sort_unstable();
            ids.dedup();
            ids
        };
        Self {
            records: rows(&answers[0]).into_iter().collect(),
            edges: rows(&answers[1]).into_iter().map(|(key, row)| (key, edges(row))).collect(),
            there: keys_in(answers[2].clone()).into_iter().collect(),
            lists,
            answers,
            schemas,
            undone,
            none: Schema::default(),
        }
    }

    fn judge(&self, asked: &Asked<'_>) -> Result<Verdict, StoreError> {
        let (undo, key) = (asked.undo, &asked.undo.key);
        let seen = self.records.get(key);
        let stamp = seen.and_then(stamp_of);
        let verdict = match (seen, &asked.image) {
            (None, None) => return Ok(Verdict::Done),
            (Some(seen), Some((raw, version))) => {
                let back = match version {
                    Some(version) => stamp.is_some_and(|stamp| stamp.version == *version),
                    None => stamp.is_none() && *seen == raw.record,
                };
                back.then_some(Verdict::Done)
            }
            (None, Some(_)) | (Some(_), None) => None,
        };
        if let Some(verdict) = verdict {
            return Ok(verdict);
        }
        match (&undo.wrote, seen) {
            // An edge that would have gone with an end since.
            (Wrote::Removed, None) if self.missing_end(asked).is_some() => Ok(Verdict::Done),
            (Wrote::Removed, None) => Ok(Verdict::Go),
            (Wrote::Removed, Some(_)) => Ok(Verdict::Blocked(format!("{key} is there again"))),
            (Wrote::Put(_), None) => Ok(Verdict::Blocked(format!("{key} is gone"))),
            (Wrote::Put(document), Some(seen)) => {
                match stamp {
                    Some(stamp) if stamp.version == undo.version => {}
                    Some(stamp) => return Ok(Verdict::Blocked(format!("{key} has the version {}", stamp.version))),
                    None => return Ok(Verdict::Blocked(format!("{key} has lost its _lockstep field"))),
                }
                let schema = self.schemas.get(key.table.as_str()).unwrap_or(&self.none);
                if let Some(what) = outside_change(document, application_part(seen.clone()), schema)? {
                    return Ok(Verdict::Blocked(format!("{key} was changed from outside: {what}")));
                }
                Ok(if asked.image.is_some() { self.can_come_back(asked) } else { self.can_go(key, seen) })
            }
        }
    }

    /// A record takes its edges with it: only those may be there that this operation made.
    fn can_go(&self, key: &Key, seen: &db::Object) -> Verdict {
        let own = ends_of(seen).map_or_else(Vec::new, |ends| vec![id_value(&ends.from), id_value(&ends.to)]);
        let come = |id: &&db::Value| {
            let ours = keys_in(db::Value::Array(vec![(**id).clone()].into()));
            !own.contains(id) && !ours.first().is_some_and(|edge| self.undone.contains(edge))
        };
        match self.edges.get(key).into_iter().flatten().filter(come).count() {
            0 => Verdict::Go,
            come => Verdict::Blocked(format!("{come} edges have come to {key}")),
        }
    }

    fn can_come_back(&self, asked: &Asked<'_>) -> Verdict {
        match self.missing_end(asked) {
            None => Verdict::Go,
            Some(end) => Verdict::Blocked(format!("{}, an end of the edge {}, is gone", end, asked.undo.key)),
        }
    }

    /// An edge comes back between records that are there, or come back with it.
    fn missing_end(&self, asked: &Asked<'_>) -> Option<Key> {
        let missing = |end: &Key| !self.there.contains(end) && !self.undone.contains(end);
        asked.ends().into_iter().flatten().find(missing)
    }
}

/// The change, by how it is made. The names are those of the parameters.
#[derive(Default)]
struct Change {
    lists: BTreeMap<&'static str, Vec<db::Value>>,
}

impl Change {
    const LISTS: [&'static str; 9] =
        ["gone_edges", "gone", "back", "new", "back_edges", "turned", "new_edges", "kept", "kept_images"];

    fn is_empty(&self) -> bool {
        self.lists.is_empty()
    }

    fn push(&mut self, list: &'static str, value: db::Value) {
        self.lists.entry(list).or_default().push(value);
    }

    fn add(&mut self, asked: &Asked<'_>, look: &Look) {
        let key = &asked.undo.key;
        let seen = look.records.get(key);
        self.push("kept", db::Value::RecordId(kept_id(key)));
        let Some((Raw { record, kept }, _)) = &asked.image else {
            let edge = seen.is_some_and(|seen| ends_of(seen).is_some());
            self.push(if edge { "gone_edges" } else { "gone" }, id_value(key));
            return;
        };
        if let Some(kept) = kept {
            self.push("kept_images", db::Value::Object(kept.clone()));
        }
        let image = db::Value::Object(record.clone());
        let ends = |record: &db::Object| [record.get("in").cloned(), record.get("out").cloned()];
        let edge = ends_of(record).is_some();
        match seen {
            None if edge => self.push("new_edges", image),
            None => self.push("new", image),
            // `in` and `out` never change in place: such an edge is made anew.
            Some(seen) if ends(seen) != ends(record) => {
                self.push("turned", id_value(key));
                self.push(if edge { "new_edges" } else { "new" }, image);
            }
            Some(_) if edge => self.push("back_edges", image),
            Some(_) => self.push("back", image),
        }
    }

    fn params(mut self, look: Look) -> Params {
        let mut params = Params::default();
        for name in Self::LISTS {
            params.bind_list(name, self.lists.remove(name).unwrap_or_default());
        }
        for (name, list) in look.lists {
            params.bind_list(name, list);
        }
        let [records, edges, ends] = look.answers;
        params.bind("seen", records);
        params.bind("seen_edges", edges);
        params.bind("seen_ends", ends);
        params
    }
}

fn id_value(key: &Key) -> db::Value {
    db::Value::RecordId(record_id(key))
}
