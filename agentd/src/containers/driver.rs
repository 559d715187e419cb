//! What a container engine must be able to do for us, and what it tells.
//!
//! A driver marks what it makes with our labels and shows of other people's things only what stands
//! on our networks. It decides nothing.

use super::interruptions::Ending;
use api::mac::Mac;
use api::report::ErrorKind;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

/// Label of our containers: the instance's uuid.
pub const INSTANCE_LABEL: &str = "stampede.instance";
/// Label of our containers: what they were made from, as a hash.
pub const SPECIFICATION_LABEL: &str = "stampede.specification";
/// Label of our Docker networks: the network's uuid.
pub const NETWORK_LABEL: &str = "stampede.network";
/// Label of our Docker networks: the VNI.
pub const VNI_LABEL: &str = "stampede.vni";
/// Label of our named volumes.
pub const VOLUME_LABEL: &str = "stampede.volume";

/// A container engine. All calls end within the driver's deadlines.
#[async_trait::async_trait]
pub trait Driver: Send + Sync + 'static {
    /// What there is.
    async fn observe(&self) -> Result<Observation, DriverError>;

    /// Makes the Docker network of a managed network.
    async fn create_network(&self, network: &DockerNetwork) -> Result<(), DriverError>;

    /// Removes a Docker network; fails while a container uses it.
    async fn remove_network(&self, id: &str) -> Result<(), DriverError>;

    /// Makes sure that an image is on this host. `progress` is told percents of a download.
    async fn ensure_image(
        &self,
        reference: &str,
        progress: &(dyn Fn(u8) + Send + Sync),
    ) -> Result<(), DriverError>;

    /// Makes a container, and its named volumes where they do not exist. Returns its id.
    async fn create(&self, creation: &super::creation::Creation) -> Result<String, DriverError>;

    /// When a container was last started and how it ended, by inspection.
    async fn inspect(&self, id: &str) -> Result<Option<RunInfo>, DriverError>;

    /// Starts a container.
    async fn start(&self, id: &str) -> Result<(), DriverError>;

    /// Asks a container to stop and makes it stop after `timeout` seconds, or after the time it was
    /// made with.
    async fn stop(&self, id: &str, timeout: Option<u32>) -> Result<(), DriverError>;

    /// Removes a container with its writable layer and anonymous volumes, running or not. One that
    /// is gone already is no error.
    async fn remove(&self, id: &str) -> Result<(), DriverError>;

    /// Removes a named volume; fails while a container uses it.
    async fn remove_volume(&self, name: &str) -> Result<(), DriverError>;

    /// Returns when something may have changed, or when the engine became reachable again. May
    /// return for nothing.
    async fn changed(&self);
}

/// What there is in a container engine that concerns us.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observation {
    /// Networks of our driver, by Docker's id.
    pub networks: BTreeMap<String, DockerNetwork>,
    /// The names of all other networks.
    pub foreign_networks: BTreeSet<String>,
    /// Our containers, by Docker's id.
    pub containers: BTreeMap<String, DockerContainer>,
    /// Other people's containers on our networks, by Docker's id.
    pub hand_run: BTreeMap<String, HandRun>,
    /// Our named volumes, each with whether a container uses it.
    pub volumes: BTreeMap<String, bool>,
}

/// The Docker network of a managed network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DockerNetwork {
    /// Its name: `managed` or `st-<uuid>`.
    pub name: String,
    /// The managed network's uuid; empty when somebody made it by hand.
    pub uuid: String,
    /// The managed network.
    pub vni: u32,
    /// The range.
    pub subnet: String,
    /// The gateway.
    pub gateway: String,
}

/// A container of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DockerContainer {
    /// The instance's uuid.
    pub uuid: String,
    /// What it was made from, as a hash.
    pub specification: String,
    /// Whether and how it runs.
    pub state: RunState,
    /// The networks it is on, running or not, by Docker's id.
    pub networks: BTreeSet<String>,
    /// Its endpoints on managed networks while it runs.
    pub endpoints: Vec<EndpointInfo>,
}

/// Somebody else's container on one of our networks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandRun {
    /// Its name, without the slash.
    pub name: String,
    /// Its image as given.
    pub image: String,
    /// Whether it runs.
    pub running: bool,
    /// The networks it is on, running or not, by Docker's id.
    pub networks: BTreeSet<String>,
    /// Its endpoints on managed networks while it runs.
    pub endpoints: Vec<EndpointInfo>,
}

/// An endpoint as Docker shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointInfo {
    /// Docker's id of the endpoint.
    pub id: String,
    /// Docker's id of the network.
    pub network: String,
    /// The address.
    pub ip: Ipv4Addr,
    /// The Ethernet address.
    pub mac: Mac,
}

/// Whether and how a container runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunState {
    /// Made and never started.
    Created,
    /// It runs, perhaps frozen by somebody.
    Running,
    /// It ran and does not now.
    Exited,
    /// It is being removed, or a removal has failed half-way.
    Removing,
}

/// When a container ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunInfo {
    /// When it was last started, in Docker's own words; only compared for equality.
    pub started_at: String,
    /// How it ended.
    pub exit: i32,
    /// Why it could not be started, in Docker's own words.
    pub error: String,
    /// Whether it ended of its own.
    pub ending: Ending,
}

/// A call to the container engine that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {object}")]
pub struct DriverError {
    /// What was tried.
    pub action: &'static str,
    /// On what.
    pub object: String,
    /// Whether trying again can help.
    pub kind: ErrorKind,
    /// Why it failed.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}
