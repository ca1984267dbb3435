//! What must be so: the committed operations, applied in log order to a map. Every answer is checked against it, too.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_engine::OpView;
use lockstep_model::{
    Action, ActionKind, Code, Document, Filter, Key, Operation, State, Table, UnrelateTarget, Vector, Vectors, Version,
};
use lockstep_stores::EdgeEnds;

use crate::clients::Asked;
use crate::documents::{self, kept_vectors};
use crate::promises::kept_promise;
use crate::vectors::{self, POISON};

#[derive(Debug, Clone, PartialEq)]
struct Entity {
    version: Version,
    document: Document,
    vectors: Vectors,
    ends: Option<EdgeEnds>,
}

/// The world as the log says it is.
#[derive(Debug, Default)]
pub(crate) struct World {
    entities: BTreeMap<Key, Entity>,
    clears: Vec<Cleared>,
}

/// A clear that the log speaks of.
#[derive(Debug)]
struct Cleared {
    version: Version,
    table: Table,
    filter: Option<Filter>,
    committed: bool,
}

impl Cleared {
    /// It has to remove this, unless somebody else does.
    fn covers(&self, key: &Key, entity: &Entity) -> bool {
        key.table == self.table
            && entity.version < self.version
            && self.filter.as_ref().is_none_or(|filter| filter.matches(&entity.document.plain()))
    }
}

fn is_poison(op: &Operation) -> bool {
    op.action.members().iter().any(|member| {
        let (document, vectors) = match member {
            Action::Put { document, vectors, .. }
            | Action::Patch { document, vectors, .. }
            | Action::Relate { document, vectors, .. } => (document, vectors),
            Action::Delete { .. } | Action::Unrelate(_) | Action::Atomic(_) | Action::Clear { .. } => return false,
        };
        document.0.contains_key("poison")
            || vectors.0.values().any(|v| matches!(v, Vector::Dense(d) if d.first() == Some(&POISON)))
    })
}

fn patches(op: &Operation) -> bool {
    op.action.members().iter().any(|member| matches!(member, Action::Patch { .. }))
}

impl World {
    /// Takes in the next operation in log order; `Err` says why its answer cannot be right.
    pub(crate) fn take(&mut self, asked: &Asked, view: &OpView) -> Result<(), String> {
        let op = &asked.op;
        let lsn = view.lsn;
        let state = view.state();
        kept_promise(asked, view)?;
        if let Action::Clear { table, filter } = &op.action {
            let committed = state == State::Committed;
            self.clears.push(Cleared {
                version: view.summary.version,
                table: table.clone(),
                filter: filter.clone(),
                committed,
            });
        }
        let expected = self.judge(op);
        match state {
            State::Committed => {
                if let Err(code) = expected {
                    return Err(format!("{lsn}: committed, but {} was due: {op:?}", code.as_str()));
                }
                if is_poison(op) {
                    return Err(format!("{lsn}: committed, although a store refuses it"));
                }
                self.apply(&op.action, view.summary.version);
                Ok(())
            }
            State::RolledBack => {
                let code = view.summary.failure.as_ref().map(|f| f.code);
                match (code, expected) {
                    (Some(Code::RejectedBySurreal | Code::RejectedByQdrant), Ok(())) if is_poison(op) => Ok(()),
                    // Made poisonous by a patch earlier on: the result is refused.
                    (Some(Code::RejectedBySurreal), Ok(())) if patches(op) => Ok(()),
                    (Some(code), Err(due)) if code == due => Ok(()),
                    (code, due) => Err(format!("{lsn}: rolled back with {code:?}, due was {due:?}, asked {op:?}")),
                }
            }
            State::Parked
            | State::Pending
            | State::SurrealCompleted
            | State::QdrantCompleted
            | State::Compensating
            | State::Discarded => Err(format!("{lsn}: ended {}, {:?}", state.as_str(), view.error)),
        }
    }

