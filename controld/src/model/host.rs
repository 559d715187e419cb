//! Hosts.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// A server with agentd on it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Host {
    /// 1…65534; router address and router MAC follow from it.
    pub number: u16,
    /// The host's own name for itself at enrolment.
    pub hostname: String,
    /// Its machine id.
    pub machine_id: String,
    /// Its Ed25519 identity, hex.
    pub identity: String,
    /// The certificate it was given, PEM.
    pub certificate: String,
    /// SHA-256 of that certificate's DER, hex: who presents it is this host.
    pub certificate_sha256: String,
    /// SHA-256 of the certificate signing request's public key, hex: tells a retry from a stranger.
    pub key_sha256: String,
    /// The token it enrolled with.
    pub token: i64,
    /// Whether its drivers are simulated.
    pub simulated: bool,
    /// Whether new instances may be placed on it.
    pub active: bool,
    /// Whether an admin took it out of the cloud.
    pub fenced: bool,
    /// What it told about itself that others depend on, also over a restart of controld.
    pub facts: KnownFacts,
}

/// What must be known about a host that is silent at the moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KnownFacts {
    /// The address other hosts reach it at.
    pub address: Option<IpAddr>,
    /// agentd's version.
    pub version: String,
    /// Number of processors.
    pub cpus: u32,
    /// Memory in MiB.
    pub memory_mb: u64,
    /// Names of probes and whether they succeeded.
    pub capabilities: BTreeMap<String, bool>,
}

impl Host {
    /// Whether it takes part in the cloud.
    #[must_use]
    pub fn takes_part(&self) -> bool {
        self.active && !self.fenced
    }

    /// Whether a probe of that name succeeded.
    #[must_use]
    pub fn can(&self, capability: &str) -> bool {
        self.facts.capabilities.get(capability).copied().unwrap_or(false)
    }
}
