//! The agent's own keys: made once, never sent, private to root.

use crate::durable::{self, DurableError};
use api::secret::Secret;
use ed25519_dalek::{Signer, SigningKey};
use std::path::Path;
use zeroize::Zeroizing;

/// The agent's keys and the machine's id.
pub struct Keys {
    /// The TLS key in PEM.
    pub tls: Secret,
    identity: SigningKey,
    /// `/etc/machine-id`, or a random one kept beside the keys.
    pub machine_id: String,
}

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// A key file cannot be read or written.
    #[error("cannot keep the agent's keys")]
    Keep(#[from] DurableError),
    /// There is no randomness to make them from.
    #[error("cannot get random bytes for the agent's keys")]
    Random(#[source] getrandom::Error),
    /// The TLS key or a request for a certificate cannot be made.
    #[error("cannot make the agent's TLS key or certificate request")]
    Tls(#[from] rcgen::Error),
    /// A key file holds something else.
    #[error("cannot use key file {name}: it does not hold a key; a new host needs an empty folder")]
    Damaged {
        /// The file's name in the data folder.
        name: &'static str,
    },
}

impl Keys {
    /// Opens the keys in the folder `data`, or makes them.
    ///
    /// # Errors
    /// See [`KeysError`]. A damaged key is never replaced, for it would be another host then.
    pub fn open(data: &Path) -> Result<Self, KeysError> {
        let tls = kept(data, "agent.key", || Ok(rcgen::KeyPair::generate()?.serialize_pem()))?;
        let identity = kept(data, "identity.key", random_hex::<32>)?;
        let mut bytes = Zeroizing::new([0; 32]);
        hex::decode_to_slice(identity.expose().trim(), bytes.as_mut())
            .map_err(|_| KeysError::Damaged { name: "identity.key" })?;
        let identity = SigningKey::from_bytes(&bytes);
        let machine_id = match std::fs::read_to_string("/etc/machine-id") {
            Ok(id) if !id.trim().is_empty() => id.trim().into(),
            _ => kept(data, "machine-id", random_hex::<16>)?.expose().trim().into(),
        };
        Ok(Self { tls, identity, machine_id })
    }

    /// A certificate signing request in PEM.
    ///
    /// # Errors
    /// When the TLS key is damaged.
    pub fn certificate_request(&self) -> Result<String, KeysError> {
        let key = rcgen::KeyPair::from_pem(self.tls.expose())
            .map_err(|_| KeysError::Damaged { name: "agent.key" })?;
        Ok(rcgen::CertificateParams::default().serialize_request(&key)?.pem()?)
    }

    /// The public half of the overlay identity, hex.
    #[must_use]
    pub fn identity(&self) -> String {
        hex::encode(self.identity.verifying_key().as_bytes())
    }

    /// The overlay identity's signature over `bytes`, hex.
    #[must_use]
    pub fn sign(&self, bytes: &[u8]) -> String {
        hex::encode(self.identity.sign(bytes).to_bytes())
    }
}

fn random_hex<const BYTES: usize>() -> Result<String, KeysError> {
    let mut bytes = Zeroizing::new([0u8; BYTES]);
    getrandom::fill(bytes.as_mut()).map_err(KeysError::Random)?;
    Ok(hex::encode(bytes.as_ref()))
}

/// The text kept in a file, made and kept first when there is none.
fn kept(
    data: &Path,
    name: &'static str,
    make: impl FnOnce() -> Result<String, KeysError>,
) -> Result<Secret, KeysError> {
    let path = data.join(name);
    if let Some(bytes) = durable::read(&path)? {
        let text = String::from_utf8(bytes).map_err(|_| KeysError::Damaged { name })?;
        return Ok(Secret::new(text));
    }
    let secret = Secret::new(make()?);
    durable::write(&path, secret.expose().as_bytes())?;
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn keys_are_made_once_and_private() {
        let data = tempfile::tempdir().unwrap();
        let first = Keys::open(data.path()).unwrap();
        let again = Keys::open(data.path()).unwrap();
        assert_eq!(first.identity(), again.identity());
        assert!(first.tls == again.tls);
        for name in ["agent.key", "identity.key"] {
            let mode = std::fs::metadata(data.path().join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        assert!(first.certificate_request().unwrap().contains("CERTIFICATE REQUEST"));
    }

    #[test]
    fn a_damaged_key_is_an_error_and_stays() {
        let data = tempfile::tempdir().unwrap();
        std::fs::write(data.path().join("identity.key"), "xyz").unwrap();
        assert!(matches!(Keys::open(data.path()), Err(KeysError::Damaged { .. })));
        assert_eq!(std::fs::read(data.path().join("identity.key")).unwrap(), b"xyz");
    }
}
