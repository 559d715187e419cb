//! Connections to image servers, to addresses that were checked before, in clear or by TLS.

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, ServerName, pem::PemObject};
use rustls::{ClientConfig, RootCertStore};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Where distributions keep the authorities that they trust.
const AUTHORITIES: [&str; 2] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"];
/// Time for one address to answer, and for TLS.
const PATIENCE: Duration = Duration::from_secs(15);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// No address answers.
    #[error("no address answers; the last one tried was {address}")]
    Unreachable {
        /// The last one tried.
        address: SocketAddr,
        /// What it said.
        #[source]
        source: std::io::Error,
    },
    /// There was no address to try.
    #[error("there is no address to try")]
    NoAddress,
    /// The host trusts no certificate authority.
    #[error(
        "cannot read this host's trusted authorities; is the package ca-certificates installed?"
    )]
    Authorities,
    /// TLS could not be set up.
    #[error("cannot set TLS up")]
    Tls(#[source] rustls::Error),
    /// The server's name cannot be in a certificate.
    #[error("the server's name is none for TLS")]
    Name(#[source] InvalidDnsNameError),
    /// TLS could not be agreed on.
    #[error("TLS failed")]
    Handshake(#[source] std::io::Error),
    /// HTTP could not be begun.
    #[error("HTTP failed")]
    Http(#[source] hyper::Error),
}

/// Connects to the first address that answers; with the server's name when TLS is wanted.
pub(super) async fn connect(
    addresses: &[SocketAddr],
    tls: Option<&str>,
) -> Result<SendRequest<Empty<Bytes>>, TransportError> {
    let stream = reach(addresses).await?;
    let Some(name) = tls else { return speak(stream).await };
    let name = name.trim_start_matches('[').trim_end_matches(']').to_owned();
    let name = ServerName::try_from(name).map_err(TransportError::Name)?;
    let connecting = TlsConnector::from(settings()?).connect(name, stream);
    let late = std::io::Error::from(std::io::ErrorKind::TimedOut);
    let stream = tokio::time::timeout(PATIENCE, connecting).await.unwrap_or(Err(late));
    speak(stream.map_err(TransportError::Handshake)?).await
}

async fn reach(addresses: &[SocketAddr]) -> Result<TcpStream, TransportError> {
    let mut failure = TransportError::NoAddress;
    for &address in addresses {
        let late = std::io::Error::from(std::io::ErrorKind::TimedOut);
        let connecting = tokio::time::timeout(PATIENCE, TcpStream::connect(address));
        match connecting.await.unwrap_or(Err(late)) {
            Ok(stream) => return Ok(stream),
            Err(source) => failure = TransportError::Unreachable { address, source },
        }
    }
    Err(failure)
}

async fn speak<S>(stream: S) -> Result<SendRequest<Empty<Bytes>>, TransportError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (sender, connection) =
        handshake(TokioIo::new(stream)).await.map_err(TransportError::Http)?;
    // Ends with the transfer; what goes wrong is seen there.
    tokio::spawn(connection);
    Ok(sender)
}

/// TLS that trusts whom the host trusts. Read anew for each connection, since fetching is rare and
/// operators add authorities.
fn settings() -> Result<Arc<ClientConfig>, TransportError> {
    let given = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    let files = given.into_iter().chain(AUTHORITIES.map(PathBuf::from));
    let mut roots = RootCertStore::empty();
    for file in files {
        if let Ok(certificates) = CertificateDer::pem_file_iter(&file) {
            roots.add_parsable_certificates(certificates.flatten());
            break;
        }
    }
    if roots.is_empty() {
        return Err(TransportError::Authorities);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TransportError::Tls)?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}
