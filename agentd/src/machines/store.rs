//! The folders of machines: `<storage>/machines/<uuid>/` with record, disk, config drive and log.
//!
//! A folder is made before anything else of a machine and removed after everything else, so that what
//! is left of a machine can always be found here. Folders may be passed through by everybody, since
//! libvirt runs QEMU as a user of its own; the files in them may not be read by everybody.

use super::images::Base;
use super::record::Record;
use crate::durable::{self, DurableError};
use std::collections::BTreeMap;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;

const RECORD: &str = "record.json";
const DISK: &str = "disk.qcow2";
const LOG: &str = "serial.log";

/// What went wrong with a machine's folder.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file cannot be read or written.
    #[error("cannot keep the state of machine {uuid}")]
    Durable {
        /// The machine.
        uuid: String,
        /// Which file, and why.
        #[source]
        source: DurableError,
    },
    /// The record is damaged.
    #[error("cannot read what is recorded of machine {uuid}")]
    Record {
        /// The machine.
        uuid: String,
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
    /// The record is lost and a disk is there.
    #[error("machine {uuid} has a disk and no record; nothing of it is touched")]
    NoRecord {
        /// The machine.
        uuid: String,
    },
    /// The disk cannot be made.
    #[error("cannot make the disk of machine {uuid}: qemu-img says {words}")]
    Disk {
        /// The machine.
        uuid: String,
        /// What it said.
        words: String,
    },
}

/// What is stored of a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// What is remembered.
    pub record: Record,
    /// Whether there is a config drive.
    pub drive: bool,
}

/// The folders of one agent's machines.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
}

impl Store {
    /// The machines below a storage folder.
    #[must_use]
    pub fn new(storage: &Path) -> Self {
        Self { folder: storage.join("machines") }
    }

    /// Everything that is stored. What cannot be read is told by uuid and hides nothing else.
    ///
    /// # Errors
    /// When the folder itself cannot be read.
    pub fn list(&self) -> Result<BTreeMap<String, Result<Stored, StoreError>>, DurableError> {
        let entries = match std::fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(BTreeMap::new());
            }
            Err(error) => return Err(durable::failed("read the folder", &self.folder)(error)),
        };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        Ok(names
            .filter(|name| uuid::Uuid::try_parse(name).is_ok())
            .map(|uuid| (uuid.clone(), self.read(&uuid)))
            .collect())
    }

    /// What is stored of a machine; nothing yet for one without a folder.
    ///
    /// # Errors
    /// When the record cannot be read, or is missing beside a disk.
    pub fn read(&self, uuid: &str) -> Result<Stored, StoreError> {
        let path = self.folder.join(uuid).join(RECORD);
        let content = durable::read(&path).map_err(durable_failed(uuid))?;
        let Some(content) = content else {
            if self.disk(uuid).exists() {
                return Err(StoreError::NoRecord { uuid: uuid.into() });
            }
            return Ok(Stored::default());
        };
        let record = serde_json::from_slice(&content)
            .map_err(|source| StoreError::Record { uuid: uuid.into(), source })?;
        Ok(Stored { record, drive: !self.drives(uuid).is_empty() })
    }

    /// Remembers; makes the folder when needed.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, uuid: &str, record: &Record) -> Result<(), StoreError> {
        let folder = self.folder.join(uuid);
        passable(&folder).map_err(durable_failed(uuid))?;
        let text = serde_json::json!(record).to_string();
        durable::write(&folder.join(RECORD), text.as_bytes()).map_err(durable_failed(uuid))
    }

    /// The machine's own disk.
    #[must_use]
    pub fn disk(&self, uuid: &str) -> PathBuf {
        self.folder.join(uuid).join(DISK)
    }

    /// What its serial port says.
    #[must_use]
    pub fn log(&self, uuid: &str) -> PathBuf {
        self.folder.join(uuid).join(LOG)
    }

    /// Makes the machine's disk a copy-on-write child of `base`, unless it has one. True when it
    /// was made.
    ///
    /// # Errors
    /// When `qemu-img` fails; no disk is there then.
    pub async fn make_disk(
        &self,
        uuid: &str,
        base: &Path,
        image: &Base,
    ) -> Result<bool, StoreError> {
        let disk = self.disk(uuid);
        if disk.exists() {
            return Ok(false);
        }
        let beside = disk.with_extension("new");
        let mut command = tokio::process::Command::new("qemu-img");
        command.args(["create", "-q", "-f", "qcow2", "-F", image.format.name(), "-b"]);
        command.arg(base).arg(&beside).stdin(Stdio::null()).kill_on_drop(true);
        let refused = |words: String| StoreError::Disk { uuid: uuid.into(), words };
        let output = command.output().await.map_err(|error| refused(error.to_string()))?;
        if !output.status.success() {
            return Err(refused(String::from_utf8_lossy(&output.stderr).trim().into()));
        }
        let finish = || {
            let private = std::fs::Permissions::from_mode(0o600);
            std::fs::set_permissions(&beside, private)
                .and_then(|()| std::fs::File::open(&beside)?.sync_all())
                .and_then(|()| std::fs::rename(&beside, &disk))
                .map_err(durable::failed("keep", &disk))?;
            durable::sync_folder(&disk)
        };
        finish().map_err(durable_failed(uuid))?;
        Ok(true)
    }

    /// Makes `content` the machine's config drive. Its `name` tells its content, so that an equal one
    /// is used again. The path, and whether it had to be written.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn make_drive(
        &self,
        uuid: &str,
        name: &str,
        content: &[u8],
    ) -> Result<(PathBuf, bool), StoreError> {
        let path = self.folder.join(uuid).join(name);
        let old: Vec<_> = self.drives(uuid).into_iter().filter(|other| *other != path).collect();
        let write = !path.exists();
        if write {
            durable::write(&path, content).map_err(durable_failed(uuid))?;
        }
        for other in &old {
            durable::remove(other).map_err(durable_failed(uuid))?;
        }
        Ok((path, write || !old.is_empty()))
    }

    /// Removes the machine's config drive. True when there was one.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove_drive(&self, uuid: &str) -> Result<bool, StoreError> {
        let drives = self.drives(uuid);
        for drive in &drives {
            durable::remove(drive).map_err(durable_failed(uuid))?;
        }
        Ok(!drives.is_empty())
    }

    /// Removes everything of a machine. True when there was something.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub fn remove(&self, uuid: &str) -> Result<bool, StoreError> {
        let folder = self.folder.join(uuid);
        match std::fs::remove_dir_all(&folder) {
            Ok(()) => durable::sync_folder(&folder).map(|()| true).map_err(durable_failed(uuid)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => {
                Err(durable_failed(uuid)(durable::failed("remove the folder", &folder)(error)))
            }
        }
    }

    fn drives(&self, uuid: &str) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(self.folder.join(uuid)) else { return Vec::new() };
        let ours = |entry: &std::fs::DirEntry| {
            entry.file_name().to_str().is_some_and(|name| metadata::is_drive_of(uuid, name))
        };
        entries.flatten().filter(ours).map(|entry| entry.path()).collect()
    }
}

