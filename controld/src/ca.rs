//! The cloud's own certificate authority: one key file, made once, that only its owner may read.
//!
//! Certificates are valid from 1970 to 9999, so that clocks do not matter; revocation is the state of
//! the host's row.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType,
    date_time_ymd,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sha2::{Digest, Sha256};
use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Why certificates cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A file cannot be read or written.
    #[error("cannot use {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A certificate or key cannot be made or read.
    #[error("cannot {action}")]
    Certificate {
        /// What was tried.
        action: &'static str,
        /// Why.
        #[source]
        source: rcgen::Error,
    },
    /// The CA's certificate is not PEM.
    #[error("cannot read the CA's certificate")]
    Pem(#[source] rustls_pki_types::pem::Error),
}

fn certificate(action: &'static str) -> impl FnOnce(rcgen::Error) -> AuthorityError {
    move |source| AuthorityError::Certificate { action, source }
}

/// The certificate authority.
pub struct Authority {
    pem: String,
    der: CertificateDer<'static>,
    sha256: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate given to an agent.
pub struct Given {
    /// The certificate, PEM.
    pub pem: String,
    /// SHA-256 of its DER, hex.
    pub sha256: String,
    /// SHA-256 of its public key, hex.
    pub key_sha256: String,
}

/// A certificate with its key, for a server.
pub struct Leaf {
    /// The certificate.
    pub certificate: CertificateDer<'static>,
    /// Its key.
    pub key: PrivateKeyDer<'static>,
}

impl Authority {
    /// Opens the CA in `data`, making it at first.
    ///
    /// # Errors
    /// When its files cannot be used.
    pub fn open(data: &Path) -> Result<Self, AuthorityError> {
        let (key_path, certificate_path) = (data.join("ca.key"), data.join("ca.pem"));
        let key = match std::fs::read_to_string(&key_path) {
            Ok(pem) => KeyPair::from_pem(&pem).map_err(certificate("read the CA's key"))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let key = KeyPair::generate().map_err(certificate("make the CA's key"))?;
                write(&key_path, &key.serialize_pem())?;
                key
            }
            Err(source) => return Err(AuthorityError::File { path: key_path, source }),
        };
        let pem = match std::fs::read_to_string(&certificate_path) {
            Ok(pem) => pem,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let made =
                    params().self_signed(&key).map_err(certificate("sign the CA's certificate"))?;
                write(&certificate_path, &made.pem())?;
                made.pem()
            }
            Err(source) => return Err(AuthorityError::File { path: certificate_path, source }),
        };
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(AuthorityError::Pem)?;
        let sha256 = hex::encode(Sha256::digest(&der));
        let issuer =
            Issuer::from_ca_cert_pem(&pem, key).map_err(certificate("use the CA's key"))?;
        Ok(Self { pem, der, sha256, issuer })
    }

    /// The CA's certificate, PEM.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The CA's certificate.
    #[must_use]
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// SHA-256 of the CA's certificate (DER), hex: what tokens pin.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// A certificate for an agent from its signing request, whose signature is checked. Nothing of
    /// the request but its public key is taken over.
    ///
    /// # Errors
    /// When the request is not valid.
    pub fn sign(&self, request: &str, host: &str) -> Result<Given, AuthorityError> {
        let request = CertificateSigningRequestParams::from_pem(request)
            .map_err(certificate("read the certificate signing request"))?;
        let mut params = leaf(host);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let made = params
            .signed_by(&request.public_key, &self.issuer)
            .map_err(certificate("sign an agent's certificate"))?;
        Ok(Given {
            pem: made.pem(),
            sha256: hex::encode(Sha256::digest(made.der())),
            key_sha256: hex::encode(Sha256::digest(request.public_key.der_bytes())),
        })
    }

    /// A certificate for this server under the given names and addresses.
    ///
    /// # Errors
    /// When a name cannot stand in a certificate.
    pub fn server(&self, names: &[String]) -> Result<Leaf, AuthorityError> {
        let key = KeyPair::generate().map_err(certificate("make the server's key"))?;
        let mut params = leaf("controld");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        for name in names {
            params.subject_alt_names.push(match name.parse::<IpAddr>() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName(
                    name.as_str()
                        .try_into()
                        .map_err(certificate("name the server in its certificate"))?,
                ),
            });
        }
        let made = params
            .signed_by(&key, &self.issuer)
            .map_err(certificate("sign the server's certificate"))?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Ok(Leaf { certificate: made.der().clone(), key })
    }
}

fn params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = date_time_ymd(1970, 1, 1);
    params.not_after = date_time_ymd(9999, 12, 31);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(DnType::CommonName, "Stampede cloud CA");
    params
}

fn leaf(name: &str) -> CertificateParams {
    let mut params = params();
    params.is_ca = IsCa::NoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// Writes a file that only its owner may read, durably, and never over another.
fn write(path: &Path, text: &str) -> Result<(), AuthorityError> {
    let failed = |source| AuthorityError::File { path: path.to_owned(), source };
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.sync_all().map_err(failed)
}
