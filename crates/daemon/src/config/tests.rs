use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lockstep_model::TableRules;
use toml::Value;

use super::*;
use crate::arguments::LogFormat;

/// The file that is shipped.
const SHIPPED: &str = include_str!("../../../../config/lockstep.toml");

fn with_data() -> Sources {
    Sources { data: Some(PathBuf::from("data")), ..Sources::default() }
}

fn parsed(text: &str) -> Config {
    toml::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn refused(text: &str) -> String {
    Setup::new(&parsed(text), &with_data()).expect_err(text).to_string()
}

fn from_environment(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    load(&Sources::default(), variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))))
}

/// The shipped file with every key set.
pub(super) fn uncommented() -> String {
    let lines = SHIPPED.lines().map(|line| match line.strip_prefix('#') {
        Some(key) if !key.is_empty() && !key.starts_with(' ') => key,
        Some(_) | None => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_shipped_file_sets_nothing() {
    assert_eq!(parsed(SHIPPED), Config::default());
}

#[test]
fn the_shipped_file_names_every_key_with_its_default() {
    let text = uncommented();
    let config = parsed(&text);
    let shipped: Table = text.parse().unwrap();
    let is: BTreeSet<(String, String)> = shipped
        .iter()
        .filter(|(section, _)| *section != "tables")
        .flat_map(|(section, keys)| keys.as_table().unwrap().keys().map(|key| (section.clone(), key.clone())))
        .collect();
    let wanted: BTreeSet<_> = KEYS.iter().map(|(section, key, _)| ((*section).to_owned(), (*key).to_owned())).collect();
    assert_eq!(is, wanted);

    let (shown, defaults) = (Table::try_from(&config).unwrap(), Table::try_from(Config::default()).unwrap());
    for (section, keys) in defaults.iter().filter(|(section, _)| *section != "tables") {
        for (key, default) in keys.as_table().unwrap() {
            assert_eq!(&shown[section][key], default, "{section}.{key}");
        }
    }

    let rules = shipped["tables"]["memory"].as_table().unwrap();
    let known = serde_json::to_value(TableRules::default()).unwrap();
    let known: BTreeSet<_> = known.as_object().unwrap().keys().collect();
    assert_eq!(rules.keys().collect::<BTreeSet<_>>(), known);
    let table = &config.tables["memory"];
    let default = TableRules::default();
    assert_eq!(
        (table.stores, table.keep_vector, &table.point_id, table.on_reject),
        (default.stores, default.keep_vector, &default.point_id, default.on_reject)
    );
}

#[test]
fn every_key_has_the_kind_that_the_environment_reads_it_as() {
    let shipped: Table = uncommented().parse().unwrap();
    for (section, key, kind) in KEYS {
        let value = &shipped[section][key];
        let fits = match kind {
            Kind::Text => value.is_str(),
            Kind::Whole => value.is_integer(),
            Kind::Size => value.as_str().is_some_and(|text| text.parse::<Size>().is_ok()),
            Kind::Bool => value.is_bool(),
        };
        assert!(fits, "{section}.{key}");
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let variable = format!("LOCKSTEP_{}__{}", section.to_uppercase(), key.to_uppercase());
        let config = from_environment(&[(&variable, &text)]).unwrap();
        assert_eq!(Table::try_from(config).unwrap()[section][key], *value, "{variable}");
    }
}

#[test]
fn defaults_are_the_contracts() {
    let setup = Setup::new(&Config::default(), &with_data()).unwrap();
    assert_eq!(setup.socket, Path::new("data/lockstep.sock"));
    assert_eq!(setup.wal_dir, Path::new("data/wal"));
    assert_eq!(setup.surreal.endpoint.url(), "surrealkv://data/surreal");
    assert_eq!(setup.qdrant.endpoint.directory(), Some(Path::new("data/qdrant")));
    assert_eq!((setup.socket_mode, setup.grace), (0o660, Duration::from_secs(20)));
    assert_eq!((setup.op_bytes, setup.connections), (8 << 20, 2048));
    // All but who it is, which is said at the start.
    let default = lockstep_engine::Settings::default();
    let engine = setup.engine;
    assert_eq!(format!("{engine:?}"), format!("{default:?}"));
}

#[test]
fn paths_start_from_the_data_directory_and_flags_go_first() {
    let text = "[daemon]\nsocket = 'run/s'\n[wal]\ndir = '/var/wal'\n[surreal]\nendpoint = 'surrealkv://docs'\n[qdrant]\nendpoint = 'edge:///var/q'";
    let config = parsed(text);
    let setup = Setup::new(&config, &with_data()).unwrap();
    assert_eq!(setup.socket, Path::new("data/run/s"));
    assert_eq!(setup.wal_dir, Path::new("/var/wal"));
    assert_eq!(setup.surreal.endpoint.url(), "surrealkv://data/docs");
    assert_eq!(setup.qdrant.endpoint.directory(), Some(Path::new("/var/q")));

    let flags = Sources { config: Some("c".into()), socket: Some("flag.sock".into()), ..Sources::default() };
    let setup = Setup::new(&config, &flags).unwrap();
    assert_eq!(
        (setup.socket.as_path(), setup.surreal.endpoint.url()),
        (Path::new("flag.sock"), "surrealkv://docs".to_owned())
    );

    let alone = Sources { config: Some("c".into()), ..Sources::default() };
    let missing = Setup::new(&Config::default(), &alone).unwrap_err();
    assert!(missing.to_string().starts_with("daemon.socket is not set"), "{missing}");
    assert!(matches!(Setup::new(&Config::default(), &Sources::default()), Err(ConfigError::Nowhere)));
}

#[test]
fn unknown_keys_are_errors_that_name_them() {
    for (text, named) in [
        ("[daemon]\nnope = 1", "nope"),
        ("[demon]\n", "demon"),
        ("nope = 1", "nope"),
        ("[tables.memory]\ncolection = 'c'", "colection"),
    ] {
        let error = toml::from_str::<Config>(text).unwrap_err().to_string();
        assert!(error.contains(named), "{error}");
    }
    let vector: Table = "[tables.memory.vectors]\ndefault = { size = 3, dist = 'dot' }".parse().unwrap();
    let error = tables::check_names(&vector).unwrap_err().to_string();
    assert!(error.contains("tables.memory.vectors.default") && error.contains("\"dist\""), "{error}");
}

#[test]
fn the_environment_goes_over_the_file_and_is_typed() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "[limits]\nstall_s = 30\nopen_ops = 5\n[surreal]\nnamespace = 'a'").unwrap();
    let sources = Sources { config: Some(file.path().to_owned()), ..Sources::default() };
    let variables = [
        ("LOCKSTEP_LIMITS__STALL_S", "7"),
        ("LOCKSTEP_SURREAL__NAMESPACE", "1"),
        ("LOCKSTEP_WAL__MAX_BYTES", "1 GiB"),
        ("LOCKSTEP_WAL__RESERVE_BYTES", "1048576"),
        ("LOCKSTEP_DAEMON__AUTO_CREATE", "false"),
        ("LOCKSTEP_DAEMON__SOCKET_MODE", "0600"),
        ("LOCKSTEP_QDRANT__ENDPOINT", ""),
        ("LOCKSTEP_SAMPLE", "x"),
        ("LOCKSTEP_DATA", "x"),
        ("OTHER__X", "x"),
    ];
    let config = load(&sources, variables.into_iter().map(|(name, value)| (name.into(), value.into()))).unwrap();
    assert_eq!((config.limits.stall_s, config.limits.open_ops), (7, 5));
    assert_eq!(config.surreal.namespace, "1");
    assert_eq!((config.wal.max_bytes, config.wal.reserve_bytes), (Size(1 << 30), Size(1 << 20)));
    assert_eq!((config.daemon.auto_create, config.daemon.socket_mode), (Some(false), Mode(0o600)));
    assert_eq!(config.qdrant.endpoint, None);

    for (variable, value, said) in [
        ("LOCKSTEP_LIMITS__STALLS", "1", "there is no key limits.stalls"),
        ("LOCKSTEP_LIMIT__STALL_S", "1", "there is no key limit.stall_s"),
        ("LOCKSTEP_LIMITS__STALL_S", "soon", "an integer"),
        ("LOCKSTEP_LIMITS__STALL_S", "-1", "an integer"),
        ("LOCKSTEP_WAL__MAX_BYTES", "much", "a size"),
        ("LOCKSTEP_DAEMON__AUTO_CREATE", "yes", "true or false"),
        ("LOCKSTEP_TABLES__MEMORY", "x", "in the file only"),
    ] {
        let error = from_environment(&[(variable, value)]).unwrap_err().to_string();
        assert!(error.contains(variable) && error.contains(said) && !error.contains(&format!("{value:?}")), "{error}");
    }
}

#[test]
fn a_wrong_file_is_named_with_its_line_and_not_repeated() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let sources = Sources { config: Some(file.path().to_owned()), ..Sources::default() };
    for (text, line, named) in [
        ("[daemon]\nnope = 1\n", 2, "nope"),
        ("[surreal]\n\nendpoint = ws://user:secret@host\n", 3, "endpoint"),
        ("[limits]\nstall_s = 'soon'", 2, "soon"),
    ] {
        fs::write(file.path(), text).unwrap();
        let said = load(&sources, std::iter::empty()).unwrap_err().to_string();
        assert!(said.contains(&format!("line {line}: ")) && !said.contains("secret"), "{said}");
        assert!(named == "endpoint" || said.contains(named), "{said}");
    }
    let said = from_environment(&[("LOCKSTEP_SURREAL__AUTH", "nobody")]).unwrap_err().to_string();
    assert!(said.contains("surreal") && said.contains("nobody"), "{said}");
}

