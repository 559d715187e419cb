//! What a snapshot's items mean: the desired state of one host.
//!
//! Scopes decide who gets what: a host's own items with their full specification, and of every
//! network it is a member of the endpoint mappings, names and members. Short keys and the VNI as
//! the network's name keep an endpoint below 200 bytes. Unknown fields are ignored, so that a
//! controld one version ahead can be served.

use crate::mac::Mac;
use crate::secret::Secret;
use crate::snapshot::Item;
use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

/// The meaning of one item.
#[derive(Clone, Debug, PartialEq)]
pub enum Meaning {
    /// `host/self`: who this host is.
    Host(Host),
    /// `network/<vni>`: a network this host is a member of.
    Network(Network),
    /// `member/<vni>/<host number>`: another host that is a member of a network.
    Member(Member),
    /// `endpoint/<id>`: an address of a network and the host it lives on.
    Endpoint(Endpoint),
    /// `reserve/<vni>`: addresses of a network granted to this host.
    Reserve(Reserve),
    /// `container/<uuid>`: a container of this host.
    Container(Box<Container>),
    /// `machine/<uuid>`: a virtual machine of this host.
    Machine(Box<Machine>),
    /// `retained/<uuid>`: a removed instance whose storage is kept.
    Retained(Retained),
    /// A kind this version does not know; kept, reported as unsupported.
    Unknown,
}

/// An item whose value does not fit its kind.
#[derive(Debug, thiserror::Error)]
#[error("cannot read item {key} of kind {kind}")]
pub struct ReadItemError {
    key: String,
    kind: String,
    #[source]
    source: serde_json::Error,
}

impl Meaning {
    /// Reads an item.
    ///
    /// # Errors
    /// When the value does not fit the kind. An unknown kind is no error.
    pub fn read(item: &Item) -> Result<Self, ReadItemError> {
        let text = item.value.get();
        match item.kind.as_str() {
            "host" => serde_json::from_str(text).map(Self::Host),
            "network" => serde_json::from_str(text).map(Self::Network),
            "member" => serde_json::from_str(text).map(Self::Member),
            "endpoint" => serde_json::from_str(text).map(Self::Endpoint),
            "reserve" => serde_json::from_str(text).map(Self::Reserve),
            "container" => serde_json::from_str(text).map(Self::Container),
            "machine" => serde_json::from_str(text).map(Self::Machine),
            "retained" => serde_json::from_str(text).map(Self::Retained),
            _ => Ok(Self::Unknown),
        }
        .map_err(|source| ReadItemError {
            key: item.key.clone(),
            kind: item.kind.clone(),
            source,
        })
    }

    /// The item that carries this meaning, or nothing for [`Meaning::Unknown`]. `endpoint` is the
    /// number in an endpoint's key and is ignored for other kinds.
    ///
    /// # Errors
    /// When a value cannot be serialised, which no value of these types can cause.
    pub fn write(&self, endpoint: u64) -> Result<Option<Item>, serde_json::Error> {
        use serde_json::value::to_raw_value;
        let (key, kind, value) = match self {
            Self::Host(value) => ("host/self".into(), "host", to_raw_value(value)?),
            Self::Network(value) => {
                (format!("network/{}", value.vni), "network", to_raw_value(value)?)
            }
            Self::Member(value) => {
                (format!("member/{}/{}", value.vni, value.host), "member", to_raw_value(value)?)
            }
            Self::Endpoint(value) => {
                (format!("endpoint/{endpoint}"), "endpoint", to_raw_value(value)?)
            }
            Self::Reserve(value) => {
                (format!("reserve/{}", value.vni), "reserve", to_raw_value(value)?)
            }
            Self::Container(value) => {
                (format!("container/{}", value.guest.uuid), "container", to_raw_value(value)?)
            }
            Self::Machine(value) => {
                (format!("machine/{}", value.guest.uuid), "machine", to_raw_value(value)?)
            }
            Self::Retained(value) => {
                (format!("retained/{}", value.uuid), "retained", to_raw_value(value)?)
            }
            Self::Unknown => return Ok(None),
        };
        Ok(Some(Item { key, kind: kind.into(), value: value.into() }))
    }
}

/// How frames travel between hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Overlay {
    /// VXLAN in clear; must be asked for by name.
    Vxlan,
    /// VXLAN inside IPsec.
    Ipsec,
}

