//! Setting the machines' reconciler up, real or simulated.

use super::driver::Driver;
use super::images::{Allowed, Images};
use super::libvirt::Libvirt;
use super::ports::{Ports, SimulatedPorts};
use super::reconciler::Machines;
use super::simulated::Simulated;
use super::store::{Store, passable};
use super::work::Tools;
use crate::config::Config;
use crate::durable::{self, DurableError};
use crate::reconcile::Wake;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

/// What an operator puts into `allow` to let `file:` images in.
pub const FILE_IMAGES: &str = "file-images";

impl Machines {
    /// The reconciler of a real host. `wake` wakes its loop.
    ///
    /// # Errors
    /// When the storage folder cannot be made.
    pub fn open(config: &Config, ports: Arc<dyn Ports>, wake: Wake) -> Result<Self, DurableError> {
        let storage = config.storage();
        passable(&storage)?;
        let_through(&config.data)?;
        let driver: Arc<dyn Driver> =
            Arc::new(Libvirt::new(&config.libvirt, &storage, wake.clone()));
        let files_allowed = config.allow.contains(FILE_IMAGES);
        let allowed = Allowed::new(config.fetch.allow.clone());
        let images = Images::new(&storage.join("images"), files_allowed, allowed);
        let store = Store::new(&storage);
        let virt_type = config.virt_type;
        let tools = Tools { driver, ports, images: Some(images), store, storage, virt_type };
        Ok(Self::new(tools, wake))
    }

    /// The reconciler of a simulated host: machines run at once, and only their records are kept.
    ///
    /// # Errors
    /// When what is recorded cannot be listed.
    pub fn simulated(config: &Config, wake: Wake) -> Result<Self, DurableError> {
        let storage = config.storage();
        let store = Store::new(&storage);
        let driver: Arc<dyn Driver> = Arc::new(Simulated::surviving(&store, wake.clone())?);
        let virt_type = config.virt_type;
        let ports: Arc<dyn Ports> = Arc::new(SimulatedPorts);
        let tools = Tools { driver, ports, images: None, store, storage, virt_type };
        Ok(Self::new(tools, wake))
    }
}

/// Lets QEMU's own user pass through the data folder to the disks. What else is in it is closed file
/// by file and folder by folder.
fn let_through(data: &Path) -> Result<(), DurableError> {
    let permissions = match std::fs::metadata(data) {
        Ok(metadata) => metadata.permissions(),
        Err(error) => return Err(durable::failed("look at", data)(error)),
    };
    let mode = permissions.mode();
    if mode & 0o011 == 0o011 {
        return Ok(());
    }
    std::fs::set_permissions(data, std::fs::Permissions::from_mode(mode | 0o011))
        .map_err(durable::failed("open the way through", data))
}
