//! What is known of each table: its rules, its vectors, its number. `admission.rs` judges operations by it, `missing.rs` is what a store
//! lacks of it.
//!
//! A table's vectors are fixed by the configuration, by its collection, or, where tables are created on first use, by the first
//! operation with vectors **in log order** (scenario B10): its intent carries them. What no operation has committed with may
//! still be replaced.

mod admission;
mod missing;

use std::collections::{BTreeMap, HashMap, HashSet};

use lockstep_model::{Document, Key, PointId, PointIdPolicy, Shape, Stores, Table, TableRules};
use lockstep_stores::Collection;
use lockstep_wal::{KnownShape, ShapeRow};
use tokio::time::Instant;

pub(crate) use self::admission::Admission;
use self::missing::Missing;
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
    /// An operation on it has been logged.
    pub(crate) written: bool,
    /// It had vectors before the engine started.
    had_vectors: bool,
    /// Open operations with vectors, that keep an unproven shape.
    pub(crate) users: u32,
    /// An operator paused it: why.
    pub(crate) paused: Option<String>,
    /// A store lacks it, or its collection: nothing goes there until this time, then one operation tries.
    pub(crate) missing: Option<Missing>,
}

impl TableInfo {
    /// Why nothing is done on it, if nothing is.
    pub(crate) fn standstill(&self) -> Option<&str> {
        self.paused.as_deref().or_else(|| self.missing.as_ref().map(|missing| missing.why.as_str()))
    }

    fn runs(&self, now: Instant) -> bool {
        self.paused.is_none() && self.missing.as_ref().is_none_or(|missing| missing.until <= now)
    }
}

/// Numbers from here on stand for several tables together: those of a group.
const COMBINED: u32 = 1 << 31;

/// So many different combinations are told apart; a group beyond them waits only for its first table.
const MAX_COMBINED: usize = 4096;

/// All tables.
#[derive(Debug)]
pub(crate) struct Tables {
    auto_create: bool,
    /// The vector store has said what it has.
    learned: bool,
    by_name: BTreeMap<Table, TableInfo>,
    names: HashMap<u32, Table>,
    combined: Vec<Vec<u32>>,
    numbers: HashMap<Vec<u32>, u32>,
    /// How many tables a store lacks.
    lacking: usize,
}

