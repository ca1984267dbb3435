//! A served store under every fault that a server and the way to it can have.

use std::path::Path;
use std::time::{Duration, Instant};

use lockstep_model::Version;
use lockstep_stores::{
    Claimant, Class, DocumentStore, Expected, Scope, Severity, StoreError, SurrealAuth, SurrealRemote, SurrealStore,
};
use serde_json::{Value as Json, json};

use crate::place::{outsider, remote};
use crate::proxy::{Mode, Proxy};
use crate::server::{Server, tls_file};
use crate::support::{claimant, create, delete, document_at, empty, put, table};

/// Longer than a call takes on a busy machine, and short enough to wait for.
const SHORT: Duration = Duration::from_secs(5);

/// How long a server may take for what a test waits for.
const DEADLINE: Duration = Duration::from_secs(60);

const BOTH: [&str; 2] = ["ws", "http"];

/// Signing in takes a debug build long: on a busy machine longer than a call may take here.
async fn claimed(remote: SurrealRemote) -> SurrealStore {
    let store = SurrealStore::connect(remote).unwrap();
    until("the claim", async || match store.claim(&claimant(1)).await {
        Ok(_) => true,
        Err(error) if error.class == Class::NotApplied => false,
        Err(error) => panic!("{error}"),
    })
    .await;
    store
}

fn short(scheme: &str, address: std::net::SocketAddr) -> SurrealRemote {
    SurrealRemote { timeout: SHORT, ..remote(scheme, address, "test") }
}

