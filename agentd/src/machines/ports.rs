//! Where machines' interfaces go: the networks of this host, as far as machines need them.

use super::record::Port;
use super::tap::{self, TapError};
use crate::networks::{NotReady, Ready};
use netlib::dataplane::{Dataplane, DataplaneError};
use netlib::desired::Attach;
use netlib::names::device_name;
use std::sync::Arc;
use std::time::Duration;

/// What went wrong with a port.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// Its guards do not stand.
    #[error("cannot attach address {} of network {}", port.ip, port.vni)]
    NotReady {
        /// The endpoint.
        port: Port,
        /// What is missing.
        #[source]
        source: NotReady,
    },
    /// Its tap cannot be made or removed.
    #[error("cannot keep the device of address {} of network {}", port.ip, port.vni)]
    Tap {
        /// The endpoint.
        port: Port,
        /// Why.
        #[source]
        source: TapError,
    },
    /// The data plane refuses.
    #[error("cannot {action} address {} of network {}", port.ip, port.vni)]
    Dataplane {
        /// What was tried.
        action: &'static str,
        /// The endpoint.
        port: Port,
        /// Why.
        #[source]
        source: DataplaneError,
    },
}

/// The networks of a host, as machines see them.
#[async_trait::async_trait]
pub trait Ports: Send + Sync + 'static {
    /// Waits until the endpoint's guards stand, then makes its tap. True when it was made.
    async fn open(&self, port: Port, patience: Duration) -> Result<bool, PortError>;

    /// Puts the endpoint's tap on its network. Doing it again changes nothing.
    async fn attach(&self, attach: &Attach) -> Result<(), PortError>;

    /// Removes the endpoint's device, wherever it is. True when there was one.
    async fn close(&self, port: Port) -> Result<bool, PortError>;
}

/// The real networks of this host.
#[derive(Clone)]
pub struct HostPorts {
    dataplane: Arc<Dataplane>,
    ready: Ready,
}

impl HostPorts {
    /// Ports on this data plane, opened when `ready` has them.
    #[must_use]
    pub fn new(dataplane: Arc<Dataplane>, ready: Ready) -> Self {
        Self { dataplane, ready }
    }

    async fn attached(&self, port: Port) -> Result<bool, PortError> {
        let names = self.dataplane.attached(port.vni).await;
        let action = "look for";
        let names = names.map_err(|source| PortError::Dataplane { action, port, source })?;
        Ok(names.contains(&device_name(port.vni, port.ip)))
    }
}

#[async_trait::async_trait]
impl Ports for HostPorts {
    async fn open(&self, port: Port, patience: Duration) -> Result<bool, PortError> {
        let ready = self.ready.wait(port.vni, port.ip, patience).await;
        ready.map_err(|source| PortError::NotReady { port, source })?;
        // A device left from an earlier life is on its bridge, where libvirt could not open it.
        if self.attached(port).await? {
            self.close(port).await?;
        }
        tap::make(&device_name(port.vni, port.ip)).map_err(|source| PortError::Tap { port, source })
    }

    async fn attach(&self, attach: &Attach) -> Result<(), PortError> {
        let port = Port { vni: attach.vni, ip: attach.ip };
        let action = "attach";
        self.dataplane
            .attach_tap(attach, &device_name(attach.vni, attach.ip))
            .await
            .map_err(|source| PortError::Dataplane { action, port, source })
    }

    async fn close(&self, port: Port) -> Result<bool, PortError> {
        let action = "detach";
        let detached = match self.dataplane.detach(port.vni, port.ip).await {
            Ok(detached) => detached,
            // With its namespace the device has gone too.
            Err(DataplaneError::NoNetwork { .. }) => false,
            Err(source) => return Err(PortError::Dataplane { action, port, source }),
        };
        let removed = tap::remove(&device_name(port.vni, port.ip))
            .map_err(|source| PortError::Tap { port, source })?;
        Ok(detached || removed)
    }
}

/// Networks that are always ready and have no devices.
#[derive(Clone, Copy, Debug, Default)]
pub struct SimulatedPorts;

#[async_trait::async_trait]
impl Ports for SimulatedPorts {
    async fn open(&self, _port: Port, _patience: Duration) -> Result<bool, PortError> {
        Ok(false)
    }

    async fn attach(&self, _attach: &Attach) -> Result<(), PortError> {
        Ok(())
    }

    async fn close(&self, _port: Port) -> Result<bool, PortError> {
        Ok(false)
    }
}
