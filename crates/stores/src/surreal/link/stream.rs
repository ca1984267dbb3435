//! The bytes below both protocols: TCP, with TLS over it where the endpoint says so.

use std::path::Path;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::surreal::remote::Address;
use crate::{Class, Scope, StoreError};

/// A connection, whatever it is made of.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Whom to trust, read once.
#[derive(Clone)]
pub(in crate::surreal) struct Trust(Option<Arc<ClientConfig>>);

impl std::fmt::Debug for Trust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "Trust(tls)" } else { "Trust(plain)" })
    }
}

impl Trust {
    /// For an address: the certificates of `ca_file`, or else the system's.
    pub(in crate::surreal) fn of(address: &Address, ca_file: Option<&Path>) -> Result<Self, StoreError> {
        if !address.tls {
            return match ca_file {
                None => Ok(Self(None)),
                Some(_) => Err(bad("a file of certificates is for wss and https alone".to_owned())),
            };
        }
        let mut roots = RootCertStore::empty();
        match ca_file {
            Some(file) => {
                let fail = |error: &dyn std::fmt::Display| bad(format!("certificates in {}: {error}", file.display()));
                for certificate in CertificateDer::pem_file_iter(file).map_err(|error| fail(&error))? {
                    let certificate = certificate.map_err(|error| fail(&error))?;
                    roots.add(certificate).map_err(|error| fail(&error))?;
                }
                if roots.is_empty() {
                    return Err(fail(&"there is none"));
                }
            }
            None => {
                let found = rustls_native_certs::load_native_certs();
                roots.add_parsable_certificates(found.certs);
                if roots.is_empty() {
                    return Err(bad("this system trusts no certificates: name a file of them".to_owned()));
                }
            }
        }
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| bad(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(Some(Arc::new(config))))
    }
}

/// Connects. Nothing has been said to the server yet when this fails.
pub(super) async fn connect(address: &Address, trust: &Trust) -> Result<Box<dyn Stream>, StoreError> {
    let host = address.host.trim_start_matches('[').trim_end_matches(']');
    let tcp = TcpStream::connect((host, address.port)).await.map_err(|error| unreachable(address, &error))?;
    tcp.set_nodelay(true).map_err(|error| unreachable(address, &error))?;
    let Trust(Some(config)) = trust else { return Ok(Box::new(tcp)) };
    let name = ServerName::try_from(host.to_owned()).map_err(|error| bad(format!("{host}: {error}")))?;
    match TlsConnector::from(Arc::clone(config)).connect(name, tcp).await {
        Ok(stream) => Ok(Box::new(stream)),
        // A certificate that is not trusted stays so; a connection that breaks off need not.
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            Err(bad(format!("TLS with {}: {error}", address.authority())))
        }
        Err(error) => Err(unreachable(address, &error)),
    }
}

/// The server could not be reached.
pub(super) fn unreachable(address: &Address, error: &dyn std::fmt::Display) -> StoreError {
    let words = format!("no connection to {}: {error}", address.authority());
    StoreError::new(crate::surreal::STORE, Class::NotApplied, words)
}

fn bad(words: String) -> StoreError {
    StoreError::new(crate::surreal::STORE, Class::Configuration(Scope::Store), words)
}
