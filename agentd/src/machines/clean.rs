//! Taking machines off a host, without a running agent: domains of ours, their devices, and the
//! storage folder with disks and images. Goes on after failures and returns all of them.

use super::driver::{Driver, DriverError};
use super::libvirt::Libvirt;
use super::ports::{PortError, Ports};
use super::store::Store;
use crate::config::Config;
use crate::durable::{self, DurableError};
use crate::reconcile::Wake;
use std::io::ErrorKind;

/// Something of ours that stayed.
#[derive(Debug, thiserror::Error)]
pub enum CleanError {
    /// A domain, or libvirt did not answer.
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// A device.
    #[error(transparent)]
    Port(#[from] PortError),
    /// Files.
    #[error(transparent)]
    Files(#[from] DurableError),
}

/// Removes all domains, taps, disks and images of ours. Must come before the data plane is cleaned.
pub async fn clean(config: &Config, ports: &dyn Ports) -> Vec<CleanError> {
    let mut failures = Vec::new();
    let storage = config.storage();
    let stored = match Store::new(&storage).list() {
        Ok(stored) => stored,
        Err(error) => return vec![error.into()],
    };
    // Every machine has a folder: without one nothing needs to be asked of libvirt.
    if !stored.is_empty() {
        failures.extend(destroy_all(config).await);
    }
    let records = stored.into_values().flatten().map(|stored| stored.record);
    for port in records.flat_map(|record| record.ports) {
        failures.extend(ports.close(port).await.err().map(CleanError::from));
    }
    // With a domain still there its disk must stay.
    if failures.is_empty() {
        for folder in ["machines", "images"] {
            let path = storage.join(folder);
            match std::fs::remove_dir_all(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    failures.push(durable::failed("remove", &path)(error).into());
                }
                _ => {}
            }
        }
    }
    failures
}

async fn destroy_all(config: &Config) -> Vec<CleanError> {
    let libvirt = Libvirt::new(&config.libvirt, &config.storage(), Wake::default());
    let seen = match libvirt.observe().await {
        Ok(seen) => seen,
        Err(error) => return vec![error.into()],
    };
    let mut failures = Vec::new();
    for uuid in seen.domains.keys() {
        failures.extend(libvirt.destroy(uuid).await.err().map(CleanError::from));
    }
    failures
}
