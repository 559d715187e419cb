//! Networks, subnets, interfaces and addresses.

use super::{Claim, Millis};
use api::mac::Mac;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr};

/// A network.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Network {
    /// Ours, or hands off.
    pub managed: bool,
    /// The VXLAN network identifier of a managed one.
    pub vni: Option<u32>,
    /// First three bytes of its guests' Ethernet addresses.
    pub mac_prefix: [u8; 3],
    /// The MTU guests are told, in bytes.
    pub mtu: u32,
    /// DNS domain.
    pub domain: String,
    /// Resolvers to forward to; empty means the host's own.
    #[serde(default)]
    pub dns: Vec<IpAddr>,
    /// Whether all accounts may use it.
    pub is_public: bool,
    /// Whether it is the one that a request without networks gets.
    pub default: bool,
    /// Whether it takes new instances.
    pub active: bool,
}

impl Network {
    pub(super) fn claims(&self) -> Vec<Claim> {
        let [a, b, c] = self.mac_prefix;
        let Some(vni) = self.vni else { return Vec::new() };
        vec![
            Claim::new("vni", vni),
            Claim::new("mac-prefix", format_args!("{a:02x}:{b:02x}:{c:02x}")),
        ]
    }
}

/// An address range of a managed network.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Subnet {
    /// The network.
    pub network: i64,
    /// As the user typed it; need not be the first address.
    pub network_address: Ipv4Addr,
    /// Prefix length.
    pub cidr_size: u8,
    /// First address handed out.
    pub start_address: Ipv4Addr,
    /// Last address handed out.
    pub end_address: Ipv4Addr,
    /// The any-cast gateway.
    pub gateway: Ipv4Addr,
    /// Whether all accounts may use it.
    pub is_public: bool,
    /// Whether it takes new instances.
    pub active: bool,
}

impl Subnet {
    /// How many addresses it can hand out.
    #[must_use]
    pub fn size(&self) -> u32 {
        u32::from(self.end_address) - u32::from(self.start_address) + 1
    }
}

/// A network interface of an instance.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Nic {
    /// Whose it is.
    pub instance: i64,
    /// `eth<n>` in the guest.
    pub device: u32,
    /// Where it is attached.
    pub network: i64,
    /// The subnet, on a managed network.
    pub subnet: Option<i64>,
    /// Its address, on a managed network.
    pub address: Option<i64>,
}

/// An address of a managed network, from its allocation until it has rested.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Address {
    /// The network.
    pub network: i64,
    /// The subnet.
    pub subnet: i64,
    /// The address.
    pub ip: Ipv4Addr,
    /// Its Ethernet address.
    pub mac: Mac,
    /// The interface that has it.
    pub nic: Option<i64>,
    /// The host it was granted to for containers that people start by hand.
    pub granted: Option<i64>,
    /// The host it lives on; none while its instance is not placed or is removed.
    pub host: Option<i64>,
    /// The generation of its present mapping.
    pub seq: u64,
    /// Nobody has it, and until then nobody gets it.
    pub rests_until: Option<Millis>,
}

impl Address {
    pub(super) fn claims(&self) -> Vec<Claim> {
        vec![
            Claim::new(format!("ip/{}", self.network), self.ip),
            Claim::new(format!("mac/{}", self.network), self.mac),
        ]
    }
}
