//! What is known of each table: its rules, its vectors, its number.
//!
//! A table's vectors are fixed by the configuration, by its collection, or, where tables are created on first use, by the first
//! operation with vectors **in log order** (scenario B10): its intent carries them. What no operation has committed with may
//! still be replaced.

use std::collections::{BTreeMap, HashMap};

use lockstep_model::{Action, Code, Key, Refusal, Shape, Stores, Table, TableRules, UnrelateTarget, Vectors};
use lockstep_stores::Collection;
use lockstep_wal::{KnownShape, ShapeRow};

use crate::settings::Settings;

/// One table.
#[derive(Debug, Clone)]
pub(crate) struct TableInfo {
    pub(crate) number: u32,
    pub(crate) rules: TableRules,
    pub(crate) shape: Option<Shape>,
    /// Something has committed with this shape, or the collection exists, or it is configured.
    pub(crate) proven: bool,
    /// It holds edges, or may.
    pub(crate) edges: bool,
    /// Open operations with vectors, that keep an unproven shape.
    pub(crate) users: u32,
    /// An operator paused it, or the store lacks it: why.
    pub(crate) paused: Option<String>,
}

/// What admission learned about an operation.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Admission {
    /// The number of the table that it is queued under.
    pub(crate) table: u32,
    /// It has work in the vector store.
    pub(crate) wants_vectors: bool,
    /// It fixes its table's vectors.
    pub(crate) defines: Option<Shape>,
}

/// All tables.
#[derive(Debug)]
pub(crate) struct Tables {
    auto_create: bool,
    by_name: BTreeMap<Table, TableInfo>,
    names: HashMap<u32, Table>,
}

impl Tables {
    /// The configured tables, and what the log and the vector store know.
    pub(crate) fn new(
        settings: &Settings,
        known: &BTreeMap<Table, KnownShape>,
        collections: &BTreeMap<String, Collection>,
    ) -> Self {
        let mut tables = Self { auto_create: settings.auto_create, by_name: BTreeMap::new(), names: HashMap::new() };
        for (name, rules) in &settings.tables {
            let info = tables.info(name, rules.clone());
            if let Some(shape) = &rules.vectors {
                info.shape = Some(shape.clone());
                info.proven = true;
            }
        }
        for (name, known) in known {
            let info = tables.info(name, TableRules::default());
            info.edges |= known.edges;
            if !known.shape.0.is_empty() {
                info.shape.get_or_insert_with(|| known.shape.clone());
            }
        }
        if settings.auto_create {
            for name in collections.keys().filter_map(|name| Table::new(name).ok()) {
                // A collection that the log does not speak of may hold edges' points as well.
                let unheard = !tables.by_name.contains_key(&name);
                tables.info(&name, TableRules::default()).edges |= unheard;
            }
        }
        for (name, info) in &mut tables.by_name {
            if let Some(collection) = collections.get(&info.rules.collection_for(name)) {
                info.shape.get_or_insert_with(|| collection.shape.clone());
                info.proven = true;
            }
        }
        tables
    }

    fn info(&mut self, name: &Table, rules: TableRules) -> &mut TableInfo {
        let number = u32::try_from(self.by_name.len()).unwrap_or(u32::MAX);
        let names = &mut self.names;
        self.by_name.entry(name.clone()).or_insert_with(|| {
            names.insert(number, name.clone());
            TableInfo { number, rules, shape: None, proven: false, edges: false, users: 0, paused: None }
        })
    }

    /// The number of a table that the log speaks of.
    pub(crate) fn remember(&mut self, name: &Table) -> u32 {
        self.info(name, TableRules::default()).number
    }

    pub(crate) fn get(&self, name: &Table) -> Option<&TableInfo> {
        self.by_name.get(name)
    }

    pub(crate) fn get_mut(&mut self, name: &Table) -> Option<&mut TableInfo> {
        self.by_name.get_mut(name)
    }

    /// The table with this number.
    pub(crate) fn numbered(&self, number: u32) -> Option<(&Table, &TableInfo)> {
        let name = self.names.get(&number)?;
        Some((name, self.by_name.get(name)?))
    }

