//! What an instance is, as far as its metadata tell.

use ipnet::Ipv4Net;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use zeroize::Zeroizing;

/// Memory that an instance without a limit is said to have. In MiB.
const UNSET_MEMORY: u64 = 64;
/// The domain of public host names where the instance has none of its own.
const PUBLIC_DOMAIN: &str = "compute.localdomain";
/// The domain of host names where neither the instance nor its network has one.
const LOCAL_DOMAIN: &str = "compute.internal";

/// User data: any bytes. Wiped when dropped; not printable, for they may hold secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct UserData(Zeroizing<Vec<u8>>);

impl UserData {
    /// Takes the bytes as they are.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes as they were.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// An instance, virtual machine or container.
#[derive(Clone, PartialEq, Eq)]
pub struct Instance {
    /// The resource id, for instance `1i12`; EC2's instance id is `i-` and this.
    pub id: String,
    /// The uuid.
    pub uuid: String,
    /// The host name, a single label; empty for the one made from the address.
    pub hostname: String,
    /// The DNS domain; empty for the default one.
    pub domain: String,
    /// The image as the user named it.
    pub image: String,
    /// The name of the offering it was made from, if any.
    pub offering: Option<String>,
    /// Memory in MiB.
    pub memory_mb: Option<u64>,
    /// Number of processors.
    pub vcpu: Option<u32>,
    /// Public keys in OpenSSH's form, by name.
    pub public_keys: BTreeMap<String, String>,
    /// User data.
    pub userdata: Option<UserData>,
    /// Network interfaces in order of their device number.
    pub nics: Vec<Nic>,
    /// Device numbers of its disks; 0 is the root disk. Empty for a container.
    pub disks: Vec<u8>,
    /// The account it belongs to.
    pub account: String,
    /// The availability zone it runs in; empty when there is none.
    pub zone: String,
    /// Whether metadata are told only to who shows a session token.
    pub token_required: bool,
}

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nic {
    /// The device number; `eth<device>` in a container.
    pub device: u32,
    /// The Ethernet address, as six hex pairs joined by colons; empty when it is not known.
    pub mac: String,
    /// The network's resource id.
    pub network: String,
    /// The subnet's resource id, if there is a subnet.
    pub subnet: Option<String>,
    /// In bytes; `None` leaves it to the guest.
    pub mtu: Option<u32>,
    /// Resolvers.
    pub dns: Vec<IpAddr>,
    /// The address; none on networks that this cloud does not manage.
    pub address: Option<Address>,
    /// The floating address that is bound to it.
    pub public_ip: Option<Ipv4Addr>,
    /// Whether the guest should ask for its address by DHCP rather than set what it is told here.
    pub dhcp: bool,
}

/// The address of a network interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The address.
    pub ip: Ipv4Addr,
    /// The subnet's range.
    pub cidr: Ipv4Net,
    /// The subnet's gateway.
    pub gateway: Ipv4Addr,
}

impl Instance {
    /// The primary interface: the first one.
    pub(crate) fn primary(&self) -> Option<&Nic> {
        self.nics.first()
    }

    /// EC2's name for the instance.
    pub(crate) fn instance_id(&self) -> String {
        format!("i-{}", self.id)
    }

    /// The first label of the host name.
    pub(crate) fn label(&self) -> String {
        self.host_label(self.primary())
    }

    /// The host name with its domain.
    pub(crate) fn local_hostname(&self) -> String {
        self.nic_hostname(self.primary())
    }

    /// The host name with its domain, as the network of `nic` knows it.
    pub(crate) fn nic_hostname(&self, nic: Option<&Nic>) -> String {
        qualified(&self.host_label(nic), &self.domain, LOCAL_DOMAIN)
    }

    /// The host name as the world outside may know it.
    pub(crate) fn public_hostname(&self, ip: Ipv4Addr) -> String {
        let label =
            if self.hostname.is_empty() { address_label(ip) } else { self.hostname.clone() };
        qualified(&label, &self.domain, PUBLIC_DOMAIN)
    }

    fn host_label(&self, nic: Option<&Nic>) -> String {
        let from_address = || {
            let address = nic.and_then(|nic| nic.address);
            // Without name and address nothing but the id tells instances apart.
            address.map_or_else(|| self.instance_id(), |address| address_label(address.ip))
        };
        if self.hostname.is_empty() { from_address() } else { self.hostname.clone() }
    }

    /// The kind of machine: the offering's name, else memory and processors.
    pub(crate) fn instance_type(&self) -> String {
        if let Some(offering) = &self.offering {
            return offering.clone();
        }
        let memory = self.memory_mb.unwrap_or(UNSET_MEMORY);
        let processors = self.vcpu.unwrap_or(1);
        if memory < 1024 {
            return format!("{memory}mb-{processors}cpu");
        }
        // At least one decimal: a whole GiB has always been `1.0gb`.
        let gib = gib(memory);
        format!("{gib:?}gb-{processors}cpu")
    }

    /// Names and keys; a key without a name gets one by its number.
    pub(crate) fn named_keys(&self) -> impl Iterator<Item = (String, &str)> {
        self.public_keys.iter().enumerate().map(|(number, (name, key))| {
            let name = if name.is_empty() { format!("sshkey{number}") } else { name.clone() };
            (name, key.as_str())
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "more than 2^53 MiB of memory is not to be had")]
fn gib(mib: u64) -> f64 {
    mib as f64 / 1024.0
}

fn qualified(label: &str, domain: &str, default: &str) -> String {
    let domain = if domain.is_empty() { default } else { domain };
    format!("{label}.{domain}")
}

fn address_label(ip: Ipv4Addr) -> String {
    let [a, b, c, d] = ip.octets();
    format!("ip-{a}-{b}-{c}-{d}")
}

#[cfg(test)]
pub(crate) mod tests;
