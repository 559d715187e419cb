//! The DNS server's sockets and its life.
//!
//! The sockets are made inside the network's namespace on the gateway's address; the server runs
//! anywhere, and questions that are forwarded leave from the namespace it runs in. Datagrams are
//! the library's business; connections have bounds of our own.

use super::handler::Handler;
use super::tcp::Connections;
use super::view::View;
use crate::netns::{self, NetnsError};
use arc_swap::ArcSwap;
use hickory_server::Server;
use hickory_server::net::NetError;
use nix::sys::socket::{self, AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, sockopt};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

const PORT: u16 = 53;
/// Connections that wait to be accepted.
const BACKLOG: i32 = 128;

/// The sockets could not be made.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The namespace is not there or cannot be entered.
    #[error("cannot reach the namespace of the DNS server")]
    Namespace(#[from] NetnsError),
    /// A call on a socket failed.
    #[error("cannot {action} the DNS server's socket on {address}")]
    Socket {
        /// What was tried.
        action: &'static str,
        /// The server's address.
        address: SocketAddrV4,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

/// The server ended because a socket broke.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A socket cannot be used at all.
    #[error("cannot {action} the DNS server's socket")]
    Socket {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// Datagrams can no longer be read or answered.
    #[error("cannot go on answering DNS datagrams")]
    Datagrams(#[from] NetError),
}

/// Where questions come in.
#[derive(Debug)]
pub struct Sockets {
    /// Datagrams.
    pub udp: UdpSocket,
    /// Connections.
    pub tcp: TcpListener,
}

/// Opens port 53 of `gateway` inside `namespace`. The address need not be there yet.
///
/// # Errors
/// When the namespace is not there or the port is taken.
pub fn open(namespace: &Path, gateway: Ipv4Addr) -> Result<Sockets, OpenError> {
    netns::enter(namespace, || open_here(SocketAddrV4::new(gateway, PORT)))?
}

fn open_here(address: SocketAddrV4) -> Result<Sockets, OpenError> {
    let failed = |action| {
        move |errno: nix::Error| OpenError::Socket { action, address, source: errno.into() }
    };
    let bound = |kind| -> Result<OwnedFd, OpenError> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket =
            socket::socket(AddressFamily::Inet, kind, flags, None).map_err(failed("make"))?;
        socket::setsockopt(&socket, sockopt::ReuseAddr, &true).map_err(failed("share"))?;
        // The bridge gets its address when its time comes, and may lose and get it again.
        socket::setsockopt(&socket, sockopt::IpFreebind, &true).map_err(failed("free"))?;
        socket::bind(socket.as_raw_fd(), &SockaddrIn::from(address)).map_err(failed("bind"))?;
        Ok(socket)
    };
    let udp = bound(SockType::Datagram)?;
    let tcp = bound(SockType::Stream)?;
    let backlog = Backlog::new(BACKLOG).map_err(failed("listen on"))?;
    socket::listen(&tcp, backlog).map_err(failed("listen on"))?;
    Ok(Sockets { udp: udp.into(), tcp: tcp.into() })
}

/// Answers what comes in on `sockets`, always out of the newest `view`, until `stop` is there. All
/// sockets are closed when this returns; when it is dropped instead, a moment later.
///
/// # Errors
/// When a socket cannot be used at all.
pub async fn serve(
    sockets: Sockets,
    view: Arc<ArcSwap<View>>,
    stop: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let failed = |action| move |source| ServeError::Socket { action, source };
    sockets.udp.set_nonblocking(true).map_err(failed("prepare"))?;
    sockets.tcp.set_nonblocking(true).map_err(failed("prepare"))?;
    let udp = tokio::net::UdpSocket::from_std(sockets.udp).map_err(failed("watch"))?;
    let tcp = tokio::net::TcpListener::from_std(sockets.tcp).map_err(failed("watch"))?;
    let handler = Handler::new(view);
    let mut datagrams = Server::new(handler.clone());
    datagrams.register_socket(udp);
    let mut connections = Connections::new();
    tokio::select! {
        ended = datagrams.block_until_done() => return Ok(ended?),
        never = connections.accept(&tcp, &handler) => match never {},
        () = stop => {}
    }
    connections.close().await;
    Ok(datagrams.shutdown_gracefully().await?)
}

#[cfg(test)]
mod tests;
