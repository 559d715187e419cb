//! Removes what is ours: one network, or everything on this host.

use super::observe;
use super::{Dataplane, DataplaneError};
use crate::names::{BRIDGE, DEVICE_PREFIX, TRANSIT_PREFIX, UPLINK, VXLAN, VXLAN_PREFIX};
use crate::namespace::Namespace;
use crate::netlink::Manner;
use crate::netns;
use netlink_packet_route::RouteNetlinkMessage;

/// What could not be removed.
#[derive(Debug, thiserror::Error)]
#[error("cannot remove {object}")]
pub struct CleanError {
    object: String,
    #[source]
    source: Box<DataplaneError>,
}

impl Dataplane {
    /// Removes everything of ours on this host. Goes on after errors and returns them all. IP
    /// forwarding stays on: others may have come to rely on it.
    pub async fn clean(&self) -> Vec<CleanError> {
        let mut host = self.host.lock().await;
        let mut errors = Vec::new();
        let mut note = |object: String, result: Result<u64, DataplaneError>| {
            if let Err(source) = result {
                errors.push(CleanError { object, source: Box::new(source) });
            }
        };
        match self.present() {
            Ok(present) => {
                for vni in present {
                    note(format!("network {vni}"), self.remove_network(vni).await);
                }
            }
            Err(error) => note("networks".into(), Err(error)),
        }
        let ours = |name: &str| {
            [DEVICE_PREFIX, TRANSIT_PREFIX, VXLAN_PREFIX]
                .iter()
                .any(|prefix| name.starts_with(prefix))
        };
        note("devices".into(), self.remove_links(&self.root, ours).await);
        let file = &self.root.file;
        let result = host.tables.reconcile(file, None).await;
        note("rules".into(), result.map_err(Into::into));
        let super::Host { tables, forward_accept } = &mut *host;
        let result = forward_accept.reconcile(file, false, || tables.generation().ok()).await;
        note("rules among the container engine's".into(), result.map_err(Into::into));
        if let Err(source) = std::fs::remove_dir(&self.folder)
            && source.kind() != std::io::ErrorKind::NotFound
        {
            let path = self.folder.clone();
            note("folder of namespaces".into(), Err(DataplaneError::Folder { path, source }));
        }
        errors
    }

    /// Removes a network's namespace with all that is in it. Its devices go first and by name: what
    /// the end of a namespace removes is removed some time later, and the VXLAN device's port and
    /// the transit's name would be in the way of the same network's return.
    pub(super) async fn remove_network(&self, vni: u32) -> Result<u64, DataplaneError> {
        let mut changes = 0;
        let failed = match self.inside(vni) {
            Ok(inside) => {
                let inside = inside.lock().await;
                let ours = |name: &str| {
                    [BRIDGE, VXLAN, UPLINK].contains(&name) || name.starts_with(DEVICE_PREFIX)
                };
                match self.remove_links(&inside.namespace, ours).await {
                    Ok(removed) => {
                        changes += removed;
                        None
                    }
                    Err(error) => Some(error),
                }
            }
            // Half made: a file without a namespace.
            Err(DataplaneError::NoNetwork { .. }) => None,
            Err(error) => Some(error),
        };
        self.forget(vni);
        changes += u64::from(netns::remove(&self.namespace(vni))?);
        match failed {
            Some(error) => Err(error),
            None => Ok(changes),
        }
    }

    /// Removes devices by name; returns how many there were.
    pub(super) async fn remove_links(
        &self,
        namespace: &Namespace,
        ours: impl Fn(&str) -> bool,
    ) -> Result<u64, DataplaneError> {
        let links = namespace.links().await.map_err(DataplaneError::Observe)?;
        let mut removed = 0;
        for link in links {
            let Some(name) = observe::name(&link).filter(|name| ours(name)) else { continue };
            let message = RouteNetlinkMessage::DelLink(super::message::link(link.header.index));
            match namespace.netlink.ask(message, Manner::Change).await {
                Ok(()) => removed += 1,
                // A veth's other end took it along.
                Err(error) if error.raw_os_error() == Some(libc::ENODEV) => {}
                Err(source) => {
                    let (action, device) = ("remove device", name.to_owned());
                    return Err(DataplaneError::Device { action, device, source });
                }
            }
        }
        Ok(removed)
    }
}
