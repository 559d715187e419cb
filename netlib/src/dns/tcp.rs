//! The DNS server's loop over connections: bounded in number, per guest, and in time.
//!
//! A guest must not be able to use up the daemon's file descriptors or another guest's share, so
//! connections beyond the bounds are closed at once; a guest's source address cannot be forged
//! here, for the network's guards check it.

use super::message::Transport;
use super::server::{Answerer, AtOnce, ServeError};
use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Connections of one network, and of one guest in it.
const CONNECTIONS: usize = 128;
const CONNECTIONS_OF_ONE: usize = 16;
/// How long a guest may take for its next question, or for taking an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Pause after a failure to accept, which is nearly always a lack of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Answers what comes in by `listener` until dropped.
pub(super) async fn serve(
    listener: TcpListener,
    answerer: Arc<Answerer>,
) -> Result<Infallible, ServeError> {
    let mut connections = JoinSet::new();
    let mut open: HashMap<IpAddr, usize> = HashMap::new();
    loop {
        tokio::select! {
            Some(ended) = connections.join_next() => {
                if let Ok(peer) = ended {
                    close(&mut open, peer);
                }
            }
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let own = open.entry(peer.ip()).or_default();
                    if connections.len() < CONNECTIONS && *own < CONNECTIONS_OF_ONE {
                        *own += 1;
                        connections.spawn(converse(stream, peer, answerer.clone()));
                    } else if *own == 0 {
                        open.remove(&peer.ip());
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a DNS connection");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

fn close(open: &mut HashMap<IpAddr, usize>, peer: IpAddr) {
    if let Some(own) = open.get_mut(&peer) {
        *own -= 1;
        if *own == 0 {
            open.remove(&peer);
        }
    }
}

/// Answers one guest's questions in turn until it ends, dawdles or talks nonsense.
async fn converse(mut stream: TcpStream, peer: SocketAddr, answerer: Arc<Answerer>) -> IpAddr {
    loop {
        match exchange(&mut stream, &answerer).await {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => {
                tracing::debug!(%peer, %error, "a DNS connection ended");
                break;
            }
        }
    }
    peer.ip()
}

/// One question and its answer; false when the connection is to be closed.
async fn exchange(stream: &mut TcpStream, answerer: &Answerer) -> io::Result<bool> {
    let question = tokio::time::timeout(PATIENCE, read(stream)).await??;
    let answer = match answerer.at_once(&question, Transport::Tcp) {
        AtOnce::Bytes(bytes) => Some(bytes),
        AtOnce::Ask(question) => answerer.forward(&question, Transport::Tcp).await,
        AtOnce::Nothing => None,
    };
    let Some(mut bytes) = answer else { return Ok(false) };
    let length = u16::try_from(bytes.len()).map_err(io::Error::other)?;
    // One write: length and message should travel together (RFC 7766, section 8).
    bytes.splice(..0, length.to_be_bytes());
    tokio::time::timeout(PATIENCE, stream.write_all(&bytes)).await??;
    Ok(true)
}

async fn read(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut bytes = vec![0; usize::from(length)];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}
