//! The DHCP server's socket and its loop.
//!
//! The socket is made inside the network's namespace and bound to the bridge; the loop runs
//! anywhere. The loop answers one packet after the other: an answer takes microseconds of memory
//! look-ups and never waits for anything but room in the socket.

use super::answer::{Reply, SERVER_PORT, answer};
use super::view::View;
use crate::names::BRIDGE;
use crate::netns::{self, NetnsError};
use arc_swap::ArcSwap;
use nix::sys::socket::{
    self, AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, SockaddrIn, sockopt,
};
use std::convert::Infallible;
use std::ffi::OsString;
use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use tokio::io::Interest;

/// An Ethernet frame's payload: no DHCP packet of a guest is larger.
const LARGEST_REQUEST: usize = 1500;

/// The socket could not be made.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The namespace is not there or cannot be entered.
    #[error("cannot reach the namespace of the DHCP server")]
    Namespace(#[from] NetnsError),
    /// A call on the socket failed.
    #[error("cannot {action} the DHCP server's socket on {BRIDGE}")]
    Socket {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

/// The server ended because its socket broke.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} the DHCP server's socket")]
pub struct ServeError {
    action: &'static str,
    #[source]
    source: io::Error,
}

/// Opens the server's socket inside `namespace`, on port 67 of the bridge.
///
/// # Errors
/// When the namespace or the bridge is not there, or the port is taken.
pub fn open(namespace: &Path) -> Result<UdpSocket, OpenError> {
    netns::enter(namespace, open_here)?
}

fn open_here() -> Result<UdpSocket, OpenError> {
    fn failed(action: &'static str) -> impl FnOnce(nix::Error) -> OpenError {
        move |errno| OpenError::Socket { action, source: errno.into() }
    }
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket: OwnedFd = socket::socket(AddressFamily::Inet, SockType::Datagram, flags, None)
        .map_err(failed("make"))?;
    socket::setsockopt(&socket, sockopt::ReuseAddr, &true).map_err(failed("share"))?;
    socket::setsockopt(&socket, sockopt::Broadcast, &true).map_err(failed("allow broadcast on"))?;
    // Bound to the bridge: other devices of the namespace lead to root and to other hosts.
    socket::setsockopt(&socket, sockopt::BindToDevice, &OsString::from(BRIDGE))
        .map_err(failed("tie to the bridge"))?;
    let address = SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, SERVER_PORT));
    socket::bind(socket.as_raw_fd(), &address).map_err(failed("bind"))?;
    Ok(UdpSocket::from(socket))
}

/// Answers what comes in on `socket`, always out of the newest `view`, until dropped.
///
/// # Errors
/// When the socket cannot be used at all; a packet that cannot be read or sent is only logged.
pub async fn serve(socket: UdpSocket, view: Arc<ArcSwap<View>>) -> Result<Infallible, ServeError> {
    let failed = |action| move |source| ServeError { action, source };
    socket.set_nonblocking(true).map_err(failed("prepare"))?;
    let socket = tokio::net::UdpSocket::from_std(socket).map_err(failed("watch"))?;
    let mut buffer = [0; LARGEST_REQUEST];
    loop {
        let length = match socket.recv_from(&mut buffer).await {
            Ok((length, _)) => length,
            Err(source) if is_passing(&source) => continue,
            Err(source) => return Err(failed("read from")(source)),
        };
        let view = view.load();
        let Some(reply) = answer(&view, &buffer[..length]) else { continue };
        let source = view.settings().gateway;
        if let Err(error) = send(&socket, source, &reply).await {
            tracing::warn!(destination = %reply.destination, %error, "cannot send a DHCP answer");
        }
    }
}

/// Errors that an earlier answer left on the socket, by ICMP or by a link that went down.
fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionRefused, HostUnreachable, Interrupted, NetworkDown, NetworkUnreachable,
        WouldBlock,
    };
    matches!(
        error.kind(),
        ConnectionRefused
            | HostUnreachable
            | Interrupted
            | NetworkDown
            | NetworkUnreachable
            | WouldBlock
    )
}

async fn send(socket: &tokio::net::UdpSocket, source: Ipv4Addr, reply: &Reply) -> io::Result<()> {
    socket.async_io(Interest::WRITABLE, || send_whole(socket, source, reply)).await
}

/// Sends one datagram from `source` with its UDP checksum worked out in software.
///
/// Guests' devices claim checksum offload, so the kernel would leave the sum to hardware that does
/// not exist; a DHCP client that reads raw frames then drops the answer. A datagram that is begun
/// with "more follows" may not be offloaded, so the kernel sums it up when the empty second part
/// completes it (`__ip_append_data`, `udp_send_skb`).
fn send_whole(socket: &impl AsRawFd, source: Ipv4Addr, reply: &Reply) -> io::Result<()> {
    let from = libc::in_pktinfo {
        ipi_ifindex: 0,
        ipi_spec_dst: libc::in_addr { s_addr: u32::from(source).to_be() },
        ipi_addr: libc::in_addr { s_addr: 0 },
    };
    let to = SockaddrIn::from(reply.destination);
    let descriptor = socket.as_raw_fd();
    let control = [ControlMessage::Ipv4PacketInfo(&from)];
    let bytes = [IoSlice::new(&reply.bytes)];
    let more = MsgFlags::from_bits_retain(libc::MSG_MORE);
    socket::sendmsg(descriptor, &bytes, &control, more, Some(&to))?;
    socket::send(descriptor, &[], MsgFlags::empty())?;
    Ok(())
}

#[cfg(test)]
mod tests;
