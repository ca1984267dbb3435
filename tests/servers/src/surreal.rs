//! SurrealDB's own server, as the `surreal` binary runs it. Everything on the command line is SurrealDB's:
//! `test-surreal start --bind 127.0.0.1:8000 --user root --pass root surrealkv://DIR`.

#![recursion_limit = "256"]

use std::process::ExitCode;

use surrealdb_server::core::CommunityComposer;

fn main() -> ExitCode {
    surrealdb_server::init(CommunityComposer())
}
