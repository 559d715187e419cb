//! What the DNS server knows: a network's domains and hosts, cheap to copy and to change.

use hickory_proto::ProtoError;
use hickory_proto::rr::Name;
use ipnet::Ipv4Net;
use rpds::HashTrieMapSync;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// What a network is called and whom to ask for the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    /// Domains whose names are answered here and nowhere else, without dots at the ends. The
    /// first is the one that addresses are turned into names with; the others are aliases.
    pub domains: Vec<String>,
    /// The network's address range: its addresses are turned into names here only.
    pub cidr: Ipv4Net,
    /// Resolvers for everything else, best first.
    pub upstreams: Vec<SocketAddr>,
}

/// A text that cannot be a domain.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {domain:?} as a network's DNS domain")]
pub struct DomainError {
    domain: String,
    #[source]
    source: ProtoError,
}

/// All that the server answers from.
///
/// A copy shares everything with its origin, and a change copies only the paths to the entries, so
/// a new view per change is affordable with many hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    domains: Arc<[Name]>,
    cidr: Ipv4Net,
    upstreams: Arc<[SocketAddr]>,
    /// The labels of each address, the canonical one first.
    hosts: HashTrieMapSync<Ipv4Addr, Arc<[Arc<str>]>>,
    /// The addresses of each label.
    labels: HashTrieMapSync<Arc<str>, Arc<[Ipv4Addr]>>,
}

impl View {
    /// A network without hosts.
    ///
    /// # Errors
    /// When a domain is no domain name.
    pub fn new(zone: &Zone) -> Result<Self, DomainError> {
        Ok(Self {
            domains: domains(zone)?,
            cidr: zone.cidr,
            upstreams: zone.upstreams.as_slice().into(),
            hosts: HashTrieMapSync::new_sync(),
            labels: HashTrieMapSync::new_sync(),
        })
    }

    /// Changes domains, range and resolvers and keeps the hosts.
    ///
    /// # Errors
    /// When a domain is no domain name; then nothing has changed.
    pub fn set_zone(&mut self, zone: &Zone) -> Result<(), DomainError> {
        self.domains = domains(zone)?;
        self.cidr = zone.cidr;
        self.upstreams = zone.upstreams.as_slice().into();
        Ok(())
    }

    /// Adds the host at `ip` or changes its names. `names` are single labels, the canonical one
    /// first; without any, the host is known by its `ip-a-b-c-d` name only.
    pub fn insert<T: AsRef<str>>(&mut self, ip: Ipv4Addr, names: &[T]) {
        let names: Arc<[Arc<str>]> =
            names.iter().map(|name| name.as_ref().to_ascii_lowercase().into()).collect();
        if self.hosts.get(&ip) == Some(&names) {
            return;
        }
        self.remove(ip);
        for name in names.iter() {
            let mut addresses = self.addresses(name).to_vec();
            // In order, so that views of equal content are equal however they came about.
            if let Err(place) = addresses.binary_search(&ip) {
                addresses.insert(place, ip);
                self.labels.insert_mut(name.clone(), addresses.into());
            }
        }
        self.hosts.insert_mut(ip, names);
    }

    /// Forgets a host and its names. True when it was known.
    pub fn remove(&mut self, ip: Ipv4Addr) -> bool {
        let names = self.hosts.get(&ip).cloned();
        for name in names.iter().flat_map(|names| names.iter()) {
            let rest: Vec<_> =
                self.addresses(name).iter().copied().filter(|it| *it != ip).collect();
            if rest.is_empty() {
                self.labels.remove_mut(name);
            } else {
                self.labels.insert_mut(name.clone(), rest.into());
            }
        }
        self.hosts.remove_mut(&ip)
    }

    /// How many hosts are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.hosts.size()
    }

    /// Whether no host is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty()
    }

    /// Whom to ask for what is not answered here.
    #[must_use]
    pub fn upstreams(&self) -> &Arc<[SocketAddr]> {
        &self.upstreams
    }

    pub(super) fn domains(&self) -> &[Name] {
        &self.domains
    }

    pub(super) fn cidr(&self) -> Ipv4Net {
        self.cidr
    }

    /// The addresses of a lower-case label, without the `ip-a-b-c-d` names.
    pub(super) fn addresses(&self, label: &str) -> &[Ipv4Addr] {
        self.labels.get(label).map_or(&[], |addresses| addresses)
    }

    pub(super) fn knows(&self, ip: Ipv4Addr) -> bool {
        self.hosts.contains_key(&ip)
    }

    /// The label of a known address; `None` for an unknown one.
    pub(super) fn label(&self, ip: Ipv4Addr) -> Option<String> {
        let names = self.hosts.get(&ip)?;
        Some(names.first().map_or_else(|| address_label(ip), ToString::to_string))
    }
}

fn domains(zone: &Zone) -> Result<Arc<[Name]>, DomainError> {
    let read = |domain: &String| {
        let failed = |source| DomainError { domain: domain.clone(), source };
        let mut name = Name::from_ascii(domain).map_err(failed)?.to_lowercase();
        name.set_fqdn(true);
        Ok(name)
    };
    zone.domains.iter().map(read).collect()
}

/// The name every address has: `ip-10-42-0-5`.
fn address_label(ip: Ipv4Addr) -> String {
    let [a, b, c, d] = ip.octets();
    format!("ip-{a}-{b}-{c}-{d}")
}

/// The address that an `ip-a-b-c-d` label stands for.
pub(super) fn labelled_address(label: &str) -> Option<Ipv4Addr> {
    let ip: Ipv4Addr = label.strip_prefix("ip-")?.replace('-', ".").parse().ok()?;
    // `ip-10.42-0-5` would read as an address too.
    (address_label(ip) == label).then_some(ip)
}
