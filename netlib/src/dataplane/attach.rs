//! Puts guests' devices on their network's bridge, one at a time and fast.
//!
//! Netlink only: the guards and the neighbour of an endpoint are there before its device, because
//! the device's name follows from network and address. What is still missing is the device, its
//! flags as a port and its static forwarding entry.

use super::message;
use super::observe;
use super::wanted;
use super::{Dataplane, DataplaneError, Inside};
use crate::desired::Attach;
use crate::names::{BRIDGE, DEVICE_PREFIX, device_name};
use crate::namespace::Namespace;
use crate::netlink::Manner;
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use std::collections::BTreeSet;
use std::io;
use std::net::Ipv4Addr;

fn failed(action: &'static str, device: &str) -> impl FnOnce(io::Error) -> DataplaneError {
    move |source| DataplaneError::Device { action, device: device.into(), source }
}

impl Dataplane {
    /// Makes a veth whose port end is on the network's bridge, guarded and up; returns the name of
    /// the other end, which waits in the root namespace with the endpoint's MAC and MTU, down. A
    /// pair whose other end still waits there is taken as it is; any other is replaced.
    ///
    /// # Errors
    /// When the network is not here or the kernel refuses.
    pub async fn attach_veth(&self, attach: &Attach) -> Result<String, DataplaneError> {
        let inside = self.inside(attach.vni)?;
        let inside = inside.lock().await;
        let name = device_name(attach.vni, attach.ip);
        let waiting = self.root.link(&name).await.map_err(failed("look for device", &name))?;
        let port = inside.namespace.index(&name).await.map_err(failed("look for device", &name))?;
        let whole = port.is_some() && waiting.as_ref().is_some_and(|link| fits(link, attach));
        if !whole {
            if port.is_some() {
                remove(&inside.namespace, &name).await?;
            }
            if waiting.is_some() {
                remove(&self.root, &name).await?;
            }
            let message =
                message::veth(&name, &name, Some(attach.mac), self.root.descriptor(), attach.mtu);
            let made = inside.namespace.netlink.ask(Message::NewLink(message), Manner::Create);
            made.await.map_err(failed("make device", &name))?;
        }
        if let Err(error) = connect(&inside, &name, attach).await {
            // Half a port would look like a whole one to the next attempt.
            remove(&inside.namespace, &name).await?;
            return Err(error);
        }
        Ok(name)
    }

    /// Moves the tap device `tap` from the root namespace onto the network's bridge, guarded and
    /// up, under the endpoint's name. Whoever has it open keeps it.
    ///
    /// # Errors
    /// When the network or the tap is not here, or the kernel refuses.
    pub async fn attach_tap(&self, attach: &Attach, tap: &str) -> Result<(), DataplaneError> {
        let inside = self.inside(attach.vni)?;
        let inside = inside.lock().await;
        let name = device_name(attach.vni, attach.ip);
        let index = self.root.index(tap).await.map_err(failed("look for device", tap))?;
        let port = inside.namespace.index(&name).await.map_err(failed("look for device", &name))?;
        match (index, port) {
            (Some(index), port) => {
                if port.is_some() {
                    remove(&inside.namespace, &name).await?;
                }
                let message = message::move_link(index, inside.namespace.descriptor(), &name);
                let moved = self.root.netlink.ask(Message::SetLink(message), Manner::Change);
                moved.await.map_err(failed("move device", tap))?;
            }
            // Moved already.
            (None, Some(_)) => {}
            (None, None) => return Err(DataplaneError::NoDevice { device: tap.into() }),
        }
        connect(&inside, &name, attach).await
    }

    /// Removes an endpoint's device, and the end of a veth that waits in the root namespace. True
    /// when there was one; false also when the network is not here.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn detach(&self, vni: u32, ip: Ipv4Addr) -> Result<bool, DataplaneError> {
        let inside = match self.inside(vni) {
            Err(DataplaneError::NoNetwork { .. }) => return Ok(false),
            other => other?,
        };
        let inside = inside.lock().await;
        let name = device_name(vni, ip);
        let port = remove(&inside.namespace, &name).await?;
        Ok(remove(&self.root, &name).await? || port)
    }

    /// Names of the guests' devices on the network's bridge, see [`device_name`]; none when the
    /// network is not here.
    ///
    /// # Errors
    /// When the kernel cannot be asked.
    pub async fn attached(&self, vni: u32) -> Result<BTreeSet<String>, DataplaneError> {
        let inside = match self.inside(vni) {
            Err(DataplaneError::NoNetwork { .. }) => return Ok(BTreeSet::new()),
            other => other?,
        };
        let inside = inside.lock().await;
        let links = inside.namespace.links().await.map_err(DataplaneError::Observe)?;
        let names = links.iter().filter_map(observe::name);
        Ok(names.filter(|name| name.starts_with(DEVICE_PREFIX)).map(str::to_owned).collect())
    }
}

/// Whether the waiting end of a veth is as it would be made anew.
fn fits(link: &LinkMessage, attach: &Attach) -> bool {
    let has = |wanted: &LinkAttribute| link.attributes.contains(wanted);
    has(&LinkAttribute::Address(attach.mac.0.to_vec())) && has(&LinkAttribute::Mtu(attach.mtu))
}

/// Puts a device on the bridge: flags before it comes up.
async fn connect(inside: &Inside, name: &str, attach: &Attach) -> Result<(), DataplaneError> {
    let namespace = &inside.namespace;
    let find = async |device: &str| {
        let found = namespace.index(device).await.map_err(failed("look for device", device))?;
        found.ok_or_else(|| DataplaneError::NoDevice { device: device.into() })
    };
    let (bridge, index) = (find(BRIDGE).await?, find(name).await?);
    let link = wanted::guest(attach.mtu);
    let steps = [
        (Message::SetLink(message::basics(index, &link, Some(bridge))), Manner::Change),
        (Message::NewLink(message::port_and_state(index, &link)), Manner::Change),
        (Message::NewNeighbour(message::forwarding(index, attach.mac)), Manner::Replace),
    ];
    for (message, manner) in steps {
        namespace.netlink.ask(message, manner).await.map_err(failed("connect device", name))?;
    }
    Ok(())
}

/// Removes a device. True when there was one.
async fn remove(namespace: &Namespace, name: &str) -> Result<bool, DataplaneError> {
    let failed = |source| failed("remove device", name)(source);
    let Some(index) = namespace.index(name).await.map_err(failed)? else { return Ok(false) };
    let request = namespace.netlink.ask(Message::DelLink(message::link(index)), Manner::Change);
    match request.await {
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(false),
        other => other.map(|()| true).map_err(failed),
    }
}
