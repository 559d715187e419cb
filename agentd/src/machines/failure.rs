//! What can go wrong with one machine, and whether trying again is of use.

use super::driver::DriverError;
use super::images::ImageError;
use super::kvm::KvmError;
use super::ports::PortError;
use super::store::StoreError;
use crate::desired::chain;
use api::report::{ErrorKind, ItemError};
use std::sync::Arc;

/// Why a step of a machine failed.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// Its image.
    #[error(transparent)]
    Image(Box<ImageError>),
    /// Its folder.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its network.
    #[error(transparent)]
    Port(#[from] PortError),
    /// Its domain.
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// Its config drive.
    #[error(transparent)]
    Drive(#[from] metadata::DriveError),
    /// Hardware virtualization is asked for and does not work.
    #[error("this host is set to `virt_type = \"kvm\"`, and KVM does not run guests here")]
    Kvm(#[source] Arc<KvmError>),
    /// It names a network that this host does not know.
    #[error("network {vni} is not in this host's snapshot")]
    NoNetwork {
        /// The network.
        vni: u32,
    },
    /// Something else is wanted by now.
    #[error("given up, because something else is wanted by now")]
    Overtaken,
}

impl MachineError {
    /// Whether it is of use to try again.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Image(error) => error.kind(),
            Self::Store(_) => ErrorKind::Internal,
            Self::Driver(DriverError::Foreign { .. }) => ErrorKind::ConflictWithForeign,
            Self::Kvm(_) => ErrorKind::MissingCapability,
            Self::Port(_)
            | Self::Driver(_)
            | Self::Drive(_)
            | Self::NoNetwork { .. }
            | Self::Overtaken => ErrorKind::Transient,
        }
    }
}

impl From<ImageError> for MachineError {
    fn from(error: ImageError) -> Self {
        Self::Image(Box::new(error))
    }
}

impl From<MachineError> for ItemError {
    fn from(error: MachineError) -> Self {
        Self { kind: error.kind(), message: chain(&error) }
    }
}
