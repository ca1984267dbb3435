//! Keys, certificates, endpoints.

use std::path::Path;

use lockstep_model::Distance;
use lockstep_stores::{Class, Ordering, QdrantRemote, QdrantStore, Scope, VectorStore};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::server::{Server, remote};
use crate::support::{collection, dense, empty, unpoint, upsert, versions};

const STORE: Class = Class::Configuration(Scope::Store);

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_is_nobodys_operation() {
    let server = Server::start(&["--api-key", "open sesame"]).await;
    let with = |key: Option<&str>| {
        let api_key = key.map(str::to_owned);
        QdrantStore::connect(&QdrantRemote { api_key, ..server.remote() }).unwrap()
    };
    for key in [None, Some("open barley")] {
        let store = with(key);
        assert_eq!(store.ping().await.unwrap_err().class, STORE);
        assert_eq!(store.collections().await.unwrap_err().class, STORE);
        assert_eq!(store.create(&collection("c", 1, Distance::Dot)).await.unwrap_err().class, STORE);
        assert_eq!(store.apply("c", &[upsert("m:1", 1, dense(&[1.0]), empty())]).await.unwrap_err().class, STORE);
        assert_eq!(store.apply("c", &[unpoint("m:1", 1)]).await.unwrap_err().class, STORE);
        assert_eq!(store.preflight(&[]).await.unwrap_err().class, STORE);
    }
    // As it stands in a file, with a line's end.
    let store = with(Some("open sesame\n"));
    store.ping().await.unwrap();
    store.create(&collection("c", 1, Distance::Dot)).await.unwrap();
}

struct Certificates {
    dir: tempfile::TempDir,
}

impl Certificates {
    /// An authority, and a server's certificate of it for `name`.
    fn make(name: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut ca = CertificateParams::new(Vec::new()).unwrap();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca_key = KeyPair::generate().unwrap();
        let ca_cert = ca.self_signed(&ca_key).unwrap();
        let key = KeyPair::generate().unwrap();
        let issuer = Issuer::new(ca, ca_key);
        let cert = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        std::fs::write(dir.path().join("ca.pem"), ca_cert.pem()).unwrap();
        std::fs::write(dir.path().join("cert.pem"), cert.pem()).unwrap();
        std::fs::write(dir.path().join("key.pem"), key.serialize_pem()).unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    fn ca(&self) -> Option<std::path::PathBuf> {
        Some(Path::new(&self.path("ca.pem")).to_owned())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_of_ones_own_is_enough_and_another_is_not() {
    let (ours, theirs) = (Certificates::make("127.0.0.1"), Certificates::make("127.0.0.1"));
    let server = Server::start(&["--tls-cert", &ours.path("cert.pem"), "--tls-key", &ours.path("key.pem")]).await;
    let endpoint = format!("https://{}", server.address());
    let with = |ca_file| QdrantStore::connect(&QdrantRemote { ca_file, ..remote(endpoint.clone()) }).unwrap();
    let store = with(ours.ca());
    store.create(&collection("c", 1, Distance::Dot)).await.unwrap();
    let put = [upsert("m:1", 1, dense(&[1.0]), empty())];
    assert_eq!(versions(&store.apply("c", &put).await.unwrap()), [Some(1)]);
    let store = with(theirs.ca());
    let error = store.apply("c", &[unpoint("m:1", 2)]).await.unwrap_err();
    assert_eq!(error.class, Class::NotApplied, "{error}");
    assert_eq!(store.losses(), 0, "what never served lost nothing");
    // Without TLS the server is none that can be talked to.
    let plain = QdrantStore::connect(&remote(format!("http://{}", server.address()))).unwrap();
    plain.ping().await.unwrap_err();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_work_is_said_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| Some(dir.path().join(name));
    for (endpoint, ca_file, api_key) in [
        ("not an endpoint", None, None),
        ("127.0.0.1:6334", None, None),
        ("ftp://127.0.0.1", None, None),
        ("https://127.0.0.1", file("missing.pem"), None),
        ("http://127.0.0.1", file("useless.pem"), None),
        ("http://127.0.0.1", None, Some("ke\ny".to_owned())),
    ] {
        let wrong = QdrantRemote { ca_file, api_key, ..remote(endpoint.to_owned()) };
        let error = QdrantStore::connect(&wrong).map(drop).unwrap_err();
        assert_eq!(error.class, STORE, "{wrong:?}");
        assert!(!error.detail.contains("ke\ny"));
    }
}

#[test]
fn without_a_runtime_there_is_an_error_and_no_panic() {
    let error = QdrantStore::connect(&remote("http://127.0.0.1:1".to_owned())).map(drop).unwrap_err();
    assert_eq!(error.class, STORE);
}

#[test]
fn a_remote_does_not_show_its_key() {
    let remote = QdrantRemote { api_key: Some("open sesame".to_owned()), ..remote("http://h:1".to_owned()) };
    let shown = format!("{remote:?}");
    assert!(shown.contains("http://h:1") && !shown.contains("sesame"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_may_ask_for_an_order() {
    let server = Server::start(&[]).await;
    for (version, ordering) in (1..).zip([Ordering::Weak, Ordering::Medium, Ordering::Strong]) {
        let remote = QdrantRemote { ordering: Some(ordering), ..server.remote() };
        let store = QdrantStore::connect(&remote).unwrap();
        store.create(&collection("c", 1, Distance::Dot)).await.unwrap();
        let stamps = store.apply("c", &[upsert("m:1", version, dense(&[1.0]), empty())]).await.unwrap();
        assert_eq!(versions(&stamps), [Some(version)]);
    }
}