fn durable_failed(uuid: &str) -> impl FnOnce(DurableError) -> StoreError {
    move |source| StoreError::Durable { uuid: uuid.into(), source }
}

/// Makes a folder and its parents such that another user may pass through what this makes.
pub(super) fn passable(folder: &Path) -> Result<(), DurableError> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o711).create(folder).map_err(durable::failed("make", folder))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machines::record::Stage;

    const UUID: &str = "6f0c1f62-30c5-4f5c-9d10-b3b1a5a7d3c1";

    #[test]
    fn records_come_back_and_damage_hides_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path());
        assert!(store.list().unwrap().is_empty());
        let record = Record { epoch: 3, stage: Stage::Running, ..Record::default() };
        store.write(UUID, &record).unwrap();
        let other = "00000000-30c5-4f5c-9d10-b3b1a5a7d3c1";
        store.write(other, &record).unwrap();
        std::fs::write(folder.path().join("machines").join(other).join(RECORD), "{").unwrap();
        std::fs::create_dir(folder.path().join("machines/lost+found")).unwrap();
        let all = store.list().unwrap();
        assert_eq!(all.len(), 2);
        assert_eq!(all[UUID].as_ref().unwrap().record, record);
        assert!(matches!(all[other], Err(StoreError::Record { .. })));
        assert!(store.remove(UUID).unwrap());
        assert!(!store.remove(UUID).unwrap());
    }

    #[test]
    fn an_equal_drive_is_used_again_and_another_replaces_it() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path());
        store.write(UUID, &Record::default()).unwrap();
        let [one, two] = ["1", "2"].map(|digit| format!("config-{UUID}-{}.img", digit.repeat(40)));
        let (first, written) = store.make_drive(UUID, &one, b"one").unwrap();
        assert!(written);
        assert_eq!(store.make_drive(UUID, &one, b"one").unwrap(), (first.clone(), false));
        let (second, written) = store.make_drive(UUID, &two, b"two").unwrap();
        assert!(written && !first.exists() && second.exists());
        assert!(store.read(UUID).unwrap().drive);
        assert!(store.remove_drive(UUID).unwrap());
        assert!(!store.remove_drive(UUID).unwrap());
    }

    #[test]
    fn a_disk_without_a_record_is_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path());
        passable(store.disk(UUID).parent().unwrap()).unwrap();
        std::fs::write(store.disk(UUID), b"precious").unwrap();
        assert!(matches!(store.read(UUID), Err(StoreError::NoRecord { .. })));
    }
}