#[test]
fn values_are_bounded() {
    for (text, key) in [
        ("[limits]\nop_bytes = 1", "limits.op_bytes"),
        ("[limits]\nop_bytes = '1 GiB'", "limits.op_bytes"),
        ("[limits]\ngroup_ops = 1001", "limits.group_ops"),
        ("[limits]\nbatch_ops = 0", "limits.batch_ops"),
        ("[limits]\nstall_s = 0", "limits.stall_s"),
        ("[limits]\nconnections = 0", "limits.connections"),
        ("[retry]\nbase_ms = 100\nmax_ms = 99", "retry.max_ms"),
        ("[wal]\nmax_bytes = 1", "wal.max_bytes"),
        ("[surreal]\nnamespace = ''", "surreal.namespace"),
        ("[surreal]\nendpoint = 'docs'", "surreal.endpoint"),
        ("[surreal]\nendpoint = 'rocksdb://x'", "surreal.endpoint"),
        ("[surreal]\nendpoint = 'surrealkv://x?sync=never'", "surreal.endpoint"),
        ("[surreal]\nendpoint = 'surrealkv://'", "surreal.endpoint"),
        ("[qdrant]\nendpoint = 'grpc://x'", "qdrant.endpoint"),
        ("[surreal]\nendpoint = 'ws://u:secret@h:8000'", "surreal.endpoint"),
        ("[qdrant]\nendpoint = 'http://secret@h:6334'", "qdrant.endpoint"),
        ("[surreal]\nuser = 'u'", "surreal.user"),
        ("[qdrant]\napi_key_file = 'f'", "qdrant.api_key_file"),
        ("[qdrant]\nordering = 'weak'", "qdrant.ordering"),
        ("[daemon]\nmetrics_listen = 'localhost:1'", "daemon.metrics_listen"),
        ("[daemon]\nmetrics_listen = ':9464'", "daemon.metrics_listen"),
        ("[tables.lockstep_x]", "tables.lockstep_x"),
        ("[tables.a]\ncollection = '../x'", "tables.a.collection"),
        ("[tables.a]\npayload = ['']", "tables.a.payload"),
        ("[tables.a]\npoint_id = 'field:uid'\nstores = 'qdrant'", "tables.a.point_id"),
        ("[tables.a.vectors]\ndefault = { size = 0 }", "tables.a.vectors.default"),
        ("[tables.a.vectors]\ndefault = { size = 70000 }", "tables.a.vectors.default"),
        ("[tables.a.vectors]\nwords = { kind = 'sparse', size = 1 }", "tables.a.vectors.words"),
        ("[tables.a]\nstores = 'surreal'\nvectors = { default = { size = 1 } }", "tables.a.vectors"),
        (
            "[tables.a]\ncollection = 'c'\n[tables.b]\ncollection = 'c'\nvectors = { t = { size = 1 } }",
            "tables.b.collection",
        ),
    ] {
        let said = refused(text);
        assert!(said.starts_with(&format!("{key}: ")) && !said.contains("secret"), "{said}");
    }
    let long = refused(&format!("[daemon]\nsocket = '/{}'", "s".repeat(107)));
    assert!(long.starts_with("daemon.socket: ") && long.contains("108 bytes, at most 107"), "{long}");
    assert!(toml::from_str::<Config>("[daemon]\nsocket_mode = 660").is_err());
}

