//! Trust in one CA and nothing else.
//!
//! A server is controld when its certificate is for servers and chains to the cloud's CA. Its name
//! is not compared: the CA issues certificates for servers to controld only, agents get theirs for
//! clients, and controld may be reached by any address. Before enrolment the CA is known by its
//! SHA-256 alone and is found among the certificates that the server presents.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// Verifies that a server is the controld of the cloud whose CA has this SHA-256.
#[derive(Debug)]
struct Pinned {
    ca_sha256: [u8; 32],
    ca: Option<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

/// Why a connection cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// The token's fingerprint is no SHA-256.
    #[error("cannot use the CA fingerprint: want 64 hex digits")]
    Fingerprint(#[source] hex::FromHexError),
    /// A certificate or key is not PEM.
    #[error("cannot read the agent's certificate, key or CA as PEM")]
    Pem(#[source] rustls::pki_types::pem::Error),
    /// The agent's certificate and key do not make a client.
    #[error("cannot use the agent's certificate and key")]
    Client(#[source] Error),
}

/// TLS for enrolment: the CA is known by fingerprint, the agent has no certificate yet.
///
/// # Errors
/// When the fingerprint is not one.
pub fn before_enrolment(ca_sha256: &str) -> Result<ClientConfig, PinError> {
    let mut fingerprint = [0; 32];
    hex::decode_to_slice(ca_sha256, &mut fingerprint).map_err(PinError::Fingerprint)?;
    let builder = builder(fingerprint, None)?;
    Ok(builder.with_no_client_auth())
}

/// TLS of an enrolled agent.
///
/// # Errors
/// When a certificate or the key cannot be used.
pub fn enrolled(ca: &str, certificate: &str, key: &str) -> Result<ClientConfig, PinError> {
    let ca = CertificateDer::from_pem_slice(ca.as_bytes()).map_err(PinError::Pem)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(PinError::Pem)?;
    builder(fingerprint(&ca), Some(ca))?
        .with_client_auth_cert(chain.map_err(PinError::Pem)?, key)
        .map_err(PinError::Client)
}

/// The SHA-256 of a CA's certificate in PEM, hex.
///
/// # Errors
/// When it is not PEM.
pub fn fingerprint_of(ca: &str) -> Result<String, PinError> {
    let ca = CertificateDer::from_pem_slice(ca.as_bytes()).map_err(PinError::Pem)?;
    Ok(hex::encode(fingerprint(&ca)))
}

fn fingerprint(certificate: &CertificateDer<'_>) -> [u8; 32] {
    Sha256::digest(certificate.as_ref()).into()
}

type Builder = rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>;

fn builder(ca_sha256: [u8; 32], ca: Option<CertificateDer<'static>>) -> Result<Builder, PinError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Arc::new(Pinned { ca_sha256, ca, provider: provider.clone() });
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(PinError::Client)?
        .dangerous()
        .with_custom_certificate_verifier(verifier))
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let presented = || {
            let pinned = intermediates.iter().find(|found| fingerprint(found) == self.ca_sha256);
            pinned.cloned().map(CertificateDer::into_owned)
        };
        let ca = self
            .ca
            .clone()
            .or_else(presented)
            .ok_or(Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
        let mut roots = RootCertStore::empty();
        roots.add(ca)?;
        verify_server_cert_signed_by_trust_anchor(
            &ParsedCertificate::try_from(end_entity)?,
            &roots,
            intermediates,
            now,
            self.provider.signature_verification_algorithms.all,
        )?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
