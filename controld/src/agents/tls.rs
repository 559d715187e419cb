//! TLS of the agents' port.

use crate::ca::{Authority, AuthorityError};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;

/// Why the port cannot have TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The server's certificate cannot be made.
    #[error("cannot make the certificate of the agents' port")]
    Authority(#[from] AuthorityError),
    /// rustls refuses the certificates.
    #[error("cannot use the certificate of the agents' port")]
    Rustls(#[from] rustls::Error),
    /// The verifier of client certificates cannot be made.
    #[error("cannot verify agents' certificates")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// An acceptor with a fresh leaf for `names`. A client certificate, if there is one, must be of the
/// cloud's CA; whether it is needed depends on the path.
///
/// # Errors
/// When certificates cannot be made or used.
pub fn acceptor(authority: &Authority, names: &[String]) -> Result<TlsAcceptor, TlsError> {
    let leaf = authority.server(names)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone())?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .allow_unauthenticated()
        .build()?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![leaf.certificate, authority.der().clone()], leaf.key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