#[test]
fn servers_are_taken_and_nothing_is_created_by_itself() {
    let text = "[surreal]\nendpoint = 'wss://db:8000'\n[qdrant]\nendpoint = 'https://q:6334'\nordering = 'medium'\n\
                [daemon]\nmetrics_listen = '127.0.0.1:9464'\n[tables.a]\nstores = 'qdrant'\npoint_id = 'key'\n\
                [tables.b]\npoint_id = 'key'\npayload = ['uid']";
    let setup = Setup::new(&parsed(text), &with_data()).unwrap();
    assert_eq!(
        (setup.surreal.endpoint.url(), setup.surreal.login.clone()),
        ("wss://db:8000".to_owned(), Login::Nobody)
    );
    assert_eq!(
        (setup.qdrant.endpoint.url(), setup.qdrant.ordering),
        ("https://q:6334".to_owned(), Some(Ordering::Medium))
    );
    assert_eq!(setup.metrics_listen.unwrap().port(), 9464);
    assert!(!setup.engine.auto_create);
    let late = Duration::from_secs(20);
    assert_eq!((setup.engine.retain_committed, setup.engine.late_after), (Duration::from_secs(900), late));
    let asked = parsed(&format!("{text}\n[tables.c]\n").replace("[daemon]", "[daemon]\nauto_create = true"));
    assert!(Setup::new(&asked, &with_data()).unwrap().engine.auto_create);

    let expected = setup.expected();
    assert_eq!(expected.len(), 2);
    assert_eq!((expected[0].stores, expected[0].hashed_ids), (lockstep_model::Stores::Qdrant, false));
    assert_eq!((expected[1].collection.as_str(), &expected[1].payload), ("b", &vec!["uid".to_owned()]));

    let half = parsed("[qdrant]\nendpoint = 'http://q:6334'");
    let half = Setup::new(&half, &with_data()).unwrap().engine;
    assert!(!half.auto_create && !half.embedded, "one server is enough");
    let embedded = Setup::new(&Config::default(), &with_data()).unwrap().engine;
    assert!(embedded.auto_create && embedded.embedded);
}

