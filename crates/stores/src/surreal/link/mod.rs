//! One way to one database: what sends a text and its parameters, and tells what became of them.
//!
//! A link says whether a call that failed can have reached the store. It never repeats a call, and once it is given up it
//! sends nothing any more.

mod http;
mod served;
mod stream;
mod wire;
mod ws;

use std::future::IntoFuture;
use std::sync::atomic::{AtomicBool, Ordering};

use surrealdb::Surreal;
use surrealdb::engine::any::Any;
use surrealdb::types as db;

use self::http::Http;
pub(super) use self::served::Served;
use self::ws::Ws;
use crate::{Class, Scope, StoreError};

/// What each statement of a text answered.
pub(super) type Results = Vec<Result<db::Value, surrealdb::Error>>;

/// A call without results.
#[derive(Debug)]
pub(super) enum Broken {
    /// It has not reached the store, and never will.
    NotSent(String),
    /// It would be larger than the store takes, so it was not sent.
    TooLarge(String),
    /// It may have reached the store.
    Lost(String),
    /// The store has answered for the text as a whole.
    Answered(surrealdb::Error),
}

/// A way to one database.
#[derive(Debug)]
pub(super) struct Link {
    way: Way,
    given_up: AtomicBool,
    /// It has answered since it was made: what it is not allowed now, it was allowed once.
    proven: AtomicBool,
}

/// The kinds of links.
#[derive(Debug)]
pub(super) enum Way {
    /// The engine in this process.
    Embedded(Surreal<Any>),
    /// A server over a WebSocket.
    Ws(Ws),
    /// A server over HTTP.
    Http(Http),
}

impl Link {
    /// A link that has not been used.
    pub(super) const fn new(way: Way) -> Self {
        Self { way, given_up: AtomicBool::new(false), proven: AtomicBool::new(false) }
    }

    /// Sends a text with its parameters and waits for the answer.
    pub(super) async fn query(&self, text: &str, params: db::Object) -> Result<Results, Broken> {
        if !self.is_alive() {
            return Err(Broken::NotSent("the connection is gone".to_owned()));
        }
        match &self.way {
            Way::Embedded(client) => embedded(client, text, params).await,
            Way::Ws(ws) => ws.call("query", wire::query(text, params)).await.and_then(wire::results),
            Way::Http(http) => http.call("query", wire::query(text, params)).await.and_then(wire::results),
        }
    }

    /// What it was made for can still be done with it.
    pub(super) fn is_alive(&self) -> bool {
        !self.given_up.load(Ordering::Acquire)
            && match &self.way {
                Way::Embedded(_) => true,
                Way::Ws(ws) => ws.is_open(),
                Way::Http(http) => http.is_open(),
            }
    }

    /// Uses it no more.
    pub(super) fn give_up(&self) {
        self.given_up.store(true, Ordering::Release);
        match &self.way {
            Way::Embedded(_) => {}
            Way::Ws(ws) => ws.close(),
            Way::Http(http) => http.close(),
        }
    }

    /// It leads to a server.
    pub(super) const fn is_served(&self) -> bool {
        match &self.way {
            Way::Embedded(_) => false,
            Way::Ws(_) | Way::Http(_) => true,
        }
    }

    /// The version of the server that it leads to, as the server writes it.
    pub(super) async fn version(&self) -> Result<Option<String>, Broken> {
        let answer = match &self.way {
            Way::Embedded(_) => return Ok(None),
            Way::Ws(ws) => ws.call("version", Vec::new()).await,
            Way::Http(http) => http.call("version", Vec::new()).await,
        };
        Ok(wire::text(answer.and_then(wire::value)?, "version"))
    }

    /// Notes that a call was allowed.
    pub(super) fn prove(&self) {
        self.proven.store(true, Ordering::Relaxed);
    }

    /// A call has been allowed before.
    pub(super) fn is_proven(&self) -> bool {
        self.proven.load(Ordering::Relaxed)
    }
}

async fn embedded(client: &Surreal<Any>, text: &str, params: db::Object) -> Result<Results, Broken> {
    let sent = Box::pin(client.query(text).bind(db::Value::Object(params)).into_future()).await;
    let mut response = sent.map_err(Broken::Answered)?;
    let count = response.num_statements();
    let mut errors = response.take_errors();
    let mut results = Vec::with_capacity(count);
    for place in 0..count {
        results.push(match errors.remove(&place) {
            Some(error) => Err(error),
            None => response.take::<db::Value>(place),
        });
    }
    Ok(results)
}

/// A value for a header.
fn named(text: &str) -> Result<hyper::header::HeaderValue, StoreError> {
    hyper::header::HeaderValue::from_str(text).map_err(|_| {
        let words = "a name or a token in the settings holds characters that a header of HTTP cannot carry";
        StoreError::new(super::STORE, Class::Configuration(Scope::Store), words)
    })
}