/// Who this host is in its cloud.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Host {
    /// The host's resource id, for instance `1h1`.
    pub id: String,
    /// The host's uuid.
    pub uuid: String,
    /// The host's number, 1…65534; router address and router MAC follow from it.
    pub number: u16,
    /// How frames travel between hosts.
    pub overlay: Overlay,
    /// The address other hosts reach this one at; none until the host reported addresses.
    pub address: Option<IpAddr>,
    /// Set when an admin took this host out of the cloud: stop what is owned, keep disks.
    #[serde(default)]
    pub fenced: bool,
}

/// A managed network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Network {
    /// The VXLAN network identifier; names the network in all other items.
    pub vni: u32,
    /// The network's resource id, for instance `1n2`.
    pub id: String,
    /// The network's uuid.
    pub uuid: String,
    /// The network's name.
    pub name: String,
    /// What Docker calls it: `managed` for the default network, else `st-<uuid>`.
    pub docker: String,
    /// The address range; the gateway's prefix length is the range's.
    pub cidr: Ipv4Net,
    /// The any-cast gateway's address.
    pub gateway: Ipv4Addr,
    /// The MTU guests are told, fixed when the network is made. In bytes.
    pub mtu: u32,
    /// The DNS domain, without dots at the ends.
    pub domain: String,
    /// Resolvers to forward to; empty means the host's own.
    #[serde(default)]
    pub dns: Vec<IpAddr>,
    /// Whether the host's root namespace has a route into this network.
    #[serde(default)]
    pub default: bool,
    /// Whether hand-run containers' DNS is redirected to the gateway.
    #[serde(default = "yes")]
    pub intercept_dns: bool,
}

fn yes() -> bool {
    true
}

/// Another host that is a member of a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// The network.
    pub vni: u32,
    /// The other host's number.
    pub host: u16,
    /// The other host's address on the underlay.
    pub address: IpAddr,
}

/// An address of a network and the host it lives on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// The network.
    pub vni: u32,
    /// The address.
    pub ip: Ipv4Addr,
    /// Its Ethernet address.
    pub mac: Mac,
    /// The number of the host it lives on.
    pub host: u16,
    /// Of two mappings of one address the one with the higher number wins.
    pub seq: u64,
    /// Host names (single labels), the first one is the canonical one. Empty for a reserve.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
}

/// Addresses of a network granted to this host, for containers that people start by hand. Each of
/// them is an [`Endpoint`] of this host as well, so that it is reachable at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reserve {
    /// The network.
    pub vni: u32,
    /// The addresses, free or taken by a hand-run container.
    pub addresses: Vec<Granted>,
}

/// One address of a reserve.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Granted {
    /// The address.
    pub ip: Ipv4Addr,
    /// Its Ethernet address.
    pub mac: Mac,
}

/// What an instance is wanted to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Want {
    /// Made, not running.
    Stopped,
    /// Running in the given epoch.
    Running,
}

/// What containers and machines have in common; also what their metadata tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Guest {
    /// The resource id, for instance `1i12`.
    pub id: String,
    /// The uuid; a machine's domain has it as its name too.
    pub uuid: String,
    /// The user's name for it, if any.
    pub name: Option<String>,
    /// The host name, a single label.
    pub hostname: String,
    /// The DNS domain.
    pub domain: String,
    /// Stopped or running.
    pub want: Want,
    /// Counts starts: +1 at each start and restart. An epoch that has exited is never started
    /// again unless the restart policy says so.
    pub epoch: u64,
    /// Seconds between asking the guest to stop and making it stop.
    #[serde(default = "stop_timeout")]
    pub stop_timeout: u32,
    /// Network interfaces in order of their device number.
    #[serde(default)]
    pub nics: Vec<Nic>,
    /// Public keys by name.
    #[serde(default)]
    pub public_keys: BTreeMap<String, String>,
    /// User data, base64; any bytes up to 64 KiB. May hold secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub userdata: Option<Secret>,
    /// The image's uuid as the user named it, for `ami-id`.
    pub image: String,
    /// Memory in MiB; `None` means no limit.
    #[serde(default)]
    pub memory_mb: Option<u64>,
    /// Number of processors; `None` means 1 for a machine and no limit for a container.
    #[serde(default)]
    pub vcpu: Option<u32>,
    /// What happens when the guest ends by itself.
    #[serde(default)]
    pub restart: Restart,
    /// The uuid of the account it belongs to.
    #[serde(default)]
    pub account: String,
}

fn stop_timeout() -> u32 {
    30
}