    /// Takes in a delete that a clear logged as part of a page.
    pub(crate) fn take_page(&mut self, view: &OpView) -> Result<(), String> {
        let lsn = view.lsn;
        let key = view.summary.key.clone().filter(|_| view.summary.kind == ActionKind::Delete);
        let key = key.ok_or_else(|| format!("{lsn}: nobody asked for this"))?;
        let clears: Vec<&Cleared> = self.clears.iter().filter(|clear| clear.table == key.table).collect();
        if clears.is_empty() {
            return Err(format!("{lsn}: nobody asked for a delete of {key}"));
        }
        let entity = self.entities.get(&key);
        match (view.state(), view.summary.failure.as_ref().map(|f| f.code)) {
            (State::Committed, _) if entity.is_none_or(|entity| clears.iter().any(|c| c.covers(&key, entity))) => {
                self.remove(&key);
                Ok(())
            }
            (State::Committed, _) => {
                Err(format!("{lsn}: a clear removed {key}, which it should have spared: {entity:?}"))
            }
            // An edge can have gone with an endpoint whose delete is younger: a delete of an edge's key stands in no lane of
            // its endpoints. Another clear can have been there before.
            (State::RolledBack, Some(Code::PreconditionFailed))
                if entity.is_none_or(|e| e.ends.is_some() || !clears.iter().all(|c| c.covers(&key, e))) =>
            {
                Ok(())
            }
            (state, code) => {
                Err(format!("{lsn}: a page's delete of {key} ended {}, {code:?}: {entity:?}", state.as_str()))
            }
        }
    }

    /// What its turn in log order must come to.
    fn judge(&self, op: &Operation) -> Result<(), Code> {
        let members = op.action.members();
        let removed: BTreeSet<&Key> = members
            .iter()
            .filter_map(|member| if let Action::Delete { key } = member { Some(key) } else { None })
            .filter(|_| members.len() > 1)
            .collect();
        let mut made: BTreeSet<&Key> = BTreeSet::new();
        for (place, action) in members.iter().enumerate() {
            let condition = op.condition(place);
            let subject = action.subject().and_then(|key| self.entities.get(&key));
            let there = |key: &Key| !removed.contains(key) && (made.contains(key) || self.entities.contains_key(key));
            if let Action::Relate { from, to, .. } = action
                && !(there(from) && there(to))
            {
                return Err(Code::NotFound);
            }
            // An unrelate by endpoints is about a pair, not about one key: it takes no preconditions here.
            if condition.if_absent && subject.is_some() {
                return Err(Code::PreconditionFailed);
            }
            if let Some(wanted) = condition.if_version
                && subject.map(|e| e.version) != Some(wanted)
            {
                return Err(Code::PreconditionFailed);
            }
            if matches!(action, Action::Patch { .. }) && subject.is_none() {
                return Err(Code::NotFound);
            }
            if let Action::Put { key, .. } | Action::Relate { key, .. } = action {
                made.insert(key);
            }
        }
        Ok(())
    }

    fn apply(&mut self, action: &Action, version: Version) {
        match action {
            Action::Put { key, document, vectors } => {
                let entity = Entity { version, document: document.clone(), vectors: vectors.clone(), ends: None };
                self.entities.insert(key.clone(), entity);
            }
            Action::Patch { key, document, vectors } => {
                // Where somebody else made what was patched, nothing is known of it.
                if let Some(entity) = self.entities.get_mut(key) {
                    entity.version = version;
                    entity.document = entity.document.merge_patch(document);
                    entity.vectors.0.extend(vectors.0.clone());
                }
            }
            Action::Relate { key, from, to, document, vectors } => {
                let ends = Some(EdgeEnds { from: from.clone(), to: to.clone() });
                let entity = Entity { version, document: document.clone(), vectors: vectors.clone(), ends };
                self.entities.insert(key.clone(), entity);
            }
            Action::Delete { key } | Action::Unrelate(UnrelateTarget::Key(key)) => self.remove(key),
            Action::Unrelate(UnrelateTarget::Endpoints { edge, from, to }) => {
                let ends = EdgeEnds { from: from.clone(), to: to.clone() };
                self.entities.retain(|key, e| key.table != *edge || e.ends.as_ref() != Some(&ends));
            }
            Action::Atomic(members) => members.iter().for_each(|member| self.apply(member, version)),
            // Its pages are deletes of their own.
            Action::Clear { .. } => {}
        }
    }

