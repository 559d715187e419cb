//! The HTTP service: connections in, [`respond`]'s answers out.
//!
//! It knows who asks by the address a connection comes from; the network's guards see to it that
//! nobody has another's. Connections are bounded in number, in all and per guest, and in time, so
//! that no guest can use up the daemon's file descriptors.

use crate::instance::Instance;
use crate::respond::{Method, Reply, Request, respond};
use crate::token::{KeyError, Tokens};
use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, SERVER};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Who asks from an address; `None` for an address that nobody has.
pub type Lookup = Arc<dyn Fn(IpAddr) -> Option<Arc<Instance>> + Send + Sync>;

/// Connections of one network, and of one guest in it.
const CONNECTIONS: usize = 256;
const CONNECTIONS_OF_ONE: usize = 32;
/// How long a guest may take to say what it wants, and to take it.
const HEADER_TIME: Duration = Duration::from_secs(5);
const CONNECTION_TIME: Duration = Duration::from_secs(60);
/// The most that is kept of a request that has not ended. In bytes.
const LARGEST_HEADER: usize = 16 << 10;
/// Pause after a failure to accept, which is nearly always a lack of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

const TOKEN: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token");
const TOKEN_LIFE: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token-ttl-seconds");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// What EC2's own service calls itself; old guests look for it.
const SERVER_NAME: HeaderValue = HeaderValue::from_static("EC2ws");

/// The service could not begin.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// No key for session tokens.
    #[error("cannot serve metadata")]
    Key(#[from] KeyError),
}

/// What all connections share.
struct Service {
    lookup: Lookup,
    tokens: Tokens,
    started: Instant,
}

/// Answers what comes in by `listener` until dropped. `lookup` is asked for every request, so that
/// a change shows at once.
///
/// # Errors
/// When there is no randomness for session tokens.
pub async fn serve(listener: TcpListener, lookup: Lookup) -> Result<Infallible, ServeError> {
    let service = Arc::new(Service { lookup, tokens: Tokens::new()?, started: Instant::now() });
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
                    let peer = peer.ip().to_canonical();
                    let own = open.entry(peer).or_default();
                    if connections.len() < CONNECTIONS && *own < CONNECTIONS_OF_ONE {
                        *own += 1;
                        connections.spawn(converse(stream, peer, service.clone()));
                    } else if *own == 0 {
                        open.remove(&peer);
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a metadata connection");
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

/// Serves one connection until it ends or its time is up.
async fn converse(stream: TcpStream, peer: IpAddr, service: Arc<Service>) -> IpAddr {
    match Hops::of(&stream) {
        Ok(hops) => {
            let answer = service_fn(|request| {
                let reply = service.answer(peer, &request, &hops);
                async move { Ok::<_, Infallible>(reply) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .title_case_headers(true)
                .header_read_timeout(HEADER_TIME)
                .max_buf_size(LARGEST_HEADER)
                .serve_connection(TokioIo::new(stream), answer);
            let ended = tokio::time::timeout(CONNECTION_TIME, connection).await;
            if let Ok(Err(error)) = ended {
                tracing::debug!(%peer, %error, "a metadata connection ended");
            }
        }
        Err(error) => tracing::warn!(%peer, %error, "cannot watch over a metadata connection"),
    }
    peer
}

impl Service {
    fn answer(
        &self,
        peer: IpAddr,
        request: &http::Request<Incoming>,
        hops: &Hops,
    ) -> http::Response<Full<Bytes>> {
        let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
        let target = request.uri().path_and_query().map_or("", |target| target.as_str());
        let request = Request {
            method: match *request.method() {
                http::Method::GET | http::Method::HEAD => Method::Get,
                http::Method::PUT => Method::Put,
                _ => Method::Other,
            },
            target,
            // A token that is no text is a wrong token, not a missing one.
            token: request.headers().get(TOKEN).map(|value| value.to_str().unwrap_or_default()),
            token_life: text(TOKEN_LIFE),
            forwarded: request.headers().contains_key(FORWARDED_FOR),
        };
        let instance = (self.lookup)(peer);
        let reply = respond(instance.as_deref(), &self.tokens, self.started.elapsed(), &request);
        if reply.token_life.is_some()
            && let Err(error) = hops.limit_to_one()
        {
            tracing::warn!(%peer, %error, "cannot keep a session token to its guest");
            return response(Reply::unavailable());
        }
        response(reply)
    }
}

fn response(reply: Reply) -> http::Response<Full<Bytes>> {
    let status =
        http::StatusCode::from_u16(reply.status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = http::Response::new(Full::new(Bytes::from(reply.body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(SERVER, SERVER_NAME);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(reply.content_type));
    if let Some(location) = reply.location.and_then(|text| HeaderValue::try_from(text).ok()) {
        headers.insert(LOCATION, location);
    }
    if let Some(life) = reply.token_life {
        headers.insert(TOKEN_LIFE, HeaderValue::from(life));
        // The connection's packets do not travel any more: nothing else should go by it.
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// A second hold on a connection's socket, to say how far its packets may travel.
struct Hops(std::net::TcpStream);

impl Hops {
    fn of(stream: &TcpStream) -> io::Result<Self> {
        Ok(Self(stream.as_fd().try_clone_to_owned()?.into()))
    }

    /// From now on packets end at the next router: a guest that forwards others' connections
    /// hands no token on to them.
    fn limit_to_one(&self) -> io::Result<()> {
        self.0.set_ttl(1)
    }
}

#[cfg(test)]
mod tests;
