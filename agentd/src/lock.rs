//! One agent per data folder.

use crate::durable;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

/// Held for as long as the process may use the data folder.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held for its lock, which ends with it")] File);

/// Why the data folder cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("an agentd is running with the data folder {}; stop it first", data.display())]
    Taken {
        /// The data folder.
        data: PathBuf,
    },
    /// The lock cannot be made.
    #[error("cannot lock the data folder {}", data.display())]
    Fail {
        /// The data folder.
        data: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The data folder cannot be made.
    #[error("cannot use the data folder")]
    Folder(#[from] durable::DurableError),
}

impl Lock {
    /// Takes the data folder, which is made when it is not there.
    ///
    /// # Errors
    /// When another process has it, or it cannot be used.
    pub fn take(data: &Path) -> Result<Self, LockError> {
        durable::folder(data)?;
        let failed = |source| LockError::Fail { data: data.into(), source };
        let file = File::create(data.join("lock")).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(LockError::Taken { data: data.into() }),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_has_it() {
        let data = tempfile::tempdir().unwrap();
        let held = Lock::take(data.path()).unwrap();
        assert!(matches!(Lock::take(data.path()), Err(LockError::Taken { .. })));
        drop(held);
        Lock::take(data.path()).unwrap();
    }
}
