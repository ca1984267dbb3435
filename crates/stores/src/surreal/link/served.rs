//! Makes links to a served SurrealDB: connect, sign in, see that namespace and database are there.

use surrealdb::types as db;

use super::http::Http;
use super::stream::Trust;
use super::ws::Ws;
use super::{Broken, Link, Way, wire};
use crate::surreal::call::{Failed, Kind, Params, run};
use crate::surreal::remote::{Address, Protocol, SurrealAuth, SurrealRemote};
use crate::{Class, Scope, StoreError};

/// A served SurrealDB, and what was read from its settings once.
#[derive(Debug)]
pub(in crate::surreal) struct Served {
    remote: SurrealRemote,
    address: Address,
    trust: Trust,
}

impl Served {
    /// Checks the settings; the server is not asked.
    pub(in crate::surreal) fn new(remote: SurrealRemote) -> Result<Self, StoreError> {
        let address = Address::of(&remote.endpoint)?;
        let trust = Trust::of(&address, remote.ca_file.as_deref())?;
        for name in [&remote.namespace, &remote.database] {
            if name.is_empty() || name.contains(['`', '\\']) || name.chars().any(char::is_control) {
                return Err(configuration(format!("{name:?} is no name for a namespace or a database")));
            }
        }
        Ok(Self { remote, address, trust })
    }

    /// A new link, signed in.
    pub(in crate::surreal) async fn make(&self) -> Result<Link, StoreError> {
        let connecting = async {
            match self.address.protocol {
                Protocol::Ws => {
                    let ws = Ws::connect(&self.remote, &self.address, &self.trust).await?;
                    self.sign_in_ws(&ws).await?;
                    Ok(Link::new(Way::Ws(ws)))
                }
                Protocol::Http => {
                    let mut http = Http::connect(&self.remote, &self.address, &self.trust).await?;
                    self.sign_in_http(&mut http).await?;
                    Ok(Link::new(Way::Http(http)))
                }
            }
        };
        let link = tokio::time::timeout(self.remote.timeout, connecting).await.unwrap_or_else(|_| {
            let words = format!("no connection to {} within {:?}", self.address.authority(), self.remote.timeout);
            Err(StoreError::new(crate::surreal::STORE, Class::NotApplied, words))
        })?;
        self.find_database(&link).await?;
        Ok(link)
    }

    async fn sign_in_ws(&self, ws: &Ws) -> Result<(), StoreError> {
        if let SurrealAuth::Token(token) = &self.remote.auth {
            let token = db::Value::String(token.clone());
            ws.call("authenticate", vec![token]).await.and_then(wire::value).map_err(refused)?;
        } else if let Some(who) = self.credentials() {
            ws.call("signin", vec![who]).await.and_then(wire::value).map_err(refused)?;
        }
        Ok(())
    }

    /// A password is checked once, and what it earns is carried by every request: checking one takes the server long.
    async fn sign_in_http(&self, http: &mut Http) -> Result<(), StoreError> {
        if let SurrealAuth::Token(token) = &self.remote.auth {
            return http.carry_token(token);
        }
        let Some(who) = self.credentials() else { return Ok(()) };
        let earned = http.call("signin", vec![who]).await.and_then(wire::value).map_err(refused)?;
        let Some(token) = wire::text(earned, "access") else {
            return Err(configuration("the server answers a sign-in without a token".to_owned()));
        };
        http.carry_token(&token)
    }

    fn credentials(&self) -> Option<db::Value> {
        let (user, password, levels) = match &self.remote.auth {
            SurrealAuth::Root { user, password } => (user, password, 0),
            SurrealAuth::Namespace { user, password } => (user, password, 1),
            SurrealAuth::Database { user, password } => (user, password, 2),
            SurrealAuth::Token(_) | SurrealAuth::None => return None,
        };
        let mut who = db::Object::new();
        who.insert("user", user.clone());
        who.insert("pass", password.clone());
        let names = [("ns", &self.remote.namespace), ("db", &self.remote.database)];
        for (level, name) in names.into_iter().take(levels) {
            who.insert(level, name.clone());
        }
        Some(db::Value::Object(who))
    }

    /// Namespace and database are there, or are made.
    async fn find_database(&self, link: &Link) -> Result<(), StoreError> {
        let SurrealRemote { namespace, database, create, .. } = &self.remote;
        let define = format!(
            "DEFINE NAMESPACE IF NOT EXISTS `{namespace}`; USE NS `{namespace}`; DEFINE DATABASE IF NOT EXISTS `{database}`;"
        );
        let missing = match run(link, "INFO FOR DB", Params::default(), Kind::Read).await {
            Ok(_) => return Ok(()),
            Err(failed) => failed,
        };
        if missing.error.class != Class::Configuration(Scope::Store) || missing.denied {
            return Err(missing.error);
        }
        if !create {
            let words = format!("{}; Lockstep may not make it: {define}", missing.error.detail);
            return Err(configuration(words));
        }
        let made = run(link, &define, Params::default(), Kind::Read).await;
        made.map(drop).map_err(|Failed { error, .. }| StoreError {
            detail: format!("{}, when running: {define}", error.detail),
            ..error
        })
    }
}

/// A sign-in that did not succeed. What was sent is not shown.
fn refused(broken: Broken) -> StoreError {
    match broken {
        Broken::Answered(error) => configuration(format!("the server refuses the sign-in: {}", error.message())),
        Broken::NotSent(words) | Broken::TooLarge(words) | Broken::Lost(words) => {
            StoreError::new(crate::surreal::STORE, Class::NotApplied, format!("while signing in: {words}"))
        }
    }
}

fn configuration(words: String) -> StoreError {
    StoreError::new(crate::surreal::STORE, Class::Configuration(Scope::Store), words)
}
