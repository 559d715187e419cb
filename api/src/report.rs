//! What a host tells back: `PUT /v1/agent/{host}/observed`.
//!
//! A report is the whole truth about one host at one moment. Reports may be lost, doubled or late:
//! `boot` and `seq` order them, and a later one replaces an earlier one entirely.

use crate::hash::SetHash;
use crate::mac::Mac;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

/// Everything a host observed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The id of this run of agentd.
    pub boot: String,
    /// Counts reports within a run.
    pub seq: u64,
    /// The generation of the snapshot in force.
    #[serde(rename = "appliedGen")]
    pub applied_generation: u64,
    /// Its hash.
    pub applied_hash: SetHash,
    /// The host itself.
    pub facts: Facts,
    /// Every instance of ours by uuid, wanted or not.
    pub instances: BTreeMap<String, Instance>,
    /// Hand-run containers on managed networks.
    #[serde(default)]
    pub adopted: Vec<Adopted>,
    /// Items that could not be made true, by key.
    #[serde(default)]
    pub errors: BTreeMap<String, ItemError>,
}

/// What a host is and can do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Facts {
    /// The host's name.
    pub hostname: String,
    /// agentd's version.
    pub version: String,
    /// Addresses other hosts may reach this one at, the best first.
    pub addresses: Vec<IpAddr>,
    /// Number of processors.
    pub cpus: u32,
    /// Memory in MiB.
    pub memory_mb: u64,
    /// Memory not promised to anybody, in MiB.
    pub memory_free_mb: u64,
    /// What was probed at start by name: `docker`, `libvirt`, `kvm`, `vxlan`, `nft`, `esp`.
    pub capabilities: BTreeMap<String, Capability>,
    /// What is wrong by name, for instance `forward-blocked`, with its remedy.
    #[serde(default)]
    pub conditions: BTreeMap<String, String>,
    /// Whether this host's drivers are simulated.
    #[serde(default)]
    pub simulated: bool,
}

/// The outcome of a probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capability {
    /// Whether it works.
    pub ok: bool,
    /// A version, or why it does not work.
    pub detail: String,
}

/// How far an instance is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// Neither running nor stored here.
    #[default]
    Absent,
    /// On its way: image, disks, drive, network.
    Preparing,
    /// Running.
    Running,
    /// Made, and not running: never started, stopped or ended by itself.
    Exited,
    /// The epoch could not be started.
    Failed,
    /// Only its storage is kept.
    Retained,
}

/// An instance as observed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Instance {
    /// The epoch the phase belongs to; 0 when it was never started.
    pub epoch: u64,
    /// How far it is.
    pub phase: Phase,
    /// The kind of the failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorKind>,
    /// The exit status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<i32>,
    /// It ended by itself, and its restart policy does not start it again.
    #[serde(default, skip_serializing_if = "is_false")]
    pub over: bool,
    /// What to tell the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Percent of the preparation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<u8>,
}

// The signature is serde's.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// A container that somebody attached to a managed network by hand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Adopted {
    /// Docker's id.
    pub docker_id: String,
    /// Docker's name, without the slash.
    pub name: String,
    /// The image as given to Docker.
    pub image: String,
    /// The network.
    pub vni: u32,
    /// The address, from the host's reserve.
    pub ip: Ipv4Addr,
    /// Its Ethernet address.
    pub mac: Mac,
    /// Whether it runs.
    pub running: bool,
}

/// Why an item could not be made true.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ItemError {
    /// Decides whether it is tried again.
    pub kind: ErrorKind,
    /// Action, object and cause.
    pub message: String,
}

/// Kinds of failure; all but the first are tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorKind {
    /// Cannot ever work as given.
    Invalid,
    /// This host cannot do it.
    MissingCapability,
    /// Somebody else's object is in the way.
    ConflictWithForeign,
    /// May work next time.
    Transient,
    /// A bug, or a host that is broken.
    Internal,
    /// A kind or field this version does not know.
    Unsupported,
}