impl Tables {
    /// The configured tables, and what the log knows.
    pub(crate) fn new(settings: &Settings, known: &BTreeMap<Table, KnownShape>) -> Self {
        let mut tables = Self {
            auto_create: settings.auto_create,
            learned: false,
            by_name: BTreeMap::new(),
            names: HashMap::new(),
            combined: Vec::new(),
            numbers: HashMap::new(),
            lacking: 0,
        };
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
            info.written = true;
            if !known.shape.0.is_empty() {
                info.had_vectors = true;
                info.shape.get_or_insert_with(|| known.shape.clone());
            }
        }
        tables
    }

    /// Whether the vector store has said what it has. Until then nothing is started that may have to do with it.
    pub(crate) const fn is_learned(&self) -> bool {
        self.learned
    }

    /// What the vector store has is known from now on.
    pub(crate) fn learn(&mut self, collections: &BTreeMap<String, Collection>) {
        let tables = self;
        tables.learned = true;
        if tables.auto_create {
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
    }

    fn info(&mut self, name: &Table, rules: TableRules) -> &mut TableInfo {
        let number = u32::try_from(self.by_name.len()).unwrap_or(u32::MAX);
        let names = &mut self.names;
        self.by_name.entry(name.clone()).or_insert_with(|| {
            names.insert(number, name.clone());
            TableInfo {
                number,
                rules,
                shape: None,
                proven: false,
                edges: false,
                written: false,
                had_vectors: false,
                users: 0,
                paused: None,
                missing: None,
            }
        })
    }

    /// The number of a table that the log speaks of.
    pub(crate) fn remember(&mut self, name: &Table) -> u32 {
        let info = self.info(name, TableRules::default());
        info.written = true;
        info.number
    }

    /// A table that is known, or that its first operation may make.
    pub(crate) fn allowed(&mut self, name: &Table) -> bool {
        if self.auto_create {
            self.info(name, TableRules::default());
        }
        self.by_name.contains_key(name)
    }

    pub(crate) fn get(&self, name: &Table) -> Option<&TableInfo> {
        self.by_name.get(name)
    }

    pub(crate) fn get_mut(&mut self, name: &Table) -> Option<&mut TableInfo> {
        self.by_name.get_mut(name)
    }

    /// The tables that this number stands for.
    pub(crate) fn numbered(&self, number: u32) -> impl Iterator<Item = (&Table, &TableInfo)> {
        let several = number.checked_sub(COMBINED).and_then(|place| self.combined.get(usize::try_from(place).ok()?));
        let one = several.is_none().then_some(number);
        several.into_iter().flatten().copied().chain(one).filter_map(|number| {
            let name = self.names.get(&number)?;
            Some((name, self.by_name.get(name)?))
        })
    }

    /// One number for several tables.
    pub(crate) fn combine(&mut self, mut tables: Vec<u32>) -> u32 {
        tables.sort_unstable();
        tables.dedup();
        let first = tables.first().copied().unwrap_or(u32::MAX);
        if tables.len() < 2 {
            return first;
        }
        if let Some(number) = self.numbers.get(&tables) {
            return *number;
        }
        let place = u32::try_from(self.combined.len()).unwrap_or(u32::MAX);
        if self.combined.len() >= MAX_COMBINED {
            return first;
        }
        self.combined.push(tables.clone());
        self.numbers.insert(tables, COMBINED + place);
        COMBINED + place
    }

    /// Whether nothing keeps work from the tables that this number stands for.
    pub(crate) fn run(&self, number: u32, now: Instant) -> bool {
        self.numbered(number).all(|(_, info)| info.runs(now))
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

    /// The collections of configured tables that are not `there`, and of which the log knows no vectors: nothing can be lost of them.
    pub(crate) fn unmade(&self, there: &BTreeMap<String, Collection>) -> BTreeMap<String, Collection> {
        let configured = self.by_name.iter().filter(|(_, info)| info.rules.vectors.is_some());
        let mut unmade: BTreeMap<_, _> =
            configured.filter_map(|(name, _)| self.collection(name)).map(|c| (c.name.clone(), c)).collect();
        // Tables may share one.
        let had = self.by_name.iter().filter(|(_, info)| info.had_vectors);
        let had: HashSet<String> = had.map(|(name, info)| info.rules.collection_for(name)).collect();
        unmade.retain(|name, _| !there.contains_key(name) && !had.contains(name));
        unmade
    }

    /// Whether Qdrant may hold points of the table that only its first answer will tell of. Until then they are not known, never none (P7).
    pub(crate) fn may_have_points(&self, name: &Table) -> bool {
        let may = |info: &TableInfo| info.shape.is_none() && info.rules.stores != Stores::Surreal;
        !self.learned && self.by_name.get(name).is_none_or(may)
    }

    /// Whether SurrealDB holds the table.
    pub(crate) fn in_surreal(&self, name: &Table) -> bool {
        self.by_name.get(name).is_none_or(|info| info.rules.stores.has_surreal())
    }

    /// Whether removing a record can take edges with it that have points.
    pub(crate) fn edges_have_points(&self) -> bool {
        self.by_name.values().any(|info| info.edges && info.shape.is_some())
    }

    /// What a checkpoint keeps.
    pub(crate) fn rows(&self) -> Vec<ShapeRow> {
        self.by_name
            .iter()
            .filter(|(_, info)| info.shape.is_some() || info.edges || info.written)
            .map(|(name, info)| {
                let shape = info.shape.clone().unwrap_or_default();
                ShapeRow { table: name.to_string(), shape, edges: info.edges }
            })
            .collect()
    }

    /// The id of a key's point; none if the key gives none under its table's policy.
    pub(crate) fn point_id(&self, key: &Key) -> Option<PointId> {
        self.by_name.get(&key.table).map_or_else(|| Some(key.point_id()), |info| info.rules.point_id.of_key(key))
    }

    /// The same, where the record may have a say in it.
    pub(crate) fn point_id_of(&self, key: &Key, document: &Document) -> Option<PointId> {
        match self.by_name.get(&key.table) {
            Some(info) => info.rules.point_id.point_id(key, document).ok(),
            None => Some(key.point_id()),
        }
    }

    /// The field in which the table's records name their points, if they do.
    pub(crate) fn point_field(&self, name: &Table) -> Option<&str> {
        match &self.by_name.get(name)?.rules.point_id {
            PointIdPolicy::Field(field) => Some(field),
            PointIdPolicy::Hashed | PointIdPolicy::Key => None,
        }
    }

    /// The collection and point of a key, if its table has points.
    pub(crate) fn point(&self, key: &Key) -> Option<(String, PointId)> {
        Some((self.collection(&key.table)?.name, self.point_id(key)?))
    }

    /// The same, where the record may have a say in it.
    pub(crate) fn point_of(&self, key: &Key, document: &Document) -> Option<(String, PointId)> {
        Some((self.collection(&key.table)?.name, self.point_id_of(key, document)?))
    }
}
