//! The config drive: a small disk image that tells a virtual machine who it is without a network.
//!
//! A VFAT file system, labelled as guests look for it, made in memory. Equal content gives equal
//! bytes, and the name carries their hash: an image of the same name need not be written again.

use crate::instance::Instance;
use crate::{ec2, nocloud, openstack};
use fatfs::{
    Date, DateTime, FileSystem, FormatVolumeOptions, FsOptions, Time, TimeProvider, format_volume,
};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{self, Cursor, Write};
use zeroize::Zeroizing;

/// Sizes of images are multiples of this. In bytes.
const STEP: usize = 1 << 20;
/// Room that a file or folder may take beyond its content; more than any cluster of images this
/// small. In bytes.
const SLACK: usize = 8 << 10;
/// Hexadecimal digits of the hash in a name.
const HASH_DIGITS: usize = 40;

/// How the guest looks for the drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// By the label `config-2`: OpenStack's and EC2's files.
    ConfigDrive,
    /// By the label `cidata`: cloud-init's NoCloud seed.
    Nocloud,
}

/// A drive's image and what to call it.
#[derive(Clone, PartialEq, Eq)]
pub struct Drive {
    /// `config-<uuid>-<hash of the bytes>.img`.
    pub name: String,
    /// The image. Wiped when dropped: it holds the user data.
    pub bytes: Zeroizing<Vec<u8>>,
}

/// The file system could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} the config drive of instance {uuid}")]
pub struct DriveError {
    action: &'static str,
    uuid: String,
    #[source]
    source: io::Error,
}

/// Makes the drive of `instance`.
///
/// # Errors
/// When the file system cannot be made in memory.
pub fn config_drive(instance: &Instance, kind: Kind) -> Result<Drive, DriveError> {
    let failed = |action| {
        let uuid = instance.uuid.clone();
        move |source| DriveError { action, uuid, source }
    };
    let files = files(instance, kind);
    let content: usize = files.values().map(|file| file.len() + SLACK).sum();
    let mut bytes = Zeroizing::new(vec![0; (content + STEP).next_multiple_of(STEP)]);
    let options = FormatVolumeOptions::new().volume_label(label(kind)).volume_id(serial(&files));
    format_volume(Cursor::new(&mut bytes[..]), options).map_err(failed("format"))?;
    write_files(&mut bytes, &files).map_err(failed("fill"))?;
    let hash = blake3::hash(&bytes).to_hex();
    let name = format!("{}{}.img", prefix(&instance.uuid), &hash[..HASH_DIGITS]);
    Ok(Drive { name, bytes })
}

/// Whether `name` is that of a drive of the instance with `uuid`, of whatever content.
#[must_use]
pub fn is_drive_of(uuid: &str, name: &str) -> bool {
    let hash = name.strip_prefix(&prefix(uuid)).and_then(|rest| rest.strip_suffix(".img"));
    hash.is_some_and(|hash| {
        hash.len() == HASH_DIGITS && hash.bytes().all(|digit| digit.is_ascii_hexdigit())
    })
}

fn prefix(uuid: &str) -> String {
    format!("config-{uuid}-")
}

fn label(kind: Kind) -> [u8; 11] {
    match kind {
        Kind::ConfigDrive => *b"config-2   ",
        Kind::Nocloud => *b"cidata     ",
    }
}

/// The files by path. Absent user data are an empty file.
fn files(instance: &Instance, kind: Kind) -> BTreeMap<String, Zeroizing<Vec<u8>>> {
    let mut files = BTreeMap::new();
    let mut put = |path: String, content: &[u8]| {
        files.insert(path, Zeroizing::new(content.to_vec()));
    };
    let userdata = instance.userdata.as_ref().map_or(&[][..], |data| data.bytes());
    match kind {
        Kind::Nocloud => {
            put("user-data".into(), userdata);
            for (name, document) in nocloud::documents(instance) {
                put(name.into(), document.as_bytes());
            }
        }
        Kind::ConfigDrive => {
            let ec2 = ec2_document(instance).to_string();
            for version in ["2009-04-04", "latest"] {
                put(format!("ec2/{version}/meta-data.json"), ec2.as_bytes());
                put(format!("ec2/{version}/user-data"), userdata);
            }
            for version in ["2012-08-10", "latest"] {
                put(format!("openstack/{version}/user_data"), userdata);
                for (name, document) in openstack::documents(instance) {
                    put(format!("openstack/{version}/{name}"), document.as_bytes());
                }
            }
        }
    }
    files
}

fn ec2_document(instance: &Instance) -> Value {
    ec2::meta_data(instance).json()
}

/// The file system's serial number: a function of what is in it.
fn serial(files: &BTreeMap<String, Zeroizing<Vec<u8>>>) -> u32 {
    let mut hash = blake3::Hasher::new();
    for (path, content) in files {
        for part in [path.as_bytes(), content.as_slice()] {
            hash.update(&(part.len() as u64).to_be_bytes()).update(part);
        }
    }
    let mut number = [0; 4];
    hash.finalize_xof().fill(&mut number);
    u32::from_be_bytes(number)
}

fn write_files(image: &mut [u8], files: &BTreeMap<String, Zeroizing<Vec<u8>>>) -> io::Result<()> {
    let options = FsOptions::new().time_provider(&FIXED_TIME).update_accessed_date(false);
    let system = FileSystem::new(Cursor::new(image), options)?;
    {
        let root = system.root_dir();
        for (path, content) in files {
            for (end, _) in path.match_indices('/') {
                root.create_dir(&path[..end])?;
            }
            let mut file = root.create_file(path)?;
            file.write_all(content)?;
            file.flush()?;
        }
    }
    system.unmount()
}

/// All files are as old as the file system's epoch, so that equal content gives equal bytes.
#[derive(Debug)]
struct FixedTime;

static FIXED_TIME: FixedTime = FixedTime;

impl TimeProvider for FixedTime {
    fn get_current_date(&self) -> Date {
        Date { year: 1980, month: 1, day: 1 }
    }

    fn get_current_date_time(&self) -> DateTime {
        let time = Time { hour: 0, min: 0, sec: 0, millis: 0 };
        DateTime { date: self.get_current_date(), time }
    }
}

#[cfg(test)]
mod tests;
