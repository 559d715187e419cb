//! Taking containers, networks, volumes and the plugin off a host, without a running agent.
//!
//! Goes on after failures and returns all of them. Docker takes endpoints away by calling its
//! driver, so the driver answers here as well, from the journal. Must come before the data plane is
//! cleaned.

use super::attach::Attacher;
use super::book::Book;
use super::docker::DockerDriver;
use super::driver::{Driver, DriverError};
use super::network_driver::NetworkDriver;
use super::open::journal_path;
use super::plugin::{Plugin, PluginError, socket_path};
use crate::config::Config;
use crate::desired::Desired;
use crate::durable::DurableError;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::watch;

/// Something of ours that stayed.
#[derive(Debug, thiserror::Error)]
pub enum CleanError {
    /// The driver's journal cannot be read.
    #[error("cannot read which containers have which ports")]
    Journal(#[from] DurableError),
    /// Docker cannot be given the driver that it needs to let go of networks.
    #[error("cannot answer Docker while it removes networks")]
    Plugin(#[from] PluginError),
    /// A call to Docker failed.
    #[error(transparent)]
    Docker(#[from] DriverError),
    /// Somebody's containers are on one of our networks.
    #[error(
        "cannot remove Docker network {network}: containers that were started by hand are on it: \
         {}; remove them, or take them off with `docker network disconnect {network} CONTAINER`",
        by.join(", ")
    )]
    InUse {
        /// The network's name.
        network: String,
        /// The containers' names.
        by: Vec<String>,
    },
    /// A file cannot be removed.
    #[error("cannot remove {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// Removes all containers, Docker networks and volumes of ours, and the plugin's socket.
pub async fn clean(config: &Config, attacher: Arc<dyn Attacher>) -> Vec<CleanError> {
    let mut failures = Vec::new();
    // Nothing listens at Docker's socket: then there is nothing of ours in it that we could reach.
    if config.docker.exists() {
        match answer(config, attacher) {
            Ok(plugin) => {
                failures.extend(empty(&DockerDriver::new(&config.docker)).await);
                drop(plugin);
            }
            Err(error) => failures.push(error),
        }
    }
    // With somebody's container on our network Docker still needs the driver to let go of it.
    if failures.is_empty() {
        failures.extend(remove_file(socket_path(&config.docker_plugins)));
        failures.extend(remove_file(journal_path(&config.data)));
    }
    failures
}

fn answer(config: &Config, attacher: Arc<dyn Attacher>) -> Result<Plugin, CleanError> {
    let book = Book::open(&journal_path(&config.data))?;
    let (_, desired) = watch::channel(Arc::new(Desired::default()));
    Ok(Plugin::open(&config.docker_plugins, NetworkDriver::new(desired, book, attacher))?)
}

async fn empty(driver: &DockerDriver) -> Vec<CleanError> {
    let mut failures = Vec::new();
    let seen = match driver.observe().await {
        Ok(seen) => seen,
        Err(error) => return vec![error.into()],
    };
    for id in seen.containers.keys() {
        failures.extend(driver.remove(id).await.err().map(CleanError::from));
    }
    for (id, network) in seen.networks.iter().filter(|(_, network)| !network.uuid.is_empty()) {
        let on = seen.hand_run.values().filter(|container| container.networks.contains(id));
        let by: Vec<String> = on.map(|container| container.name.clone()).collect();
        failures.extend(match by.is_empty() {
            true => driver.remove_network(id).await.err().map(CleanError::from),
            false => Some(CleanError::InUse { network: network.name.clone(), by }),
        });
    }
    for name in seen.volumes.keys() {
        failures.extend(driver.remove_volume(name).await.err().map(CleanError::from));
    }
    failures
}

fn remove_file(path: PathBuf) -> Option<CleanError> {
    match std::fs::remove_file(&path) {
        Err(source) if source.kind() != ErrorKind::NotFound => {
            Some(CleanError::File { path, source })
        }
        _ => None,
    }
}
