//! Ports of containers in the kernel: the network's data plane, once its guards stand.

use super::attach::{AttachError, Attacher};
use super::journal::{Place, Port};
use super::network_driver::READY_WITHIN;
use crate::networks::Ready;
use netlib::dataplane::Dataplane;
use netlib::desired::Attach;
use std::error::Error;
use std::sync::Arc;

/// The kernel of this host.
#[derive(Clone)]
pub struct KernelAttacher {
    dataplane: Arc<Dataplane>,
    ready: Ready,
}

impl KernelAttacher {
    /// Ports on `dataplane`, made where `ready` says that the guards stand.
    #[must_use]
    pub fn new(dataplane: Arc<Dataplane>, ready: Ready) -> Self {
        Self { dataplane, ready }
    }
}

fn failed<E: Error + Send + Sync + 'static>(
    action: &'static str,
    place: Place,
) -> impl FnOnce(E) -> AttachError {
    move |source| AttachError { action, place, source: Box::new(source) }
}

#[async_trait::async_trait]
impl Attacher for KernelAttacher {
    async fn ready(&self, place: Place) -> Result<(), AttachError> {
        let waited = self.ready.wait(place.vni, place.ip, READY_WITHIN).await;
        waited.map_err(failed("wait for the guards of", place))
    }

    async fn attach(&self, port: Port, mtu: u32) -> Result<String, AttachError> {
        let Place { vni, ip } = port.place;
        let attach = Attach { vni, ip, mac: netlib::mac::Mac(port.mac.0), mtu };
        self.dataplane.attach_veth(&attach).await.map_err(failed("make", port.place))
    }

    async fn detach(&self, place: Place) -> Result<bool, AttachError> {
        self.dataplane.detach(place.vni, place.ip).await.map_err(failed("remove", place))
    }
}
