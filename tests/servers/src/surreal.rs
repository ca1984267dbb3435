//! SurrealDB's own server, as the `surreal` binary runs it. Everything on the command line is SurrealDB's:
//! `test-surreal start --bind 127.0.0.1:8000 --user root --pass root surrealkv://DIR`.
//!
//! With `TEST_SERVER_ENDS_WITH_STDIN` in the environment it ends when its standard input does, so that it never outlives the
//! test that started it, however that ends.

#![recursion_limit = "256"]

use std::process::ExitCode;

use surrealdb_server::core::CommunityComposer;

fn main() -> ExitCode {
    if std::env::var_os("TEST_SERVER_ENDS_WITH_STDIN").is_some() {
        std::thread::spawn(|| {
            // At the end of the pipe, or when it cannot be read, whoever started this is gone.
            drop(std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
            std::process::exit(0);
        });
    }
    surrealdb_server::init(CommunityComposer())
}