    /// Every table that is known.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Table, &TableInfo)> {
        self.by_name.iter()
    }

    /// Where the table's points are, if it has any.
    pub(crate) fn collection(&self, name: &Table) -> Option<Collection> {
        let info = self.by_name.get(name)?;
        let shape = info.shape.clone()?;
        (info.rules.stores != Stores::Surreal).then(|| Collection { name: info.rules.collection_for(name), shape })
    }

    /// Whether removing a record can take edges with it that have points.
    pub(crate) fn edges_have_points(&self) -> bool {
        self.by_name.values().any(|info| info.edges && info.shape.is_some())
    }

    /// Judges shape and table of an operation; a refusal here never reaches the log (design 4.1).
    pub(crate) fn admit(&mut self, action: &Action) -> Result<Admission, Refusal> {
        match action {
            Action::Put { key, vectors, .. } => self.admit_write(&key.table, vectors, false, false),
            Action::Patch { key, vectors, .. } => self.admit_write(&key.table, vectors, true, false),
            Action::Relate { key, vectors, .. } => self.admit_write(&key.table, vectors, false, true),
            Action::Delete { key } | Action::Unrelate(UnrelateTarget::Key(key)) => self.admit_removal(&key.table),
            Action::Unrelate(UnrelateTarget::Endpoints { edge, .. }) => self.admit_removal(edge),
            Action::Atomic(_) | Action::Clear { .. } => {
                Err(Refusal::new(Code::NotImplemented, format!("`{}` is not built yet", action.kind().as_str())))
            }
        }
    }

    fn known(&mut self, name: &Table) -> Result<&mut TableInfo, Refusal> {
        if !self.auto_create && !self.by_name.contains_key(name) {
            let detail = format!("table {name} is not configured and daemon.auto_create is off: add [tables.{name}]");
            return Err(Refusal::new(Code::UnknownTable, detail));
        }
        Ok(self.info(name, TableRules::default()))
    }

    fn admit_write(&mut self, name: &Table, vectors: &Vectors, patch: bool, edge: bool) -> Result<Admission, Refusal> {
        let auto_create = self.auto_create;
        let info = self.known(name)?;
        info.edges |= edge;
        if info.rules.stores == Stores::Qdrant {
            return Err(Refusal::new(
                Code::NotImplemented,
                format!("table {name} has stores = \"qdrant\": not built yet"),
            ));
        }
        if info.rules.stores == Stores::Surreal {
            return match vectors.0.keys().next() {
                None => Ok(Admission { table: info.number, wants_vectors: false, defines: None }),
                Some(vector) => Err(Refusal::new(
                    Code::UnknownVector,
                    format!("table {name} has no vectors (stores = \"surreal\"), but the operation names `{vector}`"),
                )),
            };
        }
        // What nothing has committed with, and nothing open counts on, may be replaced.
        let replaceable = !info.proven && info.users == 0;
        match &info.shape {
            Some(shape) if !replaceable || vectors.0.is_empty() => {
                if patch { shape.check_patch(vectors) } else { shape.check_put(vectors) }?;
                Ok(Admission { table: info.number, wants_vectors: true, defines: None })
            }
            _ if vectors.0.is_empty() => Ok(Admission { table: info.number, wants_vectors: false, defines: None }),
            _ if auto_create => {
                Ok(Admission { table: info.number, wants_vectors: true, defines: Some(Shape::infer(vectors)) })
            }
            _ => Err(Refusal::new(
                Code::UnknownVector,
                format!(
                    "table {name} has no vectors configured and daemon.auto_create is off: add [tables.{name}.vectors]"
                ),
            )),
        }
    }

    fn admit_removal(&mut self, name: &Table) -> Result<Admission, Refusal> {
        let edges = self.edges_have_points();
        let info = self.known(name)?;
        let wants_vectors = info.rules.stores != Stores::Surreal && info.shape.is_some();
        Ok(Admission { table: info.number, wants_vectors: wants_vectors || edges, defines: None })
    }

    /// The operation is in the log: its shape counts.
    pub(crate) fn logged(&mut self, name: &Table, admission: &Admission) {
        if let Some(info) = self.by_name.get_mut(name) {
            if let Some(shape) = &admission.defines {
                info.shape = Some(shape.clone());
            }
            if admission.wants_vectors && !info.proven {
                info.users += 1;
            }
        }
    }

    /// An operation on the table ended; `committed` proves its shape.
    pub(crate) fn ended(&mut self, number: u32, wanted_vectors: bool, committed: bool) {
        let Some(info) = self.names.get(&number).and_then(|name| self.by_name.get_mut(name)) else { return };
        if wanted_vectors {
            info.users = info.users.saturating_sub(1);
            info.proven |= committed;
        }
    }

    /// What a checkpoint keeps.
    pub(crate) fn rows(&self) -> Vec<ShapeRow> {
        self.by_name
            .iter()
            .filter(|(_, info)| info.shape.is_some() || info.edges)
            .map(|(name, info)| {
                let shape = info.shape.clone().unwrap_or_default();
                ShapeRow { table: name.to_string(), shape, edges: info.edges }
            })
            .collect()
    }

    /// The collection and point of a key, if its table has points.
    pub(crate) fn point(&self, key: &Key) -> Option<(String, uuid::Uuid)> {
        Some((self.collection(&key.table)?.name, key.point_id()))
    }
}
