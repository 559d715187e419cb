//! The DNS server's connections: bounded in number, per guest, and in time.
//!
//! A guest must not be able to use up the daemon's file descriptors or another guest's share, so
//! connections beyond the bounds are closed at once; a guest's source address cannot be forged
//! here, for the network's guards check it. The library's own listener takes any number, so only
//! what happens on a connection is the library's.

use super::handler::Handler;
use futures_util::StreamExt;
use hickory_proto::op::MessageType;
use hickory_server::net::runtime::TokioTime;
use hickory_server::net::runtime::iocompat::AsyncIoTokioAsStd;
use hickory_server::net::tcp;
use hickory_server::net::xfer::Protocol;
use hickory_server::server::{Request, RequestHandler, ResponseHandle, TimeoutStream};
use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{Id, JoinSet};

/// Connections of one network, and of one guest in it.
const CONNECTIONS: usize = 128;
const CONNECTIONS_OF_ONE: usize = 16;
/// How long a guest may take for its next question, or for taking an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Pause after a failure to accept, which is nearly always a lack of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);
/// Answers that wait to be sent: a connection's questions are answered one after the other.
const WAITING: usize = 1;

/// A network's connections.
pub(super) struct Connections {
    tasks: JoinSet<()>,
    /// Whose connection a task carries.
    guests: HashMap<Id, IpAddr>,
}

impl Connections {
    pub(super) fn new() -> Self {
        Self { tasks: JoinSet::new(), guests: HashMap::new() }
    }

    /// Answers what comes in by `listener` until dropped.
    pub(super) async fn accept(&mut self, listener: &TcpListener, handler: &Handler) -> Infallible {
        loop {
            tokio::select! {
                Some(ended) = self.tasks.join_next_with_id() => {
                    let id = ended.map_or_else(|error| error.id(), |(id, ())| id);
                    self.guests.remove(&id);
                }
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => self.open(stream, peer, handler),
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a DNS connection");
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
        }
    }

    /// Closes all connections; none is open any more when this returns.
    pub(super) async fn close(&mut self) {
        self.tasks.shutdown().await;
        self.guests.clear();
    }

    fn open(&mut self, stream: TcpStream, peer: SocketAddr, handler: &Handler) {
        let own = self.guests.values().filter(|guest| **guest == peer.ip()).count();
        if self.guests.len() < CONNECTIONS && own < CONNECTIONS_OF_ONE {
            let task = self.tasks.spawn(converse(stream, peer, handler.clone()));
            self.guests.insert(task.id(), peer.ip());
        }
    }
}

/// Answers one guest's questions in turn until it ends, dawdles or talks nonsense.
async fn converse(stream: TcpStream, peer: SocketAddr, handler: Handler) {
    let stream = AsyncIoTokioAsStd(stream);
    let (stream, answers) = tcp::TcpStream::from_stream_with_buffer_size(stream, peer, WAITING);
    let mut questions = TimeoutStream::new(stream, PATIENCE);
    while let Some(message) = questions.next().await {
        let (bytes, _) = match message {
            Ok(message) => message.into_parts(),
            Err(error) => {
                tracing::debug!(%peer, %error, "a DNS connection ended");
                return;
            }
        };
        let way_back = ResponseHandle::new(peer, answers.clone(), Protocol::Tcp);
        match Request::from_bytes(bytes, peer, Protocol::Tcp) {
            Ok(request) if request.metadata.message_type == MessageType::Query => {
                handler.handle_request::<_, TokioTime>(&request, way_back).await;
            }
            _ => return,
        }
    }
}
