//! What the DHCP server knows: a network's settings and its guests, cheap to copy and to change.

use crate::mac::Mac;
use ipnet::Ipv4Net;
use rpds::HashTrieMapSync;
use std::net::Ipv4Addr;
use std::sync::Arc;

/// What all guests of one network are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The any-cast gateway: router, server identifier and source of all answers.
    pub gateway: Ipv4Addr,
    /// The network's address range; guests take its prefix length.
    pub cidr: Ipv4Net,
    /// Resolvers, best first.
    pub dns: Vec<Ipv4Addr>,
    /// In bytes.
    pub mtu: u16,
    /// The DNS domain, without dots at the ends.
    pub domain: String,
    /// Ranges that are reached through the gateway even where a guest's default route leads
    /// elsewhere: the metadata address, the link range.
    pub routes: Vec<Ipv4Net>,
}

/// What one guest is told besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Its address.
    pub ip: Ipv4Addr,
    /// Its host name, a single label.
    pub hostname: String,
}

/// All that the server answers from.
///
/// A copy shares everything with its origin, and a change copies only the path to the entry, so a
/// new view per change is affordable with many guests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    settings: Arc<Settings>,
    leases: HashTrieMapSync<Mac, Lease>,
}

impl View {
    /// A network without guests.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings: Arc::new(settings), leases: HashTrieMapSync::new_sync() }
    }

    /// Gives all guests other settings from their next question on.
    pub fn set_settings(&mut self, settings: Settings) {
        self.settings = Arc::new(settings);
    }

    /// Adds the guest with Ethernet address `mac`, or changes what it is told.
    pub fn insert(&mut self, mac: Mac, lease: Lease) {
        self.leases.insert_mut(mac, lease);
    }

    /// Forgets a guest. True when it was known.
    pub fn remove(&mut self, mac: Mac) -> bool {
        self.leases.remove_mut(&mac)
    }

    /// What all guests are told.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What the guest with Ethernet address `mac` is told, if it is known.
    #[must_use]
    pub fn lease(&self, mac: Mac) -> Option<&Lease> {
        self.leases.get(&mac)
    }

    /// How many guests are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.leases.size()
    }

    /// Whether no guest is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.leases.is_empty()
    }
}