#[test]
fn credentials_come_from_files_and_fit_together() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        fs::write(dir.path().join(name), text).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(dir.path().join(name), mode).unwrap();
    };
    write("pass", " secret-1\n");
    write("token", "secret-2\n");
    write("key", "secret-3");
    write("ca", "x");
    let with = |text: &str, credentials: Option<&str>| {
        let sources = Sources {
            data: Some(dir.path().to_owned()),
            credentials: credentials.map(|name| dir.path().join(name)),
            ..Sources::default()
        };
        Setup::new(
            &parsed(&format!(
                "[qdrant]\nendpoint = 'https://q'\napi_key_file = 'key'\n[surreal]\nendpoint = 'wss://h'\n{text}"
            )),
            &sources,
        )
    };
    let setup = with("auth = 'database'\nuser = 'u'\npassword_file = 'pass'\nca_file = 'ca'", None).unwrap();
    let Login::User { level, name, password } = &setup.surreal.login else { panic!("{:?}", setup.surreal.login) };
    assert_eq!((*level, name.as_str(), password.reveal()), (Auth::Database, "u", "secret-1"));
    assert_eq!(setup.surreal.trust.ca_file, Some(dir.path().join("ca")));
    assert_eq!(setup.qdrant.api_key.as_ref().unwrap().reveal(), "secret-3");
    assert!(!format!("{setup:?}").contains("secret-"), "{setup:?}");
    assert_eq!(setup.warnings, [""; 0]);

    let token = with("token_file = 'token'", None).unwrap().surreal.login;
    assert!(matches!(&token, Login::Token(token) if token.reveal() == "secret-2"), "{token:?}");

    // What the service manager hands over.
    fs::create_dir(dir.path().join("c")).unwrap();
    write("c/surreal-password", "secret-4\n");
    let handed = with("user = 'u'", Some("c")).unwrap().surreal.login;
    assert!(matches!(&handed, Login::User { level: Auth::Root, password, .. } if password.reveal() == "secret-4"));

    for (text, key) in [
        ("user = 'u'", "surreal.user"),
        ("password_file = 'pass'", "surreal.user"),
        ("auth = 'root'", "surreal.auth"),
        ("user = 'u'\npassword_file = 'pass'\ntoken_file = 'token'", "surreal.token_file"),
        ("user = 'u'\npassword_file = 'none'", "surreal.password_file"),
        ("ca_file = 'none'", "surreal.ca_file"),
    ] {
        let said = with(text, None).unwrap_err().to_string();
        assert!(said.starts_with(&format!("{key}: ")) && !said.contains("secret-"), "{said}");
    }
    let plain = "[surreal]\nendpoint = 'ws://h'\nca_file = 'ca'";
    assert!(refused(plain).starts_with("surreal.ca_file: "), "a certificate without encryption");
}

