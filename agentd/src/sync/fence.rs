//! The memory of having been taken out of the cloud.
//!
//! A fenced host stops what it owns at first contact. A restart must not start it again while
//! controld happens to be away, so the fence is a file; controld's next good answer removes it.

use super::Contact;
use crate::desired::chain;
use crate::durable::{self, DurableError};
use std::path::{Path, PathBuf};

/// Whether this host was taken out of the cloud.
#[derive(Debug)]
pub struct Fence {
    path: PathBuf,
    set: bool,
}

impl Fence {
    /// Opens the fence kept in the folder `data`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn open(data: &Path) -> Result<Self, DurableError> {
        let path = data.join("fenced");
        let set = durable::read(&path)?.is_some();
        Ok(Self { path, set })
    }

    /// Whether it is set.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.set
    }

    /// Sets or lifts it as an exchange with controld tells. True when that changed it.
    pub fn set_from(&mut self, contact: &Contact) -> bool {
        let set = match contact {
            Contact::Fenced => true,
            Contact::Connected => false,
            Contact::None | Contact::Away { .. } | Contact::Refused { .. } => self.set,
        };
        if set == self.set {
            return false;
        }
        let kept = match set {
            true => durable::write(&self.path, b"taken out of the cloud\n"),
            false => durable::remove(&self.path).map(drop),
        };
        if let Err(error) = kept {
            // The fence holds for this run all the same; the next contact tells again.
            tracing::error!("{}", chain(&error));
        }
        self.set = set;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outlives_a_restart_until_controld_answers() {
        let data = tempfile::tempdir().unwrap();
        let mut fence = Fence::open(data.path()).unwrap();
        assert!(fence.set_from(&Contact::Fenced));
        assert!(!fence.set_from(&Contact::Fenced));
        let mut fence = Fence::open(data.path()).unwrap();
        assert!(fence.is_set());
        assert!(!fence.set_from(&Contact::Away { why: String::new() }));
        assert!(fence.set_from(&Contact::Connected));
        assert!(!Fence::open(data.path()).unwrap().is_set());
    }
}
