//! Rows: what the store keeps about each resource.
//!
//! A row holds intent and allocations, never a state in transition. What all types share is in
//! [`Row`]; what a type has of its own is its variant of [`Body`].

mod access;
mod host;
mod instance;
mod network;

pub use access::{Account, Image, RegistrationToken, SshKey};
pub use host::{Host, KnownFacts};
pub use instance::{ContainerFields, Guest, Instance, MachineFields, Verdict, Via, Want};
pub use network::{Address, Network, Nic, Subnet};

use crate::core::Fields;
use serde::{Deserialize, Serialize};

/// Milliseconds since 1970 by the wall clock; for display, expiry and rest times only.
pub type Millis = i64;

/// One resource.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// The number in its public id; unique over all types.
    #[serde(skip)]
    pub id: i64,
    /// The account it belongs to.
    #[serde(skip)]
    pub account: i64,
    /// Unique in its account.
    #[serde(skip)]
    pub uuid: String,
    /// The user's name for it.
    #[serde(skip)]
    pub name: Option<String>,
    /// When it was removed.
    #[serde(skip)]
    pub removed: Option<Millis>,
    /// The generation of its last change.
    #[serde(skip)]
    pub generation: u64,
    /// The user's words about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// When it was made.
    pub created: Millis,
    /// The user's free map.
    #[serde(default, skip_serializing_if = "Fields::is_empty")]
    pub data: Fields,
    /// What its type has of its own.
    pub body: Body,
}

/// What a type has of its own.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Body {
    /// An account.
    Account(Account),
    /// A server with agentd on it.
    Host(Box<Host>),
    /// A token to enrol hosts with.
    RegistrationToken(RegistrationToken),
    /// A network, managed or not.
    Network(Network),
    /// An address range of a managed network.
    Subnet(Subnet),
    /// A network interface of an instance.
    Nic(Nic),
    /// An address of a managed network.
    Address(Address),
    /// A template of virtual machines.
    Image(Image),
    /// A container or a virtual machine.
    Instance(Box<Instance>),
    /// A public key that guests accept.
    SshKey(SshKey),
}

impl Body {
    /// The schema's id of this resource.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Account(_) => "account",
            Self::Host(_) => "host",
            Self::RegistrationToken(_) => "registrationToken",
            Self::Network(network) if network.managed => "hostOnlyNetwork",
            Self::Network(_) => "network",
            Self::Subnet(_) => "subnet",
            Self::Nic(_) => "nic",
            Self::Address(_) => "ipAddress",
            Self::Image(_) => "image",
            Self::Instance(instance) => match instance.guest {
                Guest::Container(_) => "container",
                Guest::Machine(_) => "virtualMachine",
            },
            Self::SshKey(_) => "sshKey",
        }
    }

    /// What stands before the number in its public id.
    #[must_use]
    pub fn prefix(&self) -> &'static str {
        match self {
            Self::Account(_) => "1a",
            Self::Host(_) => "1h",
            Self::RegistrationToken(_) | Self::SshKey(_) => "1c",
            Self::Network(_) | Self::Nic(_) => "1n",
            Self::Subnet(_) => "1s",
            Self::Address(_) => "1ia",
            Self::Image(_) | Self::Instance(_) => "1i",
        }
    }
}

/// The base type of a schema id, if it has one.
#[must_use]
pub fn base_of(kind: &str) -> Option<&'static str> {
    match kind {
        "container" | "virtualMachine" => Some("instance"),
        "hostOnlyNetwork" => Some("network"),
        "registrationToken" | "sshKey" => Some("credential"),
        _ => None,
    }
}

impl Row {
    /// The public id, for instance `1i12`.
    #[must_use]
    pub fn public_id(&self) -> String {
        format!("{}{}", self.body.prefix(), self.id)
    }

    /// Whether it is of the schema `kind` or of a type derived from it.
    #[must_use]
    pub fn is(&self, kind: &str) -> bool {
        let own = self.body.kind();
        own == kind || base_of(own) == Some(kind)
    }

    /// What this row holds that nobody else may hold.
    #[must_use]
    pub fn claims(&self) -> Vec<Claim> {
        match &self.body {
            Body::Host(host) if self.removed.is_none() => {
                vec![Claim::new("host-number", host.number)]
            }
            Body::Network(network) => network.claims(),
            Body::Address(address) => address.claims(),
            _ => Vec::new(),
        }
    }

    /// The instance in it.
    #[must_use]
    pub fn instance(&self) -> Option<&Instance> {
        match &self.body {
            Body::Instance(instance) => Some(instance),
            _ => None,
        }
    }

    /// The host in it.
    #[must_use]
    pub fn host(&self) -> Option<&Host> {
        match &self.body {
            Body::Host(host) => Some(host),
            _ => None,
        }
    }

    /// The account in it.
    #[must_use]
    pub fn account_body(&self) -> Option<&Account> {
        match &self.body {
            Body::Account(account) => Some(account),
            _ => None,
        }
    }

    /// The network in it.
    #[must_use]
    pub fn network(&self) -> Option<&Network> {
        match &self.body {
            Body::Network(network) => Some(network),
            _ => None,
        }
    }

    /// The subnet in it.
    #[must_use]
    pub fn subnet(&self) -> Option<&Subnet> {
        match &self.body {
            Body::Subnet(subnet) => Some(subnet),
            _ => None,
        }
    }

    /// The network interface in it.
    #[must_use]
    pub fn nic(&self) -> Option<&Nic> {
        match &self.body {
            Body::Nic(nic) => Some(nic),
            _ => None,
        }
    }

    /// The address in it.
    #[must_use]
    pub fn address(&self) -> Option<&Address> {
        match &self.body {
            Body::Address(address) => Some(address),
            _ => None,
        }
    }
}

/// The number in a public id such as `1i12`.
#[must_use]
pub fn number_of(id: &str) -> Option<i64> {
    let digits =
        id.strip_prefix('1')?.trim_start_matches(|letter: char| letter.is_ascii_alphabetic());
    if digits.is_empty() || digits.len() == id.len() - 1 {
        return None;
    }
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

/// Something that can be held only once.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Claim {
    /// Where it is unique, for instance `ip/3`.
    pub space: String,
    /// What is held.
    pub value: String,
}

impl Claim {
    /// A claim of `value` in `space`.
    pub fn new(space: impl Into<String>, value: impl ToString) -> Self {
        Self { space: space.into(), value: value.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_ids_are_read_strictly() {
        assert_eq!(number_of("1i12"), Some(12));
        assert_eq!(number_of("1ia7"), Some(7));
        for bad in ["", "1", "12", "i12", "1i", "1i1x", "1i-3", "1i99999999999999999999", "1é1"] {
            assert_eq!(number_of(bad), None, "{bad}");
        }
    }
}