/// What happens when a guest ends by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "policy")]
pub enum Restart {
    /// It stays stopped.
    #[default]
    Stop,
    /// It is started again, with growing pauses.
    Always,
    /// It is started again after a failure, at most so many times (0: without limit).
    OnFailure {
        /// How many times.
        maximum: u32,
    },
}

/// A network interface of a guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Nic {
    /// The resource id.
    pub id: String,
    /// `eth<n>` in the guest.
    pub device: u32,
    /// Where it is attached.
    #[serde(flatten)]
    pub attachment: Attachment,
}

/// Where a network interface is attached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", untagged)]
pub enum Attachment {
    /// An address on a managed network.
    Managed {
        /// The network.
        vni: u32,
        /// The address.
        ip: Ipv4Addr,
        /// The Ethernet address.
        mac: Mac,
    },
    /// Hands off: Docker's default behaviour, or libvirt's network `default`.
    Unmanaged {
        /// Always true; tells the two shapes apart.
        unmanaged: bool,
    },
}

/// A container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Container {
    /// What it shares with machines.
    #[serde(flatten)]
    pub guest: Guest,
    /// The image's reference for Docker, for instance `nginx:1.25`.
    pub reference: String,
    /// Command and arguments; empty means the image's.
    #[serde(default)]
    pub command: Vec<String>,
    /// Entry point; empty means the image's.
    #[serde(default)]
    pub entry_point: Vec<String>,
    /// Environment. May hold secrets.
    #[serde(default)]
    pub environment: BTreeMap<String, Secret>,
    /// Working directory.
    #[serde(default)]
    pub directory: Option<String>,
    /// User.
    #[serde(default)]
    pub user: Option<String>,
    /// The user's labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Volumes, `name:/path[:ro]` with an account-scoped name, or a host path (trusted).
    #[serde(default)]
    pub volumes: Vec<String>,
    /// All of the host's powers (trusted).
    #[serde(default)]
    pub privileged: bool,
    /// Docker's CPU shares.
    #[serde(default)]
    pub cpu_shares: Option<u64>,
    /// More search domains behind the network's own.
    #[serde(default)]
    pub dns_search: Vec<String>,
}

/// How a machine finds its metadata.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Presentation {
    /// A drive labelled `config-2`, and OpenStack's name in the firmware tables.
    #[default]
    ConfigDrive,
    /// EC2's: the uuid begins with `ec2`.
    Ec2,
    /// A drive labelled `cidata`.
    Nocloud,
    /// None claimed; the service answers all the same.
    None,
}

/// A virtual machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Machine {
    /// What it shares with containers.
    #[serde(flatten)]
    pub guest: Guest,
    /// Where its disk comes from.
    pub disk: DiskImage,
    /// How it finds its metadata.
    #[serde(default)]
    pub presentation: Presentation,
}

/// Where a machine's disk comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DiskImage {
    /// The image's uuid.
    pub uuid: String,
    /// `http:`, `https:` or (trusted) `file:`.
    pub url: String,
    /// Hex digest; its length tells the algorithm.
    #[serde(default)]
    pub checksum: Option<String>,
}

/// A removed instance whose storage is kept until it is purged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Retained {
    /// The instance's uuid.
    pub uuid: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_small_and_comes_back() {
        let endpoint = Meaning::Endpoint(Endpoint {
            vni: 0x0080_0001,
            ip: Ipv4Addr::new(10, 42, 255, 250),
            mac: "02:00:01:2a:ff:fa".parse().unwrap(),
            host: 65_534,
            seq: 1_000_000,
            names: vec!["a-rather-long-name-for-a-server".into()],
        });
        let item = endpoint.write(1_000_000).unwrap().unwrap();
        assert!(item.key.len() + item.value.get().len() <= 200, "{item:?}");
        assert_eq!(Meaning::read(&item).unwrap(), endpoint);
    }

    #[test]
    fn secrets_do_not_show() {
        let secret = Secret::new("hunter2".into());
        assert!(!format!("{secret:?}").contains("hunter2"));
    }

    #[test]
    fn both_kinds_of_nic_are_told_apart() {
        let managed: Nic = serde_json::from_str(
            r#"{"id":"1n1","device":0,"vni":8388608,"ip":"10.42.0.9","mac":"02:00:01:2a:00:09"}"#,
        )
        .unwrap();
        assert!(matches!(managed.attachment, Attachment::Managed { .. }));
        let plain: Nic =
            serde_json::from_str(r#"{"id":"1n1","device":0,"unmanaged":true}"#).unwrap();
        assert!(matches!(plain.attachment, Attachment::Unmanaged { .. }));
    }
}
