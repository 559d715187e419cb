//! The DNS server's sockets and its loop over datagrams.
//!
//! The sockets are made inside the network's namespace on the gateway's address; the loops run
//! anywhere, and questions that are forwarded leave from the namespace they run in. Own answers
//! are written at once, by the loop itself; forwarded questions get a task each.

use super::answer::answer;
use super::forward::Forwarder;
use super::message::{Incoming, Question, Response, Transport};
use super::tcp;
use super::view::View;
use crate::netns::{self, NetnsError};
use arc_swap::ArcSwap;
use hickory_proto::op::ResponseCode;
use nix::sys::socket::{self, AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, sockopt};
use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use tokio::task::JoinSet;

const PORT: u16 = 53;
/// No question is larger than an Ethernet frame's payload.
const LARGEST_QUESTION: usize = 1500;
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
#[error("cannot {action} the DNS server's socket")]
pub struct ServeError {
    pub(super) action: &'static str,
    #[source]
    pub(super) source: io::Error,
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

/// Answers what comes in on `sockets`, always out of the newest `view`, until dropped.
///
/// # Errors
/// When a socket cannot be used at all.
pub async fn serve(sockets: Sockets, view: Arc<ArcSwap<View>>) -> Result<Infallible, ServeError> {
    let failed = |action| move |source| ServeError { action, source };
    sockets.udp.set_nonblocking(true).map_err(failed("prepare"))?;
    sockets.tcp.set_nonblocking(true).map_err(failed("prepare"))?;
    let udp = tokio::net::UdpSocket::from_std(sockets.udp).map_err(failed("watch"))?;
    let tcp = tokio::net::TcpListener::from_std(sockets.tcp).map_err(failed("watch"))?;
    let answerer = Arc::new(Answerer { view, forwarder: Forwarder::new() });
    tokio::select! {
        ended = serve_datagrams(Arc::new(udp), answerer.clone()) => ended,
        ended = tcp::serve(tcp, answerer) => ended,
    }
}

async fn serve_datagrams(
    socket: Arc<tokio::net::UdpSocket>,
    answerer: Arc<Answerer>,
) -> Result<Infallible, ServeError> {
    let mut buffer = [0; LARGEST_QUESTION];
    let mut forwarded = JoinSet::new();
    loop {
        while forwarded.try_join_next().is_some() {}
        let (length, peer) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(error) if is_passing(&error) => continue,
            Err(source) => return Err(ServeError { action: "read from", source }),
        };
        match answerer.at_once(&buffer[..length], Transport::Udp) {
            AtOnce::Bytes(bytes) => send(&socket, peer, &bytes).await,
            AtOnce::Nothing => {}
            AtOnce::Ask(question) => {
                let (socket, answerer) = (socket.clone(), answerer.clone());
                forwarded.spawn(async move {
                    if let Some(bytes) = answerer.forward(&question, Transport::Udp).await {
                        send(&socket, peer, &bytes).await;
                    }
                });
            }
        }
    }
}

/// Errors that an earlier answer left on the socket.
fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionRefused, HostUnreachable, Interrupted, NetworkDown, NetworkUnreachable,
    };
    matches!(
        error.kind(),
        ConnectionRefused | HostUnreachable | Interrupted | NetworkDown | NetworkUnreachable
    )
}

async fn send(socket: &tokio::net::UdpSocket, peer: SocketAddr, bytes: &[u8]) {
    if let Err(error) = socket.send_to(bytes, peer).await {
        tracing::debug!(%peer, %error, "cannot send a DNS answer");
    }
}

/// Answers questions, however they came.
pub(super) struct Answerer {
    view: Arc<ArcSwap<View>>,
    forwarder: Forwarder,
}

/// What can be done about a message without asking others.
pub(super) enum AtOnce {
    /// Send this.
    Bytes(Vec<u8>),
    /// Ask others, then send what [`Answerer::forward`] gives.
    Ask(Box<Question>),
    /// Stay silent.
    Nothing,
}

impl Answerer {
    pub(super) fn at_once(&self, bytes: &[u8], transport: Transport) -> AtOnce {
        let question = match Incoming::read(bytes) {
            Incoming::Question(question) => question,
            Incoming::Wrong(bytes) => return AtOnce::Bytes(bytes),
            Incoming::Noise => return AtOnce::Nothing,
        };
        let Some(response) = Response::of(answer(&self.view.load(), &question.query)) else {
            return AtOnce::Ask(question);
        };
        question.write(response, transport).map_or(AtOnce::Nothing, AtOnce::Bytes)
    }

    pub(super) async fn forward(
        &self,
        question: &Question,
        transport: Transport,
    ) -> Option<Vec<u8>> {
        let upstreams = self.view.load().upstreams().clone();
        let response = self.forwarder.ask(&upstreams, &question.query).await;
        question
            .write(response, transport)
            .or_else(|| question.write(Response::bare(ResponseCode::ServFail), transport))
    }
}

#[cfg(test)]
mod tests;
