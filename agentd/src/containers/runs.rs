//! Which epoch of an instance was started, kept durably: noted before each start, so that no epoch
//! is started twice by a crash in between.

use crate::durable::{self, DurableError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The last start of an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The epoch that was started.
    pub epoch: u64,
    /// The host's boot in which that was.
    pub boot: String,
    /// What the engine called the time of the start before this one; when it still does, this one
    /// never took place.
    pub before: String,
    /// How it ended, once that was seen.
    #[serde(default)]
    pub ended: Option<i32>,
    /// How often the restart policy has started this epoch again.
    #[serde(default)]
    pub restarts: u32,
}

/// The last starts of all instances, by uuid.
#[derive(Debug)]
pub struct Runs {
    path: Option<PathBuf>,
    runs: BTreeMap<String, Run>,
}

impl Runs {
    /// Reads the starts noted at `path`. A damaged file counts as none: what runs is taken as it is.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn open(path: &Path) -> Result<Self, DurableError> {
        if let Some(folder) = path.parent() {
            durable::folder(folder)?;
        }
        let content = durable::read(path)?.unwrap_or_else(|| b"{}".to_vec());
        let runs = serde_json::from_slice(&content).unwrap_or_else(|error| {
            tracing::warn!(%error, path = %path.display(), "the noted starts are damaged");
            BTreeMap::new()
        });
        Ok(Self { path: Some(path.into()), runs })
    }

    /// Starts that are forgotten at the end, for a simulation.
    #[must_use]
    pub fn in_memory() -> Self {
        Self { path: None, runs: BTreeMap::new() }
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> &BTreeMap<String, Run> {
        &self.runs
    }

    /// Notes a start, or what became of it; durable when this returns.
    ///
    /// # Errors
    /// When it cannot be written; then it does not count.
    pub fn put(&mut self, uuid: &str, run: Run) -> Result<(), DurableError> {
        let held = self.runs.insert(uuid.into(), run);
        self.write().inspect_err(|_| {
            match held {
                Some(held) => self.runs.insert(uuid.into(), held),
                None => self.runs.remove(uuid),
            };
        })
    }

    /// Forgets instances that nobody wants any more.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn retain(&mut self, wanted: impl Fn(&str) -> bool) -> Result<(), DurableError> {
        let count = self.runs.len();
        self.runs.retain(|uuid, _| wanted(uuid));
        if self.runs.len() == count { Ok(()) } else { self.write() }
    }

    fn write(&self) -> Result<(), DurableError> {
        let Some(path) = &self.path else { return Ok(()) };
        // A map of plain structs serialises without fail.
        let text = serde_json::to_vec(&self.runs).unwrap_or_default();
        durable::write(path, &text)
    }
}

/// The id of this boot of the host; empty where the kernel does not tell.
#[must_use]
pub fn boot_id() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_survive_and_damage_is_no_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sub/runs.json");
        let mut runs = Runs::open(&path).unwrap();
        let run = Run { epoch: 3, boot: "b".into(), ..Run::default() };
        runs.put("u", run.clone()).unwrap();
        runs.put("v", run.clone()).unwrap();
        runs.retain(|uuid| uuid == "u").unwrap();
        assert_eq!(Runs::open(&path).unwrap().all(), &[("u".to_owned(), run)].into());
        std::fs::write(&path, "{\"u\":").unwrap();
        assert!(Runs::open(&path).unwrap().all().is_empty());
    }
}
