//! What is known of each table: its rules, its vectors, its number.
//!
//! A table's vectors are fixed by the configuration, by its collection, or, where tables are created on first use, by the first
//! operation with vectors **in log order** (scenario B10): its intent carries them. What no operation has committed with may
//! still be replaced.

use std::collections::{BTreeMap, HashMap};

use lockstep_model::{
    Action, Code, Document, Key, PointId, PointIdPolicy, Refusal, Shape, Stores, Table, TableRules, UnrelateTarget,
    Vectors,
};
use lockstep_stores::Collection;
use lockstep_wal::{KnownShape, ShapeRow};
use tokio::time::Instant;

use crate::core::StoreName;
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
    /// Open operations with vectors, that keep an unproven shape.
    pub(crate) users: u32,
    /// An operator paused it: why.
    pub(crate) paused: Option<String>,
    /// A store lacks it, or its collection: nothing goes there until this time, then one operation tries.
    pub(crate) missing: Option<Missing>,
}

/// A table that a store lacks.
#[derive(Debug, Clone)]
pub(crate) struct Missing {
    /// The store that lacks it.
    pub(crate) store: StoreName,
    pub(crate) why: String,
    pub(crate) tries: u32,
    pub(crate) until: Instant,
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

/// What admission learned about an operation.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Admission {
    /// The number of the table that it is queued under.
    pub(crate) table: u32,
    /// It has work in the vector store.
    pub(crate) wants_vectors: bool,
    /// The vectors of tables that it fixes.
    pub(crate) defines: Vec<(Table, Shape)>,
}

/// Numbers from here on stand for several tables together: those of a group.
const COMBINED: u32 = 1 << 31;

/// So many different combinations are told apart; a group beyond them waits only for its first table.
const MAX_COMBINED: usize = 4096;