#[test]
fn what_is_odd_is_warned_of() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("key"), "secret-1").unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fs::set_permissions(dir.path().join("key"), open).unwrap();
    let config = parsed("[qdrant]\nendpoint = 'http://q:6333'\napi_key_file = 'key'");
    let setup = Setup::new(&config, &Sources { data: Some(dir.path().to_owned()), ..Sources::default() }).unwrap();
    let warnings = setup.warnings.join("\n");
    for said in ["6333", "goes over the network as it is", "everybody on this machine can read"] {
        assert!(warnings.contains(said), "{said} in {warnings}");
    }
    assert!(!warnings.contains("secret-1"));
}

#[test]
fn the_log_level_and_format_come_from_flags_before_the_file() {
    let config = parsed("[daemon]\nlog_level = 'warn'\nlog_format = 'json'");
    let setup = Setup::new(&config, &with_data()).unwrap();
    assert_eq!((setup.log_level.as_str(), setup.log_format), ("warn", LogFormat::Json));
    let flags = Sources { log_level: Some("debug".to_owned()), log_format: Some(LogFormat::Text), ..with_data() };
    let setup = Setup::new(&config, &flags).unwrap();
    assert_eq!((setup.log_level.as_str(), setup.log_format), ("debug", LogFormat::Text));
    assert!(refused("[daemon]\nlog_level = 'loud'").starts_with("daemon.log_level: "));
    assert!(toml::from_str::<Config>("[daemon]\nlog_format = 'yaml'").is_err());
}

#[test]
fn two_tables_share_a_collection_when_both_are_hashed_and_alike() {
    let config = parsed("[tables.a]\ncollection = 'c'\n[tables.b]\ncollection = 'c'\n[tables.c]\nstores = 'surreal'");
    assert_eq!(Setup::new(&config, &with_data()).unwrap().engine.tables.len(), 3);
    assert_eq!(Value::try_from(Mode::default()).unwrap().as_str(), Some("0660"));
}

#[test]
fn a_value_of_the_wrong_type_names_its_key() {
    assert_eq!(key_of("[daemon]\nauto_create = 3").as_deref(), Some("daemon.auto_create"));
    assert_eq!(key_of("[daemon]\nauto_create = true"), None);
}
