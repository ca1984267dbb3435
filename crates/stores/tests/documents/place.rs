//! Where the same test runs: embedded, over a WebSocket, over HTTP.

use std::ops::Deref;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use lockstep_stores::{DocumentStore, SurrealAuth, SurrealRemote, SurrealStore};
use serde_json::{Map, Value as Json};
use surrealdb::Surreal;
use surrealdb::engine::any::{Any, connect};
use surrealdb::types::{ToSql, Value};

use crate::server::Server;
use crate::support::claimant;

/// Makes each test once a place.
macro_rules! everywhere {
    ($($name:ident),+ $(,)?) => {
        $crate::place::everywhere!(@ embedded, Embedded, $($name),+);
        $crate::place::everywhere!(@ ws, Ws, $($name),+);
        $crate::place::everywhere!(@ http, Http, $($name),+);
    };
    (@ $module:ident, $place:ident, $($name:ident),+) => {
        mod $module {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $name() {
                    super::$name($crate::place::Place::$place).await;
                }
            )+
        }
    };
}
pub(crate) use everywhere;

/// How the store is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Embedded,
    Ws,
    Http,
}

/// One server for all tests of this process, each in a database of its own.
fn shared() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| Server::start(None))
}

impl Place {
    /// An empty store, claimed.
    pub(crate) async fn store(self) -> Fixture {
        self.store_after("").await
    }

    /// A store in which somebody else has run a script before, claimed.
    pub(crate) async fn store_after(self, script: &str) -> Fixture {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let mut fixture = match self {
            Self::Embedded => {
                let dir = tempfile::tempdir().unwrap();
                let home = Home::Dir { endpoint: format!("surrealkv://{}", dir.path().display()), _dir: dir };
                Fixture { store: None, home }
            }
            Self::Ws | Self::Http => {
                let database = format!("t{}", NUMBER.fetch_add(1, Ordering::Relaxed));
                let outside = outsider(&format!("ws://{}", shared().address()), &database).await;
                Fixture { store: None, home: Home::Database { place: self, database, outside } }
            }
        };
        if script.is_empty() {
            fixture.open().await;
        } else {
            fixture.outside(script).await;
        }
        fixture
    }
}

/// A client of a server that plays everybody else.
pub(crate) async fn outsider(endpoint: &str, database: &str) -> Surreal<Any> {
    let client = connect(endpoint).await.unwrap();
    let root = surrealdb::opt::auth::Root { username: "root".to_owned(), password: "root".to_owned() };
    client.signin(root).await.unwrap();
    // The first to name a namespace or database makes it, and several tests do so at once.
    for _ in 0..100 {
        match client.use_ns("test").use_db(database).await {
            Ok(_) => return client,
            Err(error) if error.to_string().contains("can be retried") => {}
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the namespace is fought over");
}

/// A server's settings as the tests mostly want them.
pub(crate) fn remote(scheme: &str, address: std::net::SocketAddr, database: &str) -> SurrealRemote {
    SurrealRemote {
        endpoint: format!("{scheme}://{address}"),
        namespace: "test".to_owned(),
        database: database.to_owned(),
        auth: SurrealAuth::Root { user: "root".to_owned(), password: "root".to_owned() },
        ca_file: None,
        timeout: Duration::from_secs(30),
        create: true,
    }
}

/// A store and what it lives in.
pub(crate) struct Fixture {
    store: Option<SurrealStore>,
    home: Home,
}

enum Home {
    Dir { endpoint: String, _dir: tempfile::TempDir },
    Database { place: Place, database: String, outside: Surreal<Any> },
}

impl Deref for Fixture {
    type Target = SurrealStore;

    fn deref(&self) -> &SurrealStore {
        self.store.as_ref().unwrap()
    }
}

impl Fixture {
    /// A store on the same data that nobody has claimed; an embedded one is closed first.
    pub(crate) async fn unclaimed(&mut self) -> SurrealStore {
        match &self.home {
            Home::Dir { endpoint, .. } => {
                self.store = None;
                opened(endpoint).await
            }
            Home::Database { place, database, .. } => {
                let scheme = if *place == Place::Ws { "ws" } else { "http" };
                SurrealStore::connect(remote(scheme, shared().address(), database)).unwrap()
            }
        }
    }

    async fn open(&mut self) {
        let store = self.unclaimed().await;
        store.claim(&claimant(1)).await.unwrap();
        self.store = Some(store);
    }

    /// Runs a script as somebody else, and opens the store anew.
    pub(crate) async fn outside(&mut self, script: &str) -> Vec<Value> {
        self.store = None;
        let client = match &self.home {
            Home::Dir { endpoint, .. } => {
                let client = reopened(endpoint).await;
                client.use_ns("test").use_db("test").await.unwrap();
                client
            }
            Home::Database { outside, .. } => outside.clone(),
        };
        let answers = answers(&client, script).await;
        drop(client);
        self.open().await;
        answers
    }

    /// The first answer to a query, as JSON with the tags of documents.
    pub(crate) async fn query(&self, text: &str) -> Json {
        match &self.home {
            Home::Dir { .. } => DocumentStore::query(&**self, text, Map::new()).await.unwrap().remove(0),
            Home::Database { outside, .. } => json(answers(outside, text).await.remove(0)),
        }
    }
}

async fn answers(client: &Surreal<Any>, script: &str) -> Vec<Value> {
    let mut response = client.query(script).await.unwrap().check().unwrap();
    (0..response.num_statements()).map(|place| response.take(place).unwrap()).collect()
}

/// Opens a store that another handle may still be closing.
pub(crate) async fn opened(endpoint: &str) -> SurrealStore {
    let mut tries = 0;
    loop {
        match SurrealStore::open(endpoint, "test", "test").await {
            Ok(store) => return store,
            Err(error) if tries > 200 => panic!("{error}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
        tries += 1;
    }
}

pub(crate) async fn reopened(endpoint: &str) -> Surreal<Any> {
    let mut tries = 0;
    loop {
        match connect(endpoint).await {
            Ok(client) => return client,
            Err(error) if tries > 200 => panic!("{error}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
        tries += 1;
    }
}

/// As [`DocumentStore::query`] writes it, for what the tests ask.
fn json(value: Value) -> Json {
    match value {
        Value::None | Value::Null => Json::Null,
        Value::RecordId(id) => serde_json::json!({"$record": id.to_sql()}),
        Value::Array(items) => items.into_iter().map(json).collect(),
        Value::Object(members) => Json::Object(members.into_iter().map(|(name, value)| (name, json(value))).collect()),
        other => other.into_json_value(),
    }
}