/// How an operation writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Write {
    Put,
    Patch,
    Edge,
}

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

    /// A store lacks the table: it is left alone for `wait`, which may depend on how often it was tried. Tells whether the
    /// number stands for one table; of several it is not known which.
    pub(crate) fn lacks(
        &mut self,
        number: u32,
        (store, why): (StoreName, &str),
        now: Instant,
        wait: impl Fn(u32) -> std::time::Duration,
    ) -> bool {
        let Some(info) = self.names.get(&number).and_then(|name| self.by_name.get_mut(name)) else { return false };
        let tries = info.missing.as_ref().map_or(1, |missing| missing.tries.saturating_add(1));
        self.lacking += usize::from(info.missing.is_none());
        info.missing = Some(Missing { store, why: why.to_owned(), tries, until: now + wait(tries) });
        true
    }

    /// Something got through to the store on these tables. Tells whether it had lacked one of them.
    pub(crate) fn serve(&mut self, number: u32, store: StoreName) -> bool {
        if self.lacking == 0 {
            return false;
        }
        let names: Vec<Table> = self.numbered(number).map(|(name, _)| name.clone()).collect();
        let mut came_back = false;
        for name in names {
            if let Some(info) = self.by_name.get_mut(&name)
                && info.missing.take_if(|missing| missing.store == store).is_some()
            {
                self.lacking -= 1;
                came_back = true;
            }
        }
        came_back
    }

    /// Whether a store lacks one of these tables, as far as is known.
    pub(crate) fn is_missing(&self, number: u32) -> bool {
        self.lacking > 0 && self.numbered(number).any(|(_, info)| info.missing.is_some())
    }

    /// Whether Qdrant lacks one of them, as far as is known.
    pub(crate) fn is_missing_in_qdrant(&self, number: u32) -> bool {
        let lacks = |info: &TableInfo| info.missing.as_ref().is_some_and(|missing| missing.store == StoreName::Qdrant);
        self.lacking > 0 && self.numbered(number).any(|(_, info)| lacks(info))
    }

    /// What a store lacks of these tables may be tried now.
    pub(crate) fn try_now(&mut self, number: u32) {
        let names: Vec<Table> = self.numbered(number).map(|(name, _)| name.clone()).collect();
        for name in names {
            if let Some(missing) = self.by_name.get_mut(&name).and_then(|info| info.missing.as_mut()) {
                missing.until = Instant::now();
            }
        }
    }

    /// When the next table that a store lacks may be tried.
    pub(crate) fn next_try(&self, now: Instant) -> Option<Instant> {
        if self.lacking == 0 {
            return None;
        }
        let times = self.by_name.values().filter(|info| info.paused.is_none()).filter_map(|info| info.missing.as_ref());
        times.map(|missing| missing.until).filter(|until| *until > now).min()
    }

    /// An operator says that it is worth a try now.
    pub(crate) fn resume(&mut self, name: &Table) -> bool {
        let Some(info) = self.by_name.get_mut(name) else { return false };
        info.paused = None;
        if info.missing.take().is_some() {
            self.lacking -= 1;
        }
        true
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

    /// Whether SurrealDB holds the table.
    pub(crate) fn in_surreal(&self, name: &Table) -> bool {
        self.by_name.get(name).is_none_or(|info| info.rules.stores.has_surreal())
    }

    /// Whether removing a record can take edges with it that have points.
    pub(crate) fn edges_have_points(&self) -> bool {
        self.by_name.values().any(|info| info.edges && info.shape.is_some())
    }

    /// Judges shape and table of an operation; a refusal here never reaches the log (design 4.1).
    pub(crate) fn admit(&mut self, action: &Action) -> Result<Admission, Refusal> {
        let mut admission = Admission { table: u32::MAX, wants_vectors: false, defines: Vec::new() };
        let mut tables = Vec::new();
        let members = action.members();
        for (place, member) in members.iter().enumerate() {
            let one = self.admit_one(member, &admission.defines).map_err(|refusal| {
                if matches!(action, Action::Atomic(_)) { refusal.within(&format!("ops[{place}]")) } else { refusal }
            })?;
            tables.push(one.table);
            admission.wants_vectors |= one.wants_vectors;
            admission.defines.extend(one.defines);
        }
        admission.table = self.combine(tables);
        Ok(admission)
    }

    /// `earlier` is what earlier members of the same group fix.
    fn admit_one(&mut self, action: &Action, earlier: &[(Table, Shape)]) -> Result<Admission, Refusal> {
        match action {
            Action::Put { key, document, vectors } => self.admit_write(key, (document, vectors), Write::Put, earlier),
            Action::Patch { key, document, vectors } => {
                self.admit_write(key, (document, vectors), Write::Patch, earlier)
            }
            Action::Relate { key, document, vectors, .. } => {
                self.admit_write(key, (document, vectors), Write::Edge, earlier)
            }
            Action::Delete { key } | Action::Unrelate(UnrelateTarget::Key(key)) => self.admit_removal(&key.table),
            Action::Unrelate(UnrelateTarget::Endpoints { edge, .. }) => self.admit_removal(edge),
            Action::Clear { table, .. } => self.admit_removal(table),
            Action::Atomic(_) => Err(Refusal::malformed("a group holds no group")),
        }
    }

    fn known(&mut self, name: &Table) -> Result<&mut TableInfo, Refusal> {
        if !self.auto_create && !self.by_name.contains_key(name) {
            let detail = format!("table {name} is not configured and daemon.auto_create is off: add [tables.{name}]");
            return Err(Refusal::new(Code::UnknownTable, detail));
        }
        Ok(self.info(name, TableRules::default()))
    }

    fn admit_write(
        &mut self,
        key: &Key,
        (document, vectors): (&Document, &Vectors),
        write: Write,
        earlier: &[(Table, Shape)],
    ) -> Result<Admission, Refusal> {
        let (auto_create, learned) = (self.auto_create, self.learned);
        let name = &key.table;
        let info = self.known(name)?;
        info.edges |= write == Write::Edge;
        let plain = |wants_vectors| Admission { table: info.number, wants_vectors, defines: Vec::new() };
        if info.rules.stores == Stores::Surreal {
            return match vectors.0.keys().next() {
                None => Ok(plain(false)),
                Some(vector) => Err(Refusal::new(
                    Code::UnknownVector,
                    format!("table {name} has no vectors (stores = \"surreal\"), but the operation names `{vector}`"),
                )),
            };
        }
        let alone = info.rules.stores == Stores::Qdrant;
        if alone && write == Write::Edge {
            return Err(Refusal::malformed(format!("table {name} has stores = \"qdrant\": edges are SurrealDB's")));
        }
        if write == Write::Edge && !info.rules.point_id.is_of_key() {
            // An edge goes with its ends, and nobody reads it then to learn which point is its own.
            let detail = format!("table {name} has point_id = \"{}\": it cannot hold edges", info.rules.point_id);
            return Err(Refusal::malformed(detail));
        }
        // What a patch comes to is judged at its turn.
        let judged_later = write == Write::Patch && !info.rules.point_id.is_of_key();
        if (alone || !vectors.0.is_empty())
            && !judged_later
            && let Err(error) = info.rules.point_id.point_id(key, document)
        {
            return Err(Refusal::malformed(error.to_string()));
        }
        let check = |shape: &Shape| {
            if write == Write::Patch { shape.check_patch(vectors) } else { shape.check_put(vectors) }
        };
        if let Some((_, shape)) = earlier.iter().find(|(table, _)| table == name) {
            check(shape)?;
            return Ok(plain(true));
        }
        // What nothing has committed with, and nothing open counts on, may be replaced.
        let replaceable = !info.proven && info.users == 0;
        match &info.shape {
            Some(shape) if !replaceable || vectors.0.is_empty() => {
                check(shape)?;
                Ok(plain(true))
            }
            // Until Qdrant has said what it has, there may be a point that goes with it.
            _ if vectors.0.is_empty() && !alone => Ok(plain(!learned)),
            _ if vectors.0.is_empty() => Err(Refusal::new(
                Code::VectorMissing,
                format!(
                    "table {name} has stores = \"qdrant\", and its vectors are not known yet: the first put brings one"
                ),
            )),
            _ if auto_create => Ok(Admission { defines: vec![(name.clone(), Shape::infer(vectors))], ..plain(true) }),
            _ => Err(Refusal::new(
                Code::UnknownVector,
                format!(
                    "table {name} has no vectors configured and daemon.auto_create is off: add [tables.{name}.vectors]"
                ),
            )),
        }
    }

    fn admit_removal(&mut self, name: &Table) -> Result<Admission, Refusal> {
        let (edges, learned) = (self.edges_have_points(), self.learned);
        let info = self.known(name)?;
        let wants_vectors = info.rules.stores != Stores::Surreal && (info.shape.is_some() || !learned);
        Ok(Admission { table: info.number, wants_vectors: wants_vectors || edges, defines: Vec::new() })
    }

    /// The operation is in the log: what it fixes counts.
    pub(crate) fn logged(&mut self, admission: &Admission) {
        for (name, shape) in &admission.defines {
            if let Some(info) = self.by_name.get_mut(name) {
                info.shape = Some(shape.clone());
            }
        }
        self.each(admission.table, |info| {
            info.written = true;
            info.users += u32::from(admission.wants_vectors && !info.proven);
        });
    }

    /// An operation on the tables ended; `committed` proves their shapes.
    pub(crate) fn ended(&mut self, number: u32, wanted_vectors: bool, committed: bool) {
        if wanted_vectors {
            self.each(number, |info| {
                info.users = info.users.saturating_sub(1);
                info.proven |= committed && info.shape.is_some();
            });
        }
    }

    fn each(&mut self, number: u32, change: impl Fn(&mut TableInfo)) {
        if number < COMBINED {
            if let Some(info) = self.names.get(&number).and_then(|name| self.by_name.get_mut(name)) {
                change(info);
            }
            return;
        }
        let names: Vec<Table> = self.numbered(number).map(|(name, _)| name.clone()).collect();
        for name in names {
            if let Some(info) = self.by_name.get_mut(&name) {
                change(info);
            }
        }
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
