//! The key that a call must carry.

use tonic::service::Interceptor;
use tonic::{Request, Status};

/// Lets calls with the right key pass.
#[derive(Clone)]
pub(crate) struct KeyCheck {
    key: Option<String>,
}

impl KeyCheck {
    pub(crate) fn new(key: Option<String>) -> Self {
        Self { key }
    }
}

impl Interceptor for KeyCheck {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let Some(key) = &self.key else { return Ok(request) };
        let sent = request.metadata().get("api-key").and_then(|value| value.to_str().ok());
        match sent {
            Some(sent) if sent == key => Ok(request),
            Some(_) => Err(Status::unauthenticated("Invalid API key or JWT")),
            None => Err(Status::unauthenticated("Must provide an API key or an Authorization bearer token")),
        }
    }
}
