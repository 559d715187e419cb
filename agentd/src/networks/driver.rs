//! What carries a network: the kernel, or a simulation that has everything at once.

use netlib::dataplane::{Dataplane, Forwarding, Outcome};
use netlib::desired::HostNetwork;
use std::path::PathBuf;
use std::sync::Arc;

/// A forwarding probe that could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot probe whether network {vni} is forwarded")]
pub struct ProbeError {
    vni: u32,
    #[source]
    source: Box<dyn std::error::Error + Send + Sync>,
}

/// Carries the networks of one host.
#[async_trait::async_trait]
pub trait Driver: Send + Sync + 'static {
    /// Makes the host's networks what `desired` says.
    async fn reconcile(&self, desired: &HostNetwork) -> Outcome;

    /// Whether datagrams of the network are forwarded to the outside.
    async fn forwarding(&self, vni: u32) -> Result<Forwarding, ProbeError>;

    /// The network's namespace, where services are to listen; none in a simulation.
    fn namespace(&self, vni: u32) -> Option<PathBuf>;
}

/// The kernel of this host.
#[derive(Debug)]
pub struct Kernel(pub Arc<Dataplane>);

#[async_trait::async_trait]
impl Driver for Kernel {
    async fn reconcile(&self, desired: &HostNetwork) -> Outcome {
        self.0.reconcile(desired).await
    }

    async fn forwarding(&self, vni: u32) -> Result<Forwarding, ProbeError> {
        let probe = self.0.probe_forwarding(vni).await;
        probe.map_err(|source| ProbeError { vni, source: Box::new(source) })
    }

    fn namespace(&self, vni: u32) -> Option<PathBuf> {
        Some(self.0.namespace(vni))
    }
}

/// Networks that are ready as soon as they are wished for.
#[derive(Debug, Default)]
pub struct Simulated(std::sync::Mutex<Option<HostNetwork>>);

#[async_trait::async_trait]
impl Driver for Simulated {
    async fn reconcile(&self, desired: &HostNetwork) -> Outcome {
        let mut held = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let changes = u64::from(held.as_ref() != Some(desired));
        *held = Some(desired.clone());
        let ready = desired.networks.keys().copied().collect();
        Outcome { changes, ready, ..Outcome::default() }
    }

    async fn forwarding(&self, _vni: u32) -> Result<Forwarding, ProbeError> {
        Ok(Forwarding::Open)
    }

    fn namespace(&self, _vni: u32) -> Option<PathBuf> {
        None
    }
}
