//! What SurrealDB does that the adapter works around. A test that fails after an upgrade says that a way
//! round may go.

use surrealdb::Surreal;
use surrealdb::engine::any::Any;
use surrealdb::types::{ToSql, Value};

async fn client(script: &str) -> Surreal<Any> {
    let client = surrealdb::engine::any::connect("mem://").await.unwrap();
    client.use_ns("test").use_db("test").await.unwrap();
    client.query(script).await.unwrap().check().unwrap();
    client
}

/// The answers, or the errors' messages.
async fn answers(client: &Surreal<Any>, text: &str) -> Vec<String> {
    let mut response = client.query(text).await.unwrap();
    (0..response.num_statements())
        .map(|place| {
            response.take::<Value>(place).map_or_else(|error| error.message().to_owned(), |value| value.to_sql())
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_ok_although_a_statement_failed_and_the_first_error_is_an_echo() {
    let client = client("CREATE a:1").await;
    let answers = answers(&client, "BEGIN; CREATE a:2; CREATE a:1; COMMIT").await;
    assert_eq!(answers[1], "The query was not executed due to a failed transaction");
    assert_eq!(answers[2], "Database record `a:1` already exists");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_return_skips_to_commit_without_an_error() {
    let client = client("DEFINE TABLE a").await;
    answers(&client, "BEGIN; CREATE a:1; RETURN 1; CREATE a:2; COMMIT").await;
    assert_eq!(answers(&client, "SELECT VALUE id FROM a").await, ["[a:1]"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn insert_ignore_swallows_what_a_unique_index_refuses() {
    let client = client("DEFINE INDEX one ON a FIELDS n UNIQUE; CREATE a:1 SET n = 1").await;
    assert_eq!(answers(&client, "INSERT IGNORE { id: a:2, n: 1 }").await, ["[]"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_of_an_edges_ends_is_ignored_in_silence() {
    let client = client("CREATE a:1, a:2, a:3; INSERT RELATION { id: e:1, in: a:1, out: a:2 }").await;
    let answers = answers(&client, "UPDATE e:1 CONTENT { in: a:1, out: a:3, w: 1 }").await;
    assert_eq!(answers, ["[{ id: e:1, in: a:1, out: a:2, w: 1 }]"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_table_breaks_a_transaction_that_deletes_and_not_one_that_selects_records() {
    let client = client("DEFINE TABLE a").await;
    assert_eq!(answers(&client, "BEGIN; SELECT * FROM [missing:1, a:1]; COMMIT").await[1], "[]");
    assert!(answers(&client, "BEGIN; DELETE missing:1; COMMIT").await[1].contains("does not exist"));
}

#[tokio::test(flavor = "multi_thread")]
async fn viewing_rights_do_not_keep_a_table_from_being_made() {
    // Why queries run in a transaction that is cancelled, and not as a user who may only view.
    let client = client("DEFINE USER reader ON DATABASE PASSWORD 'x' ROLES VIEWER").await;
    let reader = client.clone();
    let user = surrealdb::opt::auth::Database {
        namespace: "test".to_owned(),
        database: "test".to_owned(),
        username: "reader".to_owned(),
        password: "x".to_owned(),
    };
    reader.signin(user).await.unwrap();
    answers(&reader, "INSERT INTO made { id: 1 }").await;
    assert_eq!(answers(&client, "SELECT * FROM made").await, ["[]"]);
}
