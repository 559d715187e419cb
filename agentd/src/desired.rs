//! A snapshot with its items read: what this host should be.
//!
//! Reading never fails as a whole. An item that cannot be read, or whose kind is unknown, is kept
//! in the ledger, reported, and does not stop the others.

use api::hash::SetHash;
use api::item::{
    Container, Endpoint, Host, Machine, Meaning, Member, Network, Reserve, Retained, Want,
};
use api::report::{ErrorKind, ItemError};
use api::snapshot::Snapshot;
use std::collections::BTreeMap;

/// What this host should be.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Desired {
    /// The store and generation this was read from.
    pub generation: u64,
    /// The hash of that snapshot.
    pub hash: SetHash,
    /// Who this host is; none before the first snapshot.
    pub host: Option<Host>,
    /// Networks by VNI.
    pub networks: BTreeMap<u32, Network>,
    /// Other hosts' memberships.
    pub members: Vec<Member>,
    /// Endpoint mappings by (VNI, address); of two for one address the higher `seq` is kept.
    pub endpoints: BTreeMap<(u32, std::net::Ipv4Addr), Endpoint>,
    /// This host's reserves by VNI.
    pub reserves: BTreeMap<u32, Reserve>,
    /// Containers by uuid.
    pub containers: BTreeMap<String, Container>,
    /// Machines by uuid.
    pub machines: BTreeMap<String, Machine>,
    /// Retained instances by uuid.
    pub retained: BTreeMap<String, Retained>,
    /// Items that could not be read, by key.
    pub unread: BTreeMap<String, ItemError>,
}

impl Desired {
    /// Reads all items of a snapshot.
    #[must_use]
    pub fn read(snapshot: &Snapshot) -> Self {
        let mut desired =
            Self { generation: snapshot.generation, hash: snapshot.hash, ..Self::default() };
        for (key, item) in &snapshot.items {
            match Meaning::read(item) {
                Ok(meaning) => desired.put(key, meaning),
                Err(error) => {
                    let kind = ErrorKind::Unsupported;
                    desired.unread.insert(key.clone(), ItemError { kind, message: chain(&error) });
                }
            }
        }
        desired
    }

    /// The same for a host that was taken out of its cloud: nothing runs, nothing is attached,
    /// disks and stopped containers stay.
    #[must_use]
    pub fn fenced(mut self) -> Self {
        // Also where the snapshot does not say so yet: nothing new is to be made here.
        if let Some(host) = &mut self.host {
            host.fenced = true;
        }
        self.networks.clear();
        self.members.clear();
        self.endpoints.clear();
        self.reserves.clear();
        self.containers.values_mut().for_each(|container| container.guest.want = Want::Stopped);
        self.machines.values_mut().for_each(|machine| machine.guest.want = Want::Stopped);
        self
    }

    fn put(&mut self, key: &str, meaning: Meaning) {
        match meaning {
            Meaning::Host(host) => self.host = Some(host),
            Meaning::Network(network) => {
                self.networks.insert(network.vni, network);
            }
            Meaning::Member(member) => self.members.push(member),
            Meaning::Endpoint(endpoint) => {
                let slot = (endpoint.vni, endpoint.ip);
                if self.endpoints.get(&slot).is_none_or(|held| held.seq < endpoint.seq) {
                    self.endpoints.insert(slot, endpoint);
                }
            }
            Meaning::Reserve(reserve) => {
                self.reserves.insert(reserve.vni, reserve);
            }
            Meaning::Container(container) => {
                self.containers.insert(container.guest.uuid.clone(), *container);
            }
            Meaning::Machine(machine) => {
                self.machines.insert(machine.guest.uuid.clone(), *machine);
            }
            Meaning::Retained(retained) => {
                self.retained.insert(retained.uuid.clone(), retained);
            }
            Meaning::Unknown => {
                let message = format!("kind of item {key} is not known to this version of agentd");
                let kind = ErrorKind::Unsupported;
                self.unread.insert(key.into(), ItemError { kind, message });
            }
        }
    }
}

/// An error and all its sources on one line, for reports and logs.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::networks::fixture::desired;

    #[test]
    fn a_fenced_host_knows_it_and_runs_nothing() {
        let fenced = desired().fenced();
        assert!(fenced.host.unwrap().fenced, "also where only the refusal told");
        assert!(fenced.networks.is_empty() && fenced.endpoints.is_empty());
        assert!(fenced.containers.values().all(|it| it.guest.want == Want::Stopped));
    }
}
