//! From a container of the snapshot to what the engine is asked to make. Pure.
//!
//! Refuses what this host does not allow, whoever asks: an operator's host is not given away
//! through controld.

use super::driver::{INSTANCE_LABEL, SPECIFICATION_LABEL};
use super::volumes::{self, Volume, VolumeError};
use crate::desired::Desired;
use api::item::{Attachment, Container};
use api::mac::Mac;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

/// The entry of `allow` for containers with all of the host's powers.
pub const ALLOW_PRIVILEGED: &str = "privileged";

/// Everything the engine needs to make a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Creation {
    /// The instance's uuid.
    pub uuid: String,
    /// The engine's name for it; no user-visible name, for Docker's resolver answers by it.
    pub name: String,
    /// The image.
    pub reference: String,
    /// Command and arguments; empty means the image's.
    pub command: Vec<String>,
    /// Entry point; empty means the image's.
    pub entry_point: Vec<String>,
    /// `KEY=value`; may hold secrets.
    pub environment: Vec<api::secret::Secret>,
    /// Working directory.
    pub directory: Option<String>,
    /// User.
    pub user: Option<String>,
    /// Labels, ours among them.
    pub labels: BTreeMap<String, String>,
    /// Volumes.
    pub volumes: Vec<Volume>,
    /// All of the host's powers.
    pub privileged: bool,
    /// Limit in bytes.
    pub memory: Option<i64>,
    /// Limit in billionths of a processor.
    pub nano_cpus: Option<i64>,
    /// Weight.
    pub cpu_shares: Option<i64>,
    /// Host name, a single label.
    pub hostname: String,
    /// The host name's domain.
    pub domain: String,
    /// Resolvers.
    pub dns: Vec<IpAddr>,
    /// Search domains.
    pub dns_search: Vec<String>,
    /// Seconds between asking it to stop and making it stop.
    pub stop_timeout: i64,
    /// Where it is attached.
    pub network: Attached,
}

/// Where a container is attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attached {
    /// To nothing.
    Nowhere,
    /// To Docker's default bridge.
    DefaultBridge,
    /// To managed networks, the first one first.
    Managed(Vec<Pin>),
}

/// An address that the engine must give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// The Docker network's name.
    pub network: String,
    /// The address.
    pub ip: Ipv4Addr,
    /// Its Ethernet address.
    pub mac: Mac,
}

/// Why a container cannot be made as given; trying again does not help.
#[derive(Debug, thiserror::Error)]
pub enum CreationError {
    /// The host's operator did not allow it.
    #[error(
        "cannot make a privileged container: this host does not allow it; its operator can, with \
         allow = [\"{ALLOW_PRIVILEGED}\"] in agentd's configuration"
    )]
    PrivilegedNotAllowed,
    /// A volume is not right.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// The label would pass for ours.
    #[error("cannot set label {0}: labels that begin with \"stampede.\" are agentd's own")]
    OurLabel(String),
    /// An environment variable's name cannot be passed on.
    #[error("cannot set environment variable {0:?}: a name is not empty and holds no \"=\"")]
    VariableName(String),
    /// The network is not in the snapshot.
    #[error("cannot attach a container to network {0}: this host is not a member of it")]
    UnknownNetwork(u32),
    /// Two attachments that Docker cannot combine.
    #[error("cannot attach a container to managed networks and to Docker's own bridge at once")]
    MixedNetworks,
}

impl CreationError {
    /// Whether it is the host's operator who refuses.
    #[must_use]
    pub fn is_not_allowed(&self) -> bool {
        matches!(self, Self::PrivilegedNotAllowed | Self::Volume(VolumeError::NotAllowed(_)))
    }
}