/// Waits for something without a sign of its own.
async fn until(what: &str, mut so: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !so().await {
        assert!(started.elapsed() < DEADLINE, "{what}: not within {DEADLINE:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Repeats a call while the store cannot be reached.
async fn once_it_works(store: &SurrealStore) -> Vec<StoreError> {
    let mut errors = Vec::new();
    until("the store answers again", async || match store.ping().await {
        Ok(()) => true,
        Err(error) => {
            errors.push(error);
            false
        }
    })
    .await;
    errors
}

async fn epoch(store: &Server, database: &str) -> Json {
    let client = outsider(&format!("ws://{}", store.address()), database).await;
    let mut answer = client.query("SELECT VALUE epoch FROM ONLY lockstep_meta:fence").await.unwrap();
    answer.take::<surrealdb::types::Value>(0).unwrap().into_json_value()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_transaction_changes_nothing() {
    let server = Server::start(None);
    for scheme in BOTH {
        let proxy = Proxy::before(server.address()).await;
        let store = claimed(SurrealRemote { database: scheme.to_owned(), ..short(scheme, proxy.address()) }).await;
        store.apply(&[create("memory:1", 1, json!({"a": 1})), create("memory:2", 2, empty())], &[]).await.unwrap();
        proxy.set(Mode::Hold);
        let late = [put("memory:1", 5, json!({"a": 5})), create("memory:3", 6, empty()), delete("memory:2", 7)];
        let error = store.apply(&late, &[]).await.unwrap_err();
        assert_eq!(error.class, Class::Unknown, "{scheme}: {error}");
        assert!(proxy.held() > 0);
        proxy.set(Mode::Pass);
        // Deleted records have no version that would stop an older write.
        store.apply(&[delete("memory:1", 8)], &[]).await.unwrap();
        assert_eq!(store.losses(), 1, "{scheme}");
        assert_eq!(epoch(&server, scheme).await, json!(2), "{scheme}");
        proxy.let_go();
        until("the late transaction is answered", async || proxy.late_answers() > 0).await;
        for (key, want) in [("memory:1", Json::Null), ("memory:2", empty()), ("memory:3", Json::Null)] {
            assert_eq!(document_at(&store, key).await, want, "{scheme}: {key}");
        }
        store.apply(&[put("memory:2", 9, empty())], &[]).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_nobody_waits_for_is_fenced_too() {
    let server = Server::start(None);
    for scheme in BOTH {
        let proxy = Proxy::before(server.address()).await;
        let store = claimed(SurrealRemote { database: scheme.to_owned(), ..short(scheme, proxy.address()) }).await;
        store.apply(&[create("memory:1", 1, empty())], &[]).await.unwrap();
        proxy.set(Mode::Hold);
        let late = [put("memory:1", 5, json!({"a": 5}))];
        tokio::select! {
            done = store.apply(&late, &[]) => panic!("{scheme}: {done:?}"),
            () = until("the call is held", async || proxy.held() > 0) => {}
        }
        proxy.set(Mode::Pass);
        store.apply(&[delete("memory:1", 8)], &[]).await.unwrap();
        proxy.let_go();
        until("the late transaction is answered", async || proxy.late_answers() > 0).await;
        assert_eq!(document_at(&store, "memory:1").await, Json::Null, "{scheme}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn resets_are_unknown_to_a_write_and_nothing_to_a_read() {
    let server = Server::start(None);
    for scheme in BOTH {
        let proxy = Proxy::before(server.address()).await;
        let store = claimed(SurrealRemote { database: scheme.to_owned(), ..short(scheme, proxy.address()) }).await;
        store.apply(&[create("memory:1", 1, empty())], &[]).await.unwrap();
        proxy.set(Mode::CutAnswers);
        let error = store.apply(&[put("memory:1", 5, json!({"a": 5}))], &[]).await.unwrap_err();
        assert_eq!(error.class, Class::Unknown, "{scheme}: {error}");
        proxy.set(Mode::Pass);
        let read = document_at(&store, "memory:1").await;
        assert_eq!(document_at(&store, "memory:1").await, read, "what is read back is final");
        proxy.set(Mode::CutAnswers);
        let error = store.count(&table("memory")).await.unwrap_err();
        assert_eq!(error.class, Class::NotApplied, "{scheme}: {error}");
        proxy.set(Mode::Pass);
        once_it_works(&store).await;
        proxy.set(Mode::CutRequests);
        let error = store.apply(&[put("memory:1", 9, empty())], &[]).await.unwrap_err();
        assert_eq!(error.class, Class::Unknown, "{scheme}: {error}");
        proxy.set(Mode::Pass);
        store.apply(&[put("memory:1", 10, json!({"a": 10}))], &[]).await.unwrap();
        assert_eq!(document_at(&store, "memory:1").await, json!({"a": 10}));
        assert!(store.losses() >= 3, "{scheme}: {}", store.losses());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_down_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(Some(dir.path()));
    for (number, scheme) in [(1, "ws"), (2, "http")] {
        let store = claimed(SurrealRemote { database: scheme.to_owned(), ..short(scheme, server.address()) }).await;
        store.apply(&[create("memory:1", 1, json!({"a": number}))], &[]).await.unwrap();
        server.kill();
        let refused = SurrealStore::connect(short(scheme, server.address())).unwrap();
        assert_eq!(refused.ping().await.unwrap_err().class, Class::NotApplied, "connecting needs no server");
        let error = store.apply(&[put("memory:1", 2, empty())], &[]).await.unwrap_err();
        assert!(matches!(error.class, Class::NotApplied | Class::Unknown), "{scheme}: {error}");
        assert_eq!(store.ping().await.unwrap_err().class, Class::NotApplied);
        server.start_again();
        once_it_works(&store).await;
        assert_eq!(document_at(&store, "memory:1").await, json!({"a": number}), "what was acknowledged is there");
        assert_eq!((store.losses(), store.restored()), (1, None), "{scheme}");
        store.apply(&[put("memory:1", 3, empty())], &[]).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_restarted_unseen_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(Some(dir.path()));
    for scheme in BOTH {
        let store = claimed(SurrealRemote { database: scheme.to_owned(), ..short(scheme, server.address()) }).await;
        store.apply(&[create("memory:1", 1, empty())], &[]).await.unwrap();
        server.kill();
        server.start_again();
        once_it_works(&store).await;
        assert_eq!(store.losses(), 1, "{scheme}: nothing was under way, and yet it was another process");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_server_times_out_and_what_is_read_after_it_is_final() {
    let server = Server::start(None);
    for scheme in BOTH {
        let store = claimed(SurrealRemote { database: scheme.to_owned(), ..short(scheme, server.address()) }).await;
        store.apply(&[create("memory:1", 1, empty())], &[]).await.unwrap();
        server.stop();
        let error = store.apply(&[put("memory:1", 5, json!({"a": 5}))], &[]).await.unwrap_err();
        assert_eq!(error.class, Class::Unknown, "{scheme}: {error}");
        assert_eq!(store.ping().await.unwrap_err().class, Class::NotApplied, "{scheme}: a new connection stalls, too");
        server.go_on();
        once_it_works(&store).await;
        let read = document_at(&store, "memory:1").await;
        for _ in 0..50 {
            assert_eq!(document_at(&store, "memory:1").await, read, "{scheme}");
        }
        store.apply(&[delete("memory:1", 6)], &[]).await.unwrap();
        assert_eq!(document_at(&store, "memory:1").await, Json::Null);
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.path().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn older_data_are_noticed_and_claimed_anew() {
    let (dir, backup) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut server = Server::start(Some(dir.path()));
    let store = claimed(short("ws", server.address())).await;
    store.checkpoint(Version(50)).await.unwrap();
    store.apply(&[create("memory:1", 60, empty())], &[]).await.unwrap();
    server.kill();
    copy(dir.path(), backup.path());
    server.start_again();
    once_it_works(&store).await;
    assert_eq!((store.losses(), store.restored()), (1, None), "a restart is no restore");
    store.checkpoint(Version(70)).await.unwrap();
    store.apply(&[create("memory:2", 80, empty())], &[]).await.unwrap();
    let before = epoch(&server, "test").await;

    server.kill();
    std::fs::remove_dir_all(dir.path()).unwrap();
    copy(backup.path(), dir.path());
    server.start_again();
    let errors = once_it_works(&store).await;
    let told = errors.iter().find(|error| error.detail.contains("older than they were"));
    assert_eq!(told.map(|error| error.class), Some(Class::NotApplied), "{errors:?}");
    assert!(store.restored().unwrap().contains("epoch"), "{:?}", store.restored());
    assert_eq!(store.losses(), 3, "one for the connection, one for the data");
    assert!(epoch(&server, "test").await.as_i64() > before.as_i64(), "above every epoch that has been");
    store.apply(&[create("memory:2", 81, empty())], &[]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn older_data_under_a_live_connection_are_noticed_at_the_next_write() {
    let server = Server::start(None);
    let store = claimed(short("ws", server.address())).await;
    store.apply(&[create("memory:1", 1, empty())], &[]).await.unwrap();
    let client = outsider(&format!("ws://{}", server.address()), "test").await;
    for (script, losses) in [("UPDATE lockstep_meta:fence SET epoch = 0", 1), ("DELETE lockstep_meta:fence", 2)] {
        client.query(script).await.unwrap().check().unwrap();
        let error = store.apply(&[put("memory:1", 5, empty())], &[]).await.unwrap_err();
        assert_eq!(error.class, Class::NotApplied, "{error}");
        assert!(store.restored().is_some());
        assert_eq!(store.losses(), losses);
        store.apply(&[put("memory:1", 4 + losses, empty())], &[]).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_replaced_is_fenced() {
    let server = Server::start(None);
    for scheme in BOTH {
        let settings = SurrealRemote { database: scheme.to_owned(), ..short(scheme, server.address()) };
        let first = claimed(settings.clone()).await;
        first.apply(&[create("memory:1", 1, empty())], &[]).await.unwrap();
        let second = SurrealStore::connect(settings.clone()).unwrap();
        let refused = second.claim(&claimant(2)).await.unwrap_err();
        assert_eq!(refused.class, Class::Fenced);
        assert!(refused.detail.contains("test 1"), "{refused}");
        second.claim(&Claimant { adopt: true, ..claimant(2) }).await.unwrap();
        for _ in 0..2 {
            let error = first.apply(&[put("memory:1", 5, json!({"a": 5}))], &[]).await.unwrap_err();
            assert_eq!(error.class, Class::Fenced, "{error}");
            assert!(error.detail.contains("test 2"), "{error}");
        }
        let error = first.checkpoint(Version(9)).await.unwrap_err();
        assert_eq!(error.class, Class::Fenced, "{error}");
        // A copy of one log, elsewhere.
        let copy = Claimant { holder: "a copy".to_owned(), ..claimant(2) };
        SurrealStore::connect(settings).unwrap().claim(&copy).await.unwrap();
        let error = second.apply(&[put("memory:1", 6, empty())], &[]).await.unwrap_err();
        assert_eq!(error.class, Class::Fenced);
        assert!(error.detail.contains("a copy"), "{error}");
        assert_eq!(document_at(&first, "memory:1").await, empty(), "{scheme}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_signs_in_at_the_level_that_is_theirs() {
    let server = Server::start(None);
    let root = outsider(&format!("ws://{}", server.address()), "test").await;
    let users = "DEFINE USER n ON NAMESPACE PASSWORD 's3cret' ROLES EDITOR; DEFINE USER d ON DATABASE PASSWORD 's3cret' ROLES EDITOR;";
    root.query(users).await.unwrap().check().unwrap();
    let token = {
        let client = surrealdb::engine::any::connect(format!("ws://{}", server.address())).await.unwrap();
        let who = surrealdb::opt::auth::Database {
            namespace: "test".to_owned(),
            database: "test".to_owned(),
            username: "d".to_owned(),
            password: "s3cret".to_owned(),
        };
        client.signin(who).await.unwrap().access.into_insecure_token()
    };
    let password = || "s3cret".to_owned();
    let auths = [
        SurrealAuth::Root { user: "root".to_owned(), password: "root".to_owned() },
        SurrealAuth::Namespace { user: "n".to_owned(), password: password() },
        SurrealAuth::Database { user: "d".to_owned(), password: password() },
        SurrealAuth::Token(token.clone()),
    ];
    for scheme in BOTH {
        for (number, auth) in auths.iter().enumerate() {
            let shown = format!("{scheme} {auth:?}");
            let store = claimed(SurrealRemote { auth: auth.clone(), ..short(scheme, server.address()) }).await;
            let version = 10 + number as u64;
            store.apply(&[put("memory:1", version, json!({"n": version}))], &[]).await.unwrap();
            assert_eq!(document_at(&store, "memory:1").await, json!({"n": version}), "{shown}");
            store.apply(&[delete("memory:1", version)], &[]).await.unwrap();
        }
        let wrong = [
            SurrealAuth::Root { user: "root".to_owned(), password: password() },
            SurrealAuth::Namespace { user: "d".to_owned(), password: password() },
            SurrealAuth::Database { user: "d".to_owned(), password: "s3cret-not".to_owned() },
            SurrealAuth::Token(format!("{token}x")),
            SurrealAuth::None,
        ];
        for auth in wrong {
            let shown = format!("{scheme} {auth:?}");
            let store = SurrealStore::connect(SurrealRemote { auth, ..short(scheme, server.address()) }).unwrap();
            let error = store.claim(&claimant(1)).await.unwrap_err();
            assert_eq!(error.class, Class::Configuration(Scope::Store), "{shown}: {error}");
            assert!(!error.to_string().contains("s3cret"), "{shown}: {error}");
            assert!(!error.to_string().contains(&token), "{shown}: {error}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_ran_out_is_signed_in_again() {
    let server = Server::start(None);
    let root = outsider(&format!("ws://{}", server.address()), "test").await;
    let user = "DEFINE USER d ON DATABASE PASSWORD 'x' ROLES EDITOR DURATION FOR TOKEN 1s, FOR SESSION 1s";
    root.query(user).await.unwrap().check().unwrap();
    for scheme in BOTH {
        let auth = SurrealAuth::Database { user: "d".to_owned(), password: "x".to_owned() };
        let store = claimed(SurrealRemote { auth, ..short(scheme, server.address()) }).await;
        let mut version = if scheme == "ws" { 10 } else { 1_000_000 };
        until("the session runs out", async || {
            version += 1;
            store.apply(&[put("memory:1", version, json!({"n": version}))], &[]).await.unwrap();
            store.ping().await.unwrap();
            store.losses() > 1
        })
        .await;
        assert_eq!(document_at(&store, "memory:1").await, json!({"n": version}), "{scheme}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_made_without_leave() {
    let server = Server::start(None);
    let root = outsider(&format!("ws://{}", server.address()), "there").await;
    root.query("DEFINE TABLE memory; DEFINE TABLE mentions; CREATE memory:1, memory:2").await.unwrap().check().unwrap();
    for scheme in BOTH {
        let careful = |namespace: &str, database: &str| SurrealRemote {
            namespace: namespace.to_owned(),
            database: database.to_owned(),
            create: false,
            ..short(scheme, server.address())
        };
        for (namespace, database) in [("nowhere", "there"), ("test", "nowhere")] {
            let store = SurrealStore::connect(careful(namespace, database)).unwrap();
            let error = store.claim(&claimant(1)).await.unwrap_err();
            assert_eq!(error.class, Class::Configuration(Scope::Store), "{scheme} {namespace} {database}: {error}");
            assert!(error.detail.contains("DEFINE DATABASE"), "{error}");
        }
        let store = claimed(careful("test", "there")).await;
        let batch = [put("memory:3", 5, empty()), put("missing:1", 6, empty())];
        let error = store.apply(&batch, &[]).await.unwrap_err();
        assert_eq!(error.class, Class::Configuration(Scope::Table), "{scheme}: {error}");
        assert_eq!(error.culprit.map(|key| key.to_string()).as_deref(), Some("missing:1"));
        assert_eq!(document_at(&store, "memory:3").await, Json::Null, "the transaction was not begun");
        store.apply(&[delete("missing:1", 6), put("memory:1", 7, empty())], &[]).await.unwrap();
        assert_eq!(document_at(&store, "missing:1").await, Json::Null);
        assert_eq!(store.scan(&table("missing"), None, 10).await.unwrap(), []);
        assert_eq!(store.count(&table("missing")).await.unwrap(), 0);
        root.query("DEFINE TABLE missing").await.unwrap().check().unwrap();
        store.apply(&batch, &[]).await.unwrap();
        root.query("REMOVE TABLE IF EXISTS missing; DELETE memory:3").await.unwrap().check().unwrap();
        drop(store);
        root.query("DELETE lockstep_meta").await.unwrap().check().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_documents_pass_over_ws_and_are_refused_over_http() {
    let server = Server::start(None);
    let large = json!({"text": "tide ".repeat((4 << 20) / 5)});
    let ws = claimed(remote("ws", server.address(), "ws")).await;
    ws.apply(&[create("memory:1", 1, large.clone())], &[]).await.unwrap();
    assert_eq!(document_at(&ws, "memory:1").await, large);
    let http = claimed(remote("http", server.address(), "http")).await;
    let error = http.apply(&[create("memory:1", 1, large)], &[]).await.unwrap_err();
    assert_eq!(error.class, Class::Refused, "{error}");
    assert!(error.detail.contains("use ws"), "{error}");
    assert_eq!(http.losses(), 0, "it was never sent");
    let half = json!({"text": "tide ".repeat((3 << 20) / 5)});
    let both = [create("memory:2", 2, half.clone()), create("memory:3", 3, half)];
    assert_eq!(http.apply(&both, &[]).await.unwrap_err().class, Class::Refused, "together too large");
    for one in both {
        http.apply(&[one], &[]).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn preflight_says_what_will_not_work() {
    let server = Server::start(None);
    let root = outsider(&format!("ws://{}", server.address()), "test").await;
    let script = "DEFINE TABLE strict SCHEMAFULL; DEFINE TABLE fine; CREATE fine:1, fine:2; CREATE fine:3 SET _lockstep = { v: 1 };
        DEFINE TABLE linked; DEFINE FIELD to ON linked TYPE option<record<fine>> REFERENCE ON DELETE CASCADE;
        DEFINE USER looker ON DATABASE PASSWORD 'x' ROLES VIEWER;";
    root.query(script).await.unwrap().check().unwrap();
    let expected = |name: &str| Expected {
        table: table(name),
        collection: name.to_owned(),
        shape: None,
        payload: Vec::new(),
        stores: lockstep_model::Stores::Both,
        may_create: false,
        hashed_ids: true,
    };
    let tables = ["strict", "fine", "linked", "absent"].map(expected);
    for scheme in BOTH {
        let careful = SurrealRemote { create: false, ..short(scheme, server.address()) };
        let found = SurrealStore::connect(careful.clone()).unwrap().preflight(&tables).await.unwrap();
        let find = |subject: &str, words: &str| {
            found
                .iter()
                .find(|one| one.subject.as_deref() == Some(subject) && one.found.contains(words))
                .unwrap_or_else(|| panic!("{scheme}: {subject} {words}: {found:#?}"))
        };
        let strict = find("strict", "SCHEMAFULL");
        assert_eq!(strict.severity, Severity::Error);
        assert_eq!(find("absent", "missing").severity, Severity::Error);
        assert_eq!(find("linked", "CASCADE").severity, Severity::Warning);
        assert_eq!(find("fine", "2 records").severity, Severity::Info);
        assert_eq!(found.len(), 4, "{found:#?}");
        let looker = SurrealAuth::Database { user: "looker".to_owned(), password: "x".to_owned() };
        let denied = SurrealStore::connect(SurrealRemote { auth: looker, ..careful.clone() }).unwrap();
        let found = denied.preflight(&tables).await.unwrap();
        assert!(
            found.iter().any(|one| one.severity == Severity::Error && one.found.contains("may not write")),
            "{found:#?}"
        );
        let error = denied.claim(&claimant(1)).await.unwrap_err();
        assert_eq!(error.class, Class::Configuration(Scope::Store), "{error}");
        // What a remedy says to run helps.
        let define = strict.remedy.trim_start_matches("run: ");
        root.query(define).await.unwrap().check().unwrap();
        let found = SurrealStore::connect(SurrealRemote { create: true, ..careful.clone() }).unwrap();
        let found = found.preflight(&tables).await.unwrap();
        assert!(found.iter().all(|one| one.severity != Severity::Error), "{found:#?}");
        let store = claimed(careful.clone()).await;
        store.apply(&[put("strict:1", 5, empty())], &[]).await.unwrap();
        root.query("DELETE strict; REMOVE FIELD _lockstep ON strict").await.unwrap().check().unwrap();
        let gone = SurrealRemote { namespace: "nowhere".to_owned(), ..careful };
        let found = SurrealStore::connect(gone).unwrap().preflight(&tables).await.unwrap();
        assert_eq!((found.len(), found[0].severity), (1, Severity::Error), "{found:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_trusted_by_a_certificate_of_ones_own() {
    let server = Server::start_tls();
    for scheme in ["wss", "https"] {
        let settings = |host: &str, ca_file| SurrealRemote {
            endpoint: format!("{scheme}://{host}:{}", server.address().port()),
            ca_file,
            database: scheme.to_owned(),
            ..remote(scheme, server.address(), "test")
        };
        let ours = Some(tls_file("ca.pem"));
        for host in ["localhost", "127.0.0.1"] {
            let store = claimed(settings(host, ours.clone())).await;
            store.apply(&[put("memory:1", 5, json!({"a": 1}))], &[]).await.unwrap();
            assert_eq!(document_at(&store, "memory:1").await, json!({"a": 1}));
        }
        // A certificate that has signed nothing of the server's.
        let others = Some(tls_file("server.pem"));
        let stranger = SurrealStore::connect(settings("localhost", others)).unwrap();
        let error = stranger.ping().await.unwrap_err();
        assert_eq!(error.class, Class::Configuration(Scope::Store), "{scheme}: {error}");
        for file in ["missing.pem", "server.key"] {
            let error = SurrealStore::connect(settings("localhost", Some(tls_file(file)))).unwrap_err();
            assert_eq!(error.class, Class::Configuration(Scope::Store), "{file}: {error}");
        }
        let plain = remote("ws", server.address(), "test");
        let error = SurrealStore::connect(SurrealRemote { ca_file: ours, ..plain }).unwrap_err();
        assert_eq!(error.class, Class::Configuration(Scope::Store), "{error}");
    }
}
