//! The kernel state of managed networks on one host.

use crate::desired::{Attach, HostNetwork};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What went wrong with the data plane.
#[derive(Debug, thiserror::Error)]
pub enum DataplaneError {
    /// The network has no namespace on this host.
    #[error("network {vni} has no namespace on this host")]
    NoNetwork {
        /// The network.
        vni: u32,
    },
}

/// What could not be removed.
#[derive(Debug, thiserror::Error)]
#[error("cannot remove {object}")]
pub struct CleanError {
    object: String,
    #[source]
    source: DataplaneError,
}

/// How a reconciliation went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Netlink messages, settings and nft transactions that changed something.
    pub changes: u64,
    /// What is not as it should be, by network; `None` is the host as a whole.
    pub errors: BTreeMap<Option<u32>, String>,
    /// Networks that are wholly in place.
    pub ready: BTreeSet<u32>,
}

/// Whether a datagram from a network gets through the root namespace's forwarding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forwarding {
    /// It does.
    Open,
    /// Somebody else's firewall drops it.
    Blocked,
    /// It does not even get there.
    NoRoute,
}

/// The kernel state of managed networks on one host.
#[derive(Debug)]
pub struct Dataplane {
    run_dir: PathBuf,
}

impl Dataplane {
    /// Opens the data plane of the network namespace that the calling thread is in. Network
    /// namespaces are kept in `<run_dir>/netns/<vni>`.
    pub fn open(run_dir: &Path) -> Result<Self, DataplaneError> {
        Ok(Self { run_dir: run_dir.into() })
    }

    /// Makes the host's network what `desired` says; removes networks that it does not name.
    pub async fn reconcile(&self, _desired: &HostNetwork) -> Outcome {
        Outcome::default()
    }

    /// Makes a veth whose port end is on the network's bridge; returns the name of the other end,
    /// which is in the root namespace with the endpoint's MAC and MTU.
    pub async fn attach_veth(&self, attach: &Attach) -> Result<String, DataplaneError> {
        Err(DataplaneError::NoNetwork { vni: attach.vni })
    }

    /// Moves the tap device `tap` from the root namespace onto the network's bridge.
    pub async fn attach_tap(&self, attach: &Attach, _tap: &str) -> Result<(), DataplaneError> {
        Err(DataplaneError::NoNetwork { vni: attach.vni })
    }

    /// Removes an endpoint's device. True when there was one.
    pub async fn detach(&self, vni: u32, _ip: std::net::Ipv4Addr) -> Result<bool, DataplaneError> {
        Err(DataplaneError::NoNetwork { vni })
    }

    /// Names of the endpoint devices on the network's bridge ([`crate::names::device_name`]).
    pub async fn attached(&self, vni: u32) -> Result<BTreeSet<String>, DataplaneError> {
        Err(DataplaneError::NoNetwork { vni })
    }

    /// Where the network's namespace is kept.
    #[must_use]
    pub fn namespace(&self, vni: u32) -> PathBuf {
        self.run_dir.join("netns").join(vni.to_string())
    }

    /// Removes everything of ours on this host; goes on after errors.
    pub async fn clean(&self) -> Vec<CleanError> {
        Vec::new()
    }

    /// Whether a datagram from the network would be forwarded to the outside.
    pub async fn probe_forwarding(&self, vni: u32) -> Result<Forwarding, DataplaneError> {
        Err(DataplaneError::NoNetwork { vni })
    }
}
