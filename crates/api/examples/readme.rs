//! The example of the README, which a test compares with this file and runs against a daemon.

#![expect(clippy::print_stdout, reason = "an example shows what it did")]

use lockstep_api::{Client, Error, OpOptions, SearchRequest, find_socket};
use serde_json::json;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = Client::new(find_socket(None)?);
    let embedding = [0.3, 0.2, 0.1]; // what your model makes of the text

    let put = json!({"op": "put", "key": "memory:neap", "document": {"title": "neap"}, "vector": embedding});
    // With an idempotency key it can be sent again after a lost answer: it runs once.
    let options = OpOptions { idempotency_key: Some("import-1/neap".to_owned()), ..OpOptions::default() };
    match client.op(put.to_string(), &options).await {
        Ok(answer) if answer.status == 200 => println!("{} is in both stores", answer.op_id),
        Ok(answer) => println!("{} is durable and goes on; it is {} now", answer.op_id, answer.state),
        Err(Error::Problem { problem, .. }) => println!("refused: {} ({})", problem.detail, problem.code),
        Err(away) => return Err(away.into()),
    }

    let nearest = SearchRequest {
        table: "memory".to_owned(),
        vector: json!(embedding),
        using: None,
        limit: Some(3),
        filter: None,
        with_document: true,
    };
    for hit in &client.search(&nearest).await?.hits {
        println!("{:.3} {}", hit.score, hit.key);
    }
    Ok(())
}
