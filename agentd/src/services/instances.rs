//! Who asks the metadata service: the instances of this host by their address.

use crate::describe;
use crate::desired::Desired;
use api::item::{Attachment, Guest};
use metadata::Instance;
use netlib::netns::{self, NetnsError};
use nix::sys::socket::{self, AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, sockopt};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

const PORT: u16 = 80;
/// Connections that wait to be accepted.
const BACKLOG: i32 = 128;

/// The instances of one network on this host by their address.
pub type Instances = HashMap<Ipv4Addr, Arc<Instance>>;

/// The service's socket could not be made.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The namespace cannot be entered.
    #[error("cannot reach the namespace")]
    Namespace(#[from] NetnsError),
    /// A call on the socket failed.
    #[error("cannot {action} the socket on {address}")]
    Socket {
        /// What was tried.
        action: &'static str,
        /// The service's address.
        address: SocketAddrV4,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Listens on port 80 of `ip` inside a namespace.
pub fn open(namespace: &Path, ip: Ipv4Addr) -> Result<tokio::net::TcpListener, OpenError> {
    let address = SocketAddrV4::new(ip, PORT);
    let listener = netns::enter(namespace, || open_here(address))??;
    let failed = |source| OpenError::Socket { action: "watch", address, source };
    tokio::net::TcpListener::from_std(std::net::TcpListener::from(listener)).map_err(failed)
}

fn open_here(address: SocketAddrV4) -> Result<OwnedFd, OpenError> {
    let failed = |action| {
        move |errno: nix::Error| OpenError::Socket { action, address, source: errno.into() }
    };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket::socket(AddressFamily::Inet, SockType::Stream, flags, None)
        .map_err(failed("make"))?;
    socket::setsockopt(&socket, sockopt::ReuseAddr, &true).map_err(failed("share"))?;
    // The address may be put back on the bridge after somebody took it away.
    socket::setsockopt(&socket, sockopt::IpFreebind, &true).map_err(failed("free"))?;
    socket::bind(socket.as_raw_fd(), &SockaddrIn::from(address)).map_err(failed("bind"))?;
    let backlog = Backlog::new(BACKLOG).map_err(failed("listen on"))?;
    socket::listen(&socket, backlog).map_err(failed("listen on"))?;
    Ok(socket)
}

/// The instances of a network on this host. A hand-run container is none: nobody described it.
pub fn of_network(vni: u32, desired: &Desired) -> Instances {
    let containers = desired.containers.values().map(|container| {
        (&container.guest, describe::container as fn(&Guest, &Desired) -> Instance)
    });
    let machines = desired
        .machines
        .values()
        .map(|machine| (&machine.guest, describe::machine as fn(&Guest, &Desired) -> Instance));
    let mut instances = Instances::new();
    for (guest, describe) in containers.chain(machines) {
        let mut addresses = addresses(guest, vni).peekable();
        if addresses.peek().is_some() {
            let instance = Arc::new(describe(guest, desired));
            instances.extend(addresses.map(|ip| (ip, instance.clone())));
        }
    }
    instances
}

fn addresses(guest: &Guest, vni: u32) -> impl Iterator<Item = Ipv4Addr> {
    guest.nics.iter().filter_map(move |nic| match nic.attachment {
        Attachment::Managed { vni: on, ip, .. } if on == vni => Some(ip),
        _ => None,
    })
}

/// Looks askers up in the newest instances.
pub fn lookup(instances: Arc<arc_swap::ArcSwap<Instances>>) -> metadata::Lookup {
    Arc::new(move |ip| match ip {
        IpAddr::V4(ip) => instances.load().get(&ip).cloned(),
        IpAddr::V6(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::networks::fixture::{GUEST, RESERVED, VNI, desired, guest};
    use api::item::{DiskImage, Machine, Presentation};

    #[test]
    fn an_asker_is_known_by_network_and_address() {
        let mut desired = desired();
        let disk = DiskImage { uuid: "u".into(), url: "http://i".into(), checksum: None };
        let guest = guest("1i5");
        let machine = Machine { guest, disk, presentation: Presentation::ConfigDrive };
        desired.machines.insert("uuid-1i5".into(), machine);
        let of = |vni| lookup(Arc::new(arc_swap::ArcSwap::from_pointee(of_network(vni, &desired))));
        assert_eq!(of(VNI)(GUEST.into()).unwrap().id, "1i5");
        assert!(of(VNI)(RESERVED.into()).is_none());
        assert!(of(VNI + 1)(GUEST.into()).is_none());
    }
}
