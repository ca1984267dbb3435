//! A daemon as it runs in production: in front of both servers, each behind a network that can go wrong.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};
use lockstep_api::Client;
use tempfile::TempDir;

use crate::daemon::{Daemon, Launch};
use crate::direct::{Direct, sql, surreal};
use crate::proxy::Proxy;
use crate::servers::{Kind, Server};

/// A password, and what SurrealDB keeps of it.
#[derive(Debug, Clone, Copy)]
pub struct Password {
    text: &'static str,
    hash: &'static str,
}

/// The daemon's password in SurrealDB. Argon2 at its lowest cost: a debug build needs seconds for what SurrealDB itself would choose, and
/// these tests sign in a hundred times.
pub const PASSWORD: Password = Password {
    text: "of the tests",
    hash: "$argon2id$v=19$m=8,t=1,p=1$c2FsdCBvZiB0ZXN0cw$TPeee2wypmt1xRJ7+Q1dxFCNqQOXnK3G4q8I6Nfo4OQ",
};

/// One that the daemon does not know.
pub const ANOTHER: Password = Password {
    text: "another one",
    hash: "$argon2id$v=19$m=8,t=1,p=1$c2FsdCBvZiB0ZXN0cw$RM/EkqDJuVwclZWdiD+07vq0eG7Msx0GVeJnMCIk+8g",
};

/// A table of the configuration.
#[derive(Debug, Clone)]
pub struct TableWanted {
    /// Its name.
    pub name: &'static str,
    /// The last part of its collection's name.
    pub collection: &'static str,
    /// Its other keys, as TOML.
    pub rest: Cow<'static, str>,
}

/// A table with a collection of the same name, and nothing else said.
#[must_use]
pub const fn table(name: &'static str) -> TableWanted {
    TableWanted { name, collection: name, rest: Cow::Borrowed("") }
}

/// What kind of cluster a test wants.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// `ws` or `http`.
    pub scheme: &'static str,
    /// `timeout_s` of both stores.
    pub timeout_s: u64,
    /// `daemon.auto_create`
    pub auto_create: bool,
    /// The tables.
    pub tables: Vec<TableWanted>,
    /// More of the configuration: whole sections.
    pub more: String,
    /// The daemon reaches the servers without the proxies: for measurements.
    pub bypass: bool,
    /// Where a store's data go, if not into the cluster's own folder.
    pub places: HashMap<u8, PathBuf>,
}

impl Default for Wanted {
    fn default() -> Self {
        Self {
            scheme: "ws",
            timeout_s: 2,
            auto_create: true,
            tables: vec![table("memory"), table("mentions"), table("note")],
            more: String::new(),
            bypass: false,
            places: HashMap::new(),
        }
    }
}

impl Wanted {
    /// The data of `kind` go to `place`.
    #[must_use]
    pub fn place(mut self, kind: Kind, place: PathBuf) -> Self {
        self.places.insert(kind as u8, place);
        self
    }
}

/// Servers, networks, and how to start a daemon in front of them.
pub struct Cluster {
    folder: TempDir,
    name: String,
    collections: HashMap<String, String>,
    /// SurrealDB.
    pub surreal: Server,
    /// Qdrant.
    pub qdrant: Server,
    /// Between the daemon and SurrealDB.
    pub surreal_net: Proxy,
    /// Between the daemon and Qdrant.
    pub qdrant_net: Proxy,
    launch: Launch,
    qdrant_key: String,
}

