//! Enrolment: `POST /v1/agent/enrol` on the agents' port.
//!
//! A token is `<cloud>.<ca-sha256>.<id>.<secret>`. The agent verifies that the server's certificate
//! chains to the pinned CA before it sends the secret, and proves both of its keys. A retry with
//! the same keys gets the same answer.

use crate::secret::Secret;
use serde::{Deserialize, Serialize};

/// What an agent sends. Contains the token's secret.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// The token's id.
    pub token_id: String,
    /// The token's secret.
    pub token_secret: Secret,
    /// A certificate signing request in PEM, signed with the agent's TLS key.
    pub csr: String,
    /// The agent's Ed25519 identity, hex, for the overlay.
    pub identity: String,
    /// Signature by that identity over the CSR's PEM bytes, hex.
    pub identity_proof: String,
    /// `/etc/machine-id`, or a random one kept beside the keys.
    pub machine_id: String,
    /// The host's name.
    pub hostname: String,
    /// Whether the drivers are simulated.
    #[serde(default)]
    pub simulated: bool,
}

/// What controld answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    /// The agent's certificate in PEM.
    pub certificate: String,
    /// The cloud's CA in PEM.
    pub ca: String,
    /// The host's uuid, which names it in the agent's URLs.
    pub host: String,
    /// The host's number.
    pub number: u16,
}

/// A refusal, on this and all other paths of the agents' port.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Refusal {
    /// Short and stable: `token-unknown`, `token-used`, `token-expired`, `token-revoked`,
    /// `certificate`, `fenced`, `proto`, `busy`, `invalid`.
    pub code: String,
    /// For people.
    pub message: String,
}

/// A registration token's parts.
#[derive(Clone, Debug)]
pub struct Token {
    /// The cloud's id.
    pub cloud: String,
    /// SHA-256 of the CA certificate's DER, hex.
    pub ca_sha256: String,
    /// The token's id.
    pub id: String,
    /// The token's secret, at least 128 bits.
    pub secret: Secret,
}

/// A text that is not a registration token.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot read registration token: want cloud.ca-sha256.id.secret, as `controld token create` prints it"
)]
pub struct ParseTokenError;

impl std::str::FromStr for Token {
    type Err = ParseTokenError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<&str> = text.trim().split('.').collect();
        match parts.as_slice() {
            [cloud, ca, id, secret]
                if ca.len() == 64 && parts.iter().all(|part| !part.is_empty()) =>
            {
                Ok(Self {
                    cloud: (*cloud).into(),
                    ca_sha256: (*ca).into(),
                    id: (*id).into(),
                    secret: Secret::new((*secret).into()),
                })
            }
            _ => Err(ParseTokenError),
        }
    }
}
