//! Kernel settings of a network namespace (`/proc/sys/net/…`).
//!
//! `/proc/sys/net` shows the namespace of the thread that opens it, so that both directions run on
//! a thread inside. A setting whose module is not loaded has no file; that is told, not guessed.

use crate::netns;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// A setting that cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} kernel setting {name}")]
pub struct SettingError {
    action: &'static str,
    name: String,
    #[source]
    source: io::Error,
}

fn path(name: &str) -> PathBuf {
    Path::new("/proc/sys").join(name)
}

/// Reads settings by their path below `/proc/sys`; those without a file are left out.
///
/// # Errors
/// When the namespace cannot be entered or a file cannot be read.
pub fn read<'a>(
    namespace: &File,
    names: impl Iterator<Item = &'a String> + Send,
) -> Result<BTreeMap<String, String>, SettingError> {
    let failed = |name: &str| {
        let name = name.to_owned();
        move |source| SettingError { action: "read", name, source }
    };
    netns::within(namespace, || {
        let mut found = BTreeMap::new();
        for name in names {
            match std::fs::read_to_string(path(name)) {
                Ok(value) => {
                    found.insert(name.clone(), value.trim().to_owned());
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed(name)(error)),
            }
        }
        Ok(found)
    })
    .map_err(failed("of the namespace"))?
}

/// Writes a setting.
///
/// # Errors
/// When the namespace cannot be entered or the kernel refuses.
pub fn write(namespace: &File, name: &str, value: &str) -> Result<(), SettingError> {
    let failed = |source| SettingError { action: "write", name: name.into(), source };
    netns::within(namespace, || std::fs::write(path(name), value)).map_err(failed)?.map_err(failed)
}
