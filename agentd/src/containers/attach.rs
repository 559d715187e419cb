//! Where the network driver meets the kernel: a trait of two verbs, so that the driver can be
//! tried without one.
//!
//! Owns nothing: ports belong to the network's data plane.

use super::journal::{Place, Port};
use std::error::Error;

/// A port that could not be made or removed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} the port of {} on network {}", place.ip, place.vni)]
pub struct AttachError {
    /// What was tried.
    pub action: &'static str,
    /// Whose port.
    pub place: Place,
    /// Why it failed.
    #[source]
    pub source: Box<dyn Error + Send + Sync>,
}

/// Makes and removes the ports of containers.
#[async_trait::async_trait]
pub trait Attacher: Send + Sync + 'static {
    /// Returns once the network of `place` is in place on this host and lets the address pass.
    /// The caller sets the deadline.
    async fn ready(&self, place: Place) -> Result<(), AttachError>;

    /// Makes a veth pair: one end on the network, the other, with the port's Ethernet address and
    /// the network's MTU (in bytes), in the root namespace. Returns the latter's name. A pair that
    /// is there already is replaced.
    async fn attach(&self, port: Port, mtu: u32) -> Result<String, AttachError>;

    /// Removes the port. True when there was one.
    async fn detach(&self, place: Place) -> Result<bool, AttachError>;
}
