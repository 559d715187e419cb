//! Instances: containers and virtual machines, as they are wanted.

use super::Millis;
use api::item::{DiskImage, Presentation, Restart};
use api::secret::Secret;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What an instance is wanted to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Want {
    /// Made, not running.
    Stopped,
    /// Running in the given epoch.
    Running,
    /// Gone, its storage and addresses kept.
    Removed,
    /// Gone for good.
    Purged,
}

/// The request that led to the present want; gives a transition its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Via {
    /// It was created.
    Create,
    /// It was started.
    Start,
    /// It was stopped, or ended by itself.
    Stop,
    /// It was restarted.
    Restart,
    /// It was removed.
    Remove,
    /// It was restored.
    Restore,
    /// It was purged.
    Purge,
}

/// Why an instance did not become what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// Stable code.
    pub code: String,
    /// For people.
    pub message: String,
    /// The generation it was given at.
    #[serde(rename = "gen")]
    pub generation: u64,
}

/// A container or a virtual machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Instance {
    /// What it is wanted to be.
    pub want: Want,
    /// The request behind that.
    pub via: Via,
    /// Counts starts: +1 at each start and restart.
    pub run_epoch: u64,
    /// Why it failed, if it did.
    pub verdict: Option<Verdict>,
    /// The generation of the last change of want, epoch or host.
    pub since: u64,
    /// Where it lives; none until it is placed.
    pub host: Option<i64>,
    /// The only host the user accepts.
    pub requested_host: Option<i64>,
    /// Its uuid on hosts: its own, or another one when two accounts chose the same.
    pub guest_uuid: String,
    /// Seconds between asking the guest to stop and making it stop.
    pub stop_timeout: u32,
    /// The image as the user named it.
    pub image_uuid: String,
    /// Host name as the user gave it.
    pub hostname: Option<String>,
    /// Memory in MiB.
    pub memory_mb: Option<u64>,
    /// Number of processors.
    pub vcpu: Option<u32>,
    /// User data as the user gave it.
    pub userdata: Option<Secret>,
    /// Public keys the guest accepts by name, as they were when it was made.
    #[serde(default)]
    pub public_keys: BTreeMap<String, String>,
    /// What happens when it ends by itself.
    #[serde(default)]
    pub restart: Restart,
    /// `stop`, `remove` or `restart`: the older word for the same, as the user gave it.
    pub triggered_stop: Option<String>,
    /// Its interfaces, by device number.
    #[serde(default)]
    pub nics: Vec<i64>,
    /// When it is purged by itself after a removal.
    pub purge_at: Option<Millis>,
    /// When waiting for a host ends.
    pub place_by: Option<Millis>,
    /// Started by hand on a host, adopted from its report: shown, never commanded.
    #[serde(default)]
    pub external: bool,
    /// What its type has of its own.
    pub guest: Guest,
}

/// What containers and machines have of their own.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Guest {
    /// A container.
    Container(ContainerFields),
    /// A virtual machine.
    Machine(MachineFields),
}

/// What only containers have.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerFields {
    /// The image's reference for Docker.
    pub reference: String,
    /// The command as the user gave it.
    pub command: Option<String>,
    /// Its arguments.
    pub command_args: Vec<String>,
    /// Entry point; empty means the image's.
    pub entry_point: Vec<String>,
    /// Environment. May hold secrets.
    pub environment: BTreeMap<String, Secret>,
    /// Working directory.
    pub directory: Option<String>,
    /// User.
    pub user: Option<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Volumes.
    pub volumes: Vec<String>,
    /// All of the host's powers.
    pub privileged: bool,
    /// Docker's CPU shares.
    pub cpu_shares: Option<u64>,
    /// More search domains.
    pub dns_search: Vec<String>,
}

/// What only machines have.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MachineFields {
    /// The image's row.
    pub image: i64,
    /// Where the image was when the machine was made.
    pub disk: DiskImage,
    /// How it finds its metadata.
    #[serde(default)]
    pub presentation: Presentation,
}

impl Instance {
    /// The capability a host needs to run it.
    #[must_use]
    pub fn capability(&self) -> &'static str {
        match self.guest {
            Guest::Container(_) => "docker",
            Guest::Machine(_) => "libvirt",
        }
    }

    /// Whether its host should have it at all, with its endpoints.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        matches!(self.want, Want::Running | Want::Stopped)
    }
}