    fn remove(&mut self, key: &Key) {
        self.entities.remove(key);
        self.entities.retain(|_, e| e.ends.as_ref().is_none_or(|ends| ends.from != *key && ends.to != *key));
    }

    /// What a clear that committed had to remove is gone.
    fn compare_clears(&self) -> Result<(), String> {
        for clear in self.clears.iter().filter(|clear| clear.committed) {
            if let Some((key, entity)) = self.entities.iter().find(|(key, entity)| clear.covers(key, entity)) {
                return Err(format!("{key} outlived {clear:?}: {entity:?}"));
            }
        }
        Ok(())
    }

    /// Both stores show exactly this (P2).
    pub(crate) fn compare(&self, documents: &documents::Disk, vectors: &vectors::Disk) -> Result<(), String> {
        self.compare_clears()?;
        self.compare_those(documents, vectors, |_| true)?;
        for point in vectors.points.values() {
            let key = point.stamp.key.as_ref().ok_or("a point without a key")?;
            if !self.entities.contains_key(key) {
                return Err(format!("{key} has an orphaned point: {point:?}"));
            }
        }
        Ok(())
    }

    /// Takes in the next operation in log order, whatever its answer.
    pub(crate) fn follow(&mut self, asked: &Asked, view: &OpView) {
        if view.state() == State::Committed {
            self.apply(&asked.op.action, view.summary.version);
        }
    }

    /// Takes in a delete that a clear logged as part of a page, whatever its answer.
    pub(crate) fn follow_page(&mut self, view: &OpView) {
        if let Some(key) = &view.summary.key
            && (view.state(), view.summary.kind) == (State::Committed, ActionKind::Delete)
        {
            self.remove(key);
        }
    }

    /// Of these keys both stores show exactly this.
    pub(crate) fn compare_those(
        &self,
        documents: &documents::Disk,
        vectors: &vectors::Disk,
        which: impl Fn(&Key) -> bool,
    ) -> Result<(), String> {
        for (key, entity) in self.entities.iter().filter(|(key, _)| which(key)) {
            let record = documents.records.get(key).ok_or_else(|| format!("{key} is missing in SurrealDB"))?;
            let version = record.stamp.map(|s| s.version);
            if version != Some(entity.version) || record.document != entity.document || record.ends != entity.ends {
                return Err(format!("{key}: SurrealDB shows {record:?}, the log says {entity:?}"));
            }
            if kept_vectors(record) != entity.vectors || record.has_vectors == entity.vectors.0.is_empty() {
                return Err(format!("{key}: kept are {:?}, the log says {:?}", record.kept, entity.vectors));
            }
            let point = vectors.points.get(&(key.table.to_string(), key.point_id()));
            match (point, entity.vectors.0.is_empty()) {
                (None, true) => {}
                (Some(point), false) => {
                    let plain = lockstep_model::PayloadSelection::Scalars.select(&entity.document);
                    if point.stamp.version != Some(entity.version)
                        || point.vectors != entity.vectors
                        || point.payload != plain
                    {
                        return Err(format!("{key}: Qdrant shows {point:?}, the log says {entity:?}"));
                    }
                }
                (None, false) => return Err(format!("{key}: its point is missing")),
                (Some(point), true) => return Err(format!("{key}: has no vectors, but a point: {point:?}")),
            }
        }
        let unknown = |key: &&Key| which(key) && !self.entities.contains_key(*key);
        match documents.records.keys().find(unknown) {
            Some(key) => {
                Err(format!("{key} is in SurrealDB, and the log says it is not: {:?}", documents.records.get(key)))
            }
            None => Ok(()),
        }
    }
}
