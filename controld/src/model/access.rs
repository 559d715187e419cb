//! Accounts, keys, registration tokens and images.

use super::Millis;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Whose resources they are.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Account {
    /// `admin` or `user`.
    pub kind: String,
    /// Trusted fields granted one by one.
    #[serde(default)]
    pub trusted: BTreeSet<String>,
    /// The networks of an instance that names none; empty means the managed one.
    #[serde(default)]
    pub default_networks: Vec<i64>,
    /// The keys of an instance that names none.
    #[serde(default)]
    pub default_credentials: Vec<i64>,
    /// Who it is elsewhere.
    #[serde(default)]
    pub external_id: Option<String>,
    /// What kind of elsewhere.
    #[serde(default)]
    pub external_id_type: Option<String>,
}

/// A public key that guests accept.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SshKey {
    /// The key as in `authorized_keys`.
    pub public_value: String,
}

/// A token to enrol hosts with. The secret is stored as its SHA-256: it has 256 random bits.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RegistrationToken {
    /// SHA-256 of the secret, hex.
    pub secret_sha256: String,
    /// When it ends.
    pub expires: Option<Millis>,
    /// How many hosts it enrolled.
    pub used: u32,
    /// How many it may enrol; none means any number.
    pub uses: Option<u32>,
    /// Whether it was taken back.
    pub revoked: bool,
}

/// A template of virtual machines.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    /// Where it is fetched from.
    pub url: String,
    /// Hex digest; its length tells the algorithm.
    pub checksum: Option<String>,
    /// Whether all accounts may use it.
    pub is_public: bool,
    /// For instance `qcow2`.
    pub format: Option<String>,
    /// `container` or `virtualMachine`.
    pub instance_kind: String,
}