impl Cluster {
    /// Starts both servers, with a user for the daemon in SurrealDB, and writes the configuration. The daemon is still to be started.
    ///
    /// # Errors
    /// If a server does not start.
    pub async fn start(wanted: &Wanted) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("lockstep-cluster-").tempdir()?;
        // Servers that the environment names see many clusters.
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("t{}x{}", std::process::id(), NUMBER.fetch_add(1, Ordering::SeqCst));
        let place = |kind: Kind, usual: &str| {
            wanted.places.get(&(kind as u8)).cloned().unwrap_or_else(|| folder.path().join(usual))
        };
        let (surreal_place, qdrant_place) = (place(Kind::Surreal, "surreal"), place(Kind::Qdrant, "qdrant"));
        let (surreal, qdrant) =
            tokio::try_join!(Server::start(Kind::Surreal, &surreal_place), Server::start(Kind::Qdrant, &qdrant_place))?;
        let surreal_net = Proxy::start(surreal.address()).await?;
        let qdrant_net = Proxy::start(qdrant.address()).await?;
        let collection = |table: &TableWanted| format!("{name}_{}", table.collection);
        let collections = wanted.tables.iter().map(|table| (table.name.to_owned(), collection(table))).collect();
        let launch = Launch::on(folder.path().join("data"))?;
        let qdrant_key = qdrant.access().secret.clone();
        let mut cluster =
            Self { folder, name, collections, surreal, qdrant, surreal_net, qdrant_net, launch, qdrant_key };
        cluster.set_password(PASSWORD).await?;
        let config = cluster.write_config(wanted)?;
        cluster.launch = cluster.launch.argument("--config").argument(config);
        Ok(cluster)
    }

    /// How the daemon is started.
    #[must_use]
    pub const fn launch(&self) -> &Launch {
        &self.launch
    }

    /// Starts the daemon, and waits until it takes operations.
    ///
    /// # Errors
    /// If it does not.
    pub async fn daemon(&self) -> Result<Daemon> {
        self.launch.ready().await
    }

    /// The same, with a daemon that breaks a promise: the program in `folder`, told which.
    #[must_use]
    pub fn faulty(mut self, folder: &Path, fault: &str) -> Self {
        self.launch = self.launch.program(folder.join("lockstepd")).variable("LOCKSTEP_FAULT", fault);
        self
    }

    /// The folder that everything of this cluster lies in.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The namespace and the database of the daemon in SurrealDB.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The collection of a table.
    #[must_use]
    pub fn collection(&self, table: &str) -> String {
        self.collections.get(table).cloned().unwrap_or_else(|| table.to_owned())
    }

    /// Eyes on both stores, past the daemon and the networks.
    ///
    /// # Errors
    /// If a store does not answer.
    pub async fn direct(&self) -> Result<Direct> {
        Direct::open((&self.surreal, &self.qdrant), &self.name, self.collections.clone()).await
    }

    /// The server and the network of a store.
    pub const fn store(&mut self, kind: Kind) -> (&mut Server, &Proxy) {
        match kind {
            Kind::Surreal => (&mut self.surreal, &self.surreal_net),
            Kind::Qdrant => (&mut self.qdrant, &self.qdrant_net),
        }
    }

    /// The key that the daemon has for Qdrant.
    #[must_use]
    pub fn qdrant_key(&self) -> &str {
        &self.qdrant_key
    }

    /// Gives the daemon's user in SurrealDB another password. Who has signed in stays in.
    ///
    /// # Errors
    /// If SurrealDB does not do it.
    pub async fn set_password(&self, password: Password) -> Result<()> {
        let client = surreal(&self.surreal, &self.name, &self.name).await?;
        let text = format!("DEFINE USER OVERWRITE {} ON ROOT PASSHASH '{}' ROLES OWNER", self.name, password.hash);
        sql(&client, &text).await.map(drop)
    }

    fn write_config(&self, wanted: &Wanted) -> Result<PathBuf> {
        let secret = |name: &str, text: &str| -> Result<PathBuf> {
            let path = self.folder.path().join(name);
            fs::write(&path, text)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
            Ok(path)
        };
        let name = &self.name;
        let (surreal, qdrant) = if wanted.bypass {
            (self.surreal.address(), self.qdrant.address())
        } else {
            (self.surreal_net.address(), self.qdrant_net.address())
        };
        let Wanted { scheme, timeout_s, auto_create, .. } = wanted;
        let mut text = format!(
            "[daemon]\nauto_create = {auto_create}\n\
             [surreal]\nendpoint = \"{scheme}://{}\"\nnamespace = \"{name}\"\ndatabase = \"{name}\"\nauth = \"root\"\n\
             user = \"{name}\"\npassword_file = {:?}\ntimeout_s = {timeout_s}\n\
             [qdrant]\nendpoint = \"http://{}\"\ntimeout_s = {timeout_s}\n",
            surreal,
            secret("password", PASSWORD.text)?,
            qdrant,
        );
        if !self.qdrant.access().secret.is_empty() {
            writeln!(text, "api_key_file = {:?}", secret("key", &self.qdrant.access().secret)?)?;
        }
        if !wanted.more.contains("[wal]") {
            text.push_str("[wal]\nreserve_bytes = \"4 MiB\"\n");
        }
        if !wanted.more.contains("[retry]") {
            text.push_str("[retry]\nbase_ms = 20\nmax_ms = 1000\n");
        }
        text.push_str(&wanted.more);
        for table in &wanted.tables {
            writeln!(
                text,
                "\n[tables.{}]\ncollection = {:?}\n{}",
                table.name,
                self.collection(table.name),
                table.rest
            )?;
        }
        let path = self.folder.path().join("lockstep.toml");
        fs::write(&path, text).with_context(|| path.display().to_string())?;
        Ok(path)
    }
}

/// A client of a daemon, with connections of its own.
#[must_use]
pub fn client_of(daemon: &Daemon) -> Client {
    Client::new(daemon.client().socket())
}
