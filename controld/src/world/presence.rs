//! Who has addresses where: the pools that allocation chooses from, and the hosts of each network.

use crate::model::Address;
use api::mac::Mac;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::Ipv4Addr;

/// The addresses of one network that are not free.
#[derive(Default)]
pub struct Pool {
    /// By address.
    pub ips: BTreeMap<Ipv4Addr, i64>,
    /// Ethernet addresses in use.
    pub macs: HashMap<Mac, i64>,
    /// The address taken last; the search for the next begins behind it.
    pub last: Option<Ipv4Addr>,
    /// The number of the row that took it.
    pub newest: i64,
}

/// A host's addresses in one network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Those of guests.
    pub guests: usize,
    /// Those granted and not taken.
    pub granted: usize,
}

/// Addresses by network and by host.
#[derive(Default)]
pub struct Presence {
    pools: HashMap<i64, Pool>,
    hosts: HashMap<i64, BTreeMap<i64, Count>>,
    granted: BTreeMap<(i64, i64), BTreeSet<i64>>,
}

impl Presence {
    pub(super) fn index(&mut self, id: i64, address: &Address, add: bool) {
        let pool = self.pools.entry(address.network).or_default();
        if add {
            pool.ips.insert(address.ip, id);
            pool.macs.insert(address.mac, id);
            // A change of an older one is no taking.
            if pool.newest <= id {
                pool.newest = id;
                pool.last = Some(address.ip);
            }
        } else if pool.ips.get(&address.ip) == Some(&id) {
            pool.ips.remove(&address.ip);
            pool.macs.remove(&address.mac);
        }
        if let Some(host) = address.granted {
            let ids = self.granted.entry((host, address.network)).or_default();
            if add {
                ids.insert(id)
            } else {
                ids.remove(&id)
            };
            if ids.is_empty() {
                self.granted.remove(&(host, address.network));
            }
        }
        if let Some(host) = address.host {
            self.count(address, host, add);
        }
    }

    fn count(&mut self, address: &Address, host: i64, add: bool) {
        let hosts = self.hosts.entry(address.network).or_default();
        let count = hosts.entry(host).or_default();
        let field = if address.nic.is_some() { &mut count.guests } else { &mut count.granted };
        if add {
            *field += 1
        } else {
            *field = field.saturating_sub(1)
        }
        if *count == Count::default() {
            hosts.remove(&host);
        }
    }

    /// The addresses of a network that are not free; none if all are.
    #[must_use]
    pub fn pool(&self, network: i64) -> Option<&Pool> {
        self.pools.get(&network)
    }

    /// A host's addresses in a network.
    #[must_use]
    pub fn of(&self, network: i64, host: i64) -> Count {
        self.hosts.get(&network).and_then(|hosts| hosts.get(&host)).copied().unwrap_or_default()
    }

    /// Hosts with addresses in a network.
    pub fn hosts(&self, network: i64) -> impl Iterator<Item = i64> {
        self.hosts.get(&network).into_iter().flat_map(|hosts| hosts.keys().copied())
    }

    /// Networks a host was granted addresses of.
    pub fn networks_granted(&self, host: i64) -> impl Iterator<Item = i64> {
        self.granted.range((host, i64::MIN)..=(host, i64::MAX)).map(|((_, network), _)| *network)
    }

    /// Addresses granted to a host in a network, free or taken.
    pub fn granted(&self, host: i64, network: i64) -> impl Iterator<Item = i64> {
        self.granted.get(&(host, network)).into_iter().flatten().copied()
    }
}
