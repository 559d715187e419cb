//! What a machine needs before its domain can be created: image, disk, config drive, a way to make
//! processors, and from all these the domain's XML.

use super::domain_xml::{Accelerator, Surroundings, domain};
use super::driver::Label;
use super::failure::MachineError;
use super::images::{Base, Images, Progress};
use super::kvm::{self, KvmError};
use super::record::Record;
use super::work::Workshop;
use crate::config::VirtType;
use crate::describe;
use crate::desired::Desired;
use api::item::{Machine, Presentation};
use std::path::PathBuf;
use std::sync::Arc;

impl Workshop {
    /// Image, disk and config drive; the domain's XML.
    pub(super) async fn prepare(
        &self,
        machine: &Machine,
        desired: &Desired,
        record: &mut Record,
        progress: Progress,
    ) -> Result<String, MachineError> {
        let uuid = &machine.guest.uuid;
        let Some(images) = &self.tools.images else { return Ok(String::new()) };
        let accelerator = self.accelerator().await?;
        let store = &self.tools.store;
        let base = match &record.base {
            Some(base) => base.clone(),
            None => {
                let base = images.ensure(&machine.disk, progress).await?;
                // Before the disk, so that a disk is never without its base's name.
                record.base = Some(base.clone());
                store.write(uuid, record)?;
                base
            }
        };
        self.changed(store.make_disk(uuid, &images.path(&base), &base).await?);
        let drive = self.drive(machine, desired)?;
        Ok(self.xml(machine, desired, accelerator, images, &base, drive))
    }

    fn xml(
        &self,
        machine: &Machine,
        desired: &Desired,
        accelerator: Accelerator,
        images: &Images,
        base: &Base,
        drive: Option<PathBuf>,
    ) -> String {
        let store = &self.tools.store;
        let around = Surroundings {
            accelerator,
            label: &self.label(machine),
            disk: &store.disk(&machine.guest.uuid),
            base: (&images.path(base), base.format.name()),
            drive: drive.as_deref(),
            log: store.log(&machine.guest.uuid),
            networks: &desired.networks,
        };
        domain(machine, &around)
    }

    pub(super) fn label(&self, machine: &Machine) -> Label {
        Label {
            storage: self.tools.storage.display().to_string(),
            epoch: machine.guest.epoch,
            stop_timeout: machine.guest.stop_timeout,
        }
    }

    /// The config drive, made anew when it would have changed.
    fn drive(&self, machine: &Machine, desired: &Desired) -> Result<Option<PathBuf>, MachineError> {
        let uuid = &machine.guest.uuid;
        let kind = match machine.presentation {
            Presentation::ConfigDrive => metadata::Kind::ConfigDrive,
            Presentation::Nocloud => metadata::Kind::Nocloud,
            Presentation::Ec2 | Presentation::None => {
                self.changed(self.tools.store.remove_drive(uuid)?);
                return Ok(None);
            }
        };
        let instance = describe::machine(&machine.guest, desired);
        let drive = metadata::config_drive(&instance, kind)?;
        let (path, written) = self.tools.store.make_drive(uuid, &drive.name, &drive.bytes)?;
        self.changed(written);
        Ok(Some(path))
    }

    async fn accelerator(&self) -> Result<Accelerator, MachineError> {
        if self.tools.virt_type == VirtType::Qemu {
            return Ok(Accelerator::Emulation);
        }
        let probing = || async {
            let outcome = tokio::task::spawn_blocking(kvm::probe).await;
            outcome.unwrap_or(Err(KvmError::Broken)).map(drop).map_err(Arc::new)
        };
        match (self.kvm.get_or_init(probing).await, self.tools.virt_type) {
            (Ok(()), _) => Ok(Accelerator::Kvm),
            (Err(error), VirtType::Kvm) => Err(MachineError::Kvm(Arc::clone(error))),
            (Err(_), _) => Ok(Accelerator::Emulation),
        }
    }
}
