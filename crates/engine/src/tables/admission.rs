//! What a table has to say of an operation before it is logged (design 4.1), and what it keeps of those that are.

use lockstep_model::{Action, Code, Document, Key, Refusal, Shape, Stores, Table, TableRules, UnrelateTarget, Vectors};

use super::{COMBINED, TableInfo, Tables};

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

/// How an operation writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Write {
    Put,
    Patch,
    Edge,
}

impl Tables {
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
}