impl Creation {
    /// What to ask the engine for.
    ///
    /// # Errors
    /// When the container cannot be made as given, or not on this host.
    pub fn of(
        container: &Container,
        desired: &Desired,
        allow: &BTreeSet<String>,
    ) -> Result<Self, CreationError> {
        if container.privileged && !allow.contains(ALLOW_PRIVILEGED) {
            return Err(CreationError::PrivilegedNotAllowed);
        }
        let guest = &container.guest;
        let network = attached(container, desired)?;
        let domain = domain(container, desired);
        let mut labels = container.labels.clone();
        if let Some(ours) = labels.keys().find(|label| label.starts_with("stampede.")) {
            return Err(CreationError::OurLabel(ours.clone()));
        }
        labels.insert(INSTANCE_LABEL.into(), guest.uuid.clone());
        labels.insert(SPECIFICATION_LABEL.into(), specification(container));
        let mut dns_search = vec![domain.clone()];
        dns_search.extend(container.dns_search.iter().cloned());
        let managed = matches!(network, Attached::Managed(_));
        Ok(Self {
            uuid: guest.uuid.clone(),
            name: container_name(&guest.uuid),
            reference: container.reference.clone(),
            command: container.command.clone(),
            entry_point: container.entry_point.clone(),
            environment: environment(container)?,
            directory: container.directory.clone(),
            user: container.user.clone(),
            labels,
            volumes: volumes::read_all(&container.volumes, allow)?,
            privileged: container.privileged,
            memory: guest.memory_mb.map(|mib| saturate(mib.saturating_mul(1 << 20))),
            nano_cpus: guest.vcpu.map(|count| i64::from(count) * 1_000_000_000),
            cpu_shares: container.cpu_shares.map(saturate),
            hostname: guest.hostname.clone(),
            domain,
            dns: if managed { gateways(container, desired) } else { Vec::new() },
            dns_search: if managed { dns_search } else { container.dns_search.clone() },
            stop_timeout: i64::from(guest.stop_timeout),
            network,
        })
    }
}

/// The engine's name for an instance.
#[must_use]
pub fn container_name(uuid: &str) -> String {
    format!("stampede-{uuid}")
}

fn saturate(value: u64) -> i64 {
    value.try_into().unwrap_or(i64::MAX)
}

fn environment(container: &Container) -> Result<Vec<api::secret::Secret>, CreationError> {
    let mut environment = Vec::with_capacity(container.environment.len());
    for (name, value) in &container.environment {
        if name.is_empty() || name.contains('=') {
            return Err(CreationError::VariableName(name.clone()));
        }
        environment.push(api::secret::Secret::new(format!("{name}={}", value.expose())));
    }
    Ok(environment)
}

fn attached(container: &Container, desired: &Desired) -> Result<Attached, CreationError> {
    let mut nics: Vec<_> = container.guest.nics.iter().collect();
    nics.sort_by_key(|nic| nic.device);
    let mut pins = Vec::new();
    let mut unmanaged = false;
    for nic in nics {
        match nic.attachment {
            Attachment::Managed { vni, ip, mac } => {
                let network =
                    desired.networks.get(&vni).ok_or(CreationError::UnknownNetwork(vni))?;
                pins.push(Pin { network: network.docker.clone(), ip, mac });
            }
            Attachment::Unmanaged { .. } => unmanaged = true,
        }
    }
    match (pins.is_empty(), unmanaged) {
        (true, true) => Ok(Attached::DefaultBridge),
        (true, false) => Ok(Attached::Nowhere),
        (false, false) => Ok(Attached::Managed(pins)),
        (false, true) => Err(CreationError::MixedNetworks),
    }
}

fn gateways(container: &Container, desired: &Desired) -> Vec<IpAddr> {
    let networks = container.guest.nics.iter().filter_map(|nic| match nic.attachment {
        Attachment::Managed { vni, .. } => desired.networks.get(&vni),
        Attachment::Unmanaged { .. } => None,
    });
    networks.map(|network| IpAddr::V4(network.gateway)).collect()
}

fn domain(container: &Container, desired: &Desired) -> String {
    if !container.guest.domain.is_empty() {
        return container.guest.domain.clone();
    }
    let networks = container.guest.nics.iter().filter_map(|nic| match nic.attachment {
        Attachment::Managed { vni, .. } => desired.networks.get(&vni),
        Attachment::Unmanaged { .. } => None,
    });
    networks.map(|network| network.domain.clone()).next().unwrap_or_default()
}

/// A hash of everything a container is made from. What can change while it exists (whether it is
/// to run, its epoch, its name, its keys) is left out.
#[must_use]
pub fn specification(container: &Container) -> String {
    let mut fixed = container.clone();
    let guest = &mut fixed.guest;
    guest.want = api::item::Want::Stopped;
    guest.epoch = 0;
    guest.name = None;
    guest.restart = api::item::Restart::Stop;
    guest.stop_timeout = 0;
    guest.public_keys.clear();
    guest.userdata = None;
    // Serialising a plain struct into memory cannot fail; should it, every container would only
    // look alike to one another.
    let text = serde_json::to_vec(&fixed).unwrap_or_default();
    let mut hash = blake3::hash(&text).to_hex().to_string();
    hash.truncate(32);
    hash
}

#[cfg(test)]
mod tests;
