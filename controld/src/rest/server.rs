//! The listener: connections in, answers out.
//!
//! An own accept loop rather than warp's, since connections are bounded, slow ones time out, and a
//! shutdown waits for what is being answered.

use super::fault::Fault;
use super::handle::{self, Head};
use super::metrics::Requests;
use super::request::Reply;
use crate::core::{Caller, Core};
use bytes::Buf;
use futures_util::Stream;
use http::header::{CACHE_CONTROL, HeaderName, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, Method};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::path::FullPath;
use warp::reply::Response;

/// Most connections at a time.
const CONNECTIONS: usize = 1024;

/// How long a request's head may take, also the first one's of a connection.
const HEAD_DEADLINE: Duration = Duration::from_secs(30);

/// How long a shutdown waits for answers.
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(5);

/// Pause after a failed accept, which is mostly for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const SCHEMAS_HEADER: HeaderName = HeaderName::from_static("x-api-schemas");

/// How the API is served.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whom everybody who asks is taken for; without it nobody is let in.
    pub everybody: Option<Caller>,
    /// Names and addresses besides loopback by which this server may be called, without port.
    pub hosts: Vec<String>,
    /// Whether `X-Forwarded-Host` and `-Proto` of a proxy in front are believed.
    pub forwarded: bool,
    /// `name:port` for the URLs in answers to those who called by a wrong name.
    pub fallback: String,
}

/// What all requests share.
pub struct Shared {
    /// The cloud.
    pub core: Core,
    /// How the API is served.
    pub options: Options,
    /// Answers so far.
    pub requests: Requests,
    /// Becomes true when the server ends, for those who wait.
    pub ending: watch::Receiver<bool>,
}

/// The whole API as a warp filter.
fn routes(shared: Arc<Shared>) -> BoxedFilter<(Response,)> {
    warp::method()
        .and(warp::path::full())
        .and(warp::query::raw().or(warp::any().map(String::new)).unify())
        .and(warp::header::headers_cloned())
        .and(warp::body::stream())
        .then(move |method: Method, path: FullPath, query: String, headers: HeaderMap, body| {
            let head = Head { method, path: path.as_str().to_owned(), query, headers };
            respond(Arc::clone(&shared), head, body)
        })
        .boxed()
}

/// Answers every request with something. The work is a task of its own: a write is not left
/// half-way when the client goes, and a panic is an answer like any other.
async fn respond<S, B>(shared: Arc<Shared>, head: Head, body: S) -> Response
where
    S: Stream<Item = Result<B, warp::Error>> + Send + 'static,
    B: Buf + Send,
{
    let started = Instant::now();
    let _open = shared.requests.open();
    let (method, path) = (head.method.clone(), head.path.clone());
    let own = handle::base(&shared, &head.headers);
    let base = own.clone().unwrap_or_else(|_| format!("http://{}/v1", shared.options.fallback));
    let outcome = match own {
        Ok(base) => {
            let shared = Arc::clone(&shared);
            let work = async move { handle::answer(&shared, head, base, body).await };
            tokio::spawn(work).await.unwrap_or(Err(Fault::Internal))
        }
        Err(fault) => Err(fault),
    };
    let reply = outcome.unwrap_or_else(|fault| {
        let id = uuid::Uuid::new_v4().simple().to_string();
        if fault.status().is_server_error() {
            tracing::error!(%id, %method, path, %fault, "request failed");
        }
        fault.reply(&id)
    });
    shared.requests.count(reply.status);
    // The query stays out of the log: old command lines put secrets there.
    let elapsed = started.elapsed();
    tracing::debug!(%method, path, status = reply.status.as_u16(), ?elapsed, "answered");
    finish(reply, &base)
}

fn finish(reply: Reply, base: &str) -> Response {
    let reply = reply
        .header(SCHEMAS_HEADER, &format!("{base}/schemas"))
        .header(X_CONTENT_TYPE_OPTIONS, "nosniff")
        .header(CACHE_CONTROL, "no-store");
    let mut response = Response::new(reply.body.into());
    *response.status_mut() = reply.status;
    *response.headers_mut() = reply.headers;
    response
}

/// Serves the API until `shutdown` is ready, then finishes what is being answered.
pub async fn serve(
    listener: TcpListener,
    core: Core,
    options: Options,
    shutdown: impl Future<Output = ()>,
) {
    let (end, ending) = watch::channel(false);
    let routes = routes(Arc::new(Shared { core, options, requests: Requests::default(), ending }));
    let graceful = GracefulShutdown::new();
    let free = Arc::new(Semaphore::new(CONNECTIONS));
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &free) => accepted,
            () = &mut shutdown => break,
        };
        let Some((stream, place)) = accepted else { continue };
        let service = TowerToHyperService::new(warp::service(routes.clone()));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_DEADLINE)
            .serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection broke off");
            }
            drop(place);
        });
    }
    drop(listener);
    end.send_replace(true);
    if tokio::time::timeout(SHUTDOWN_DEADLINE, graceful.shutdown()).await.is_err() {
        tracing::warn!("some requests were not finished at shutdown");
    }
}

/// The next connection, once there is a place for it.
async fn accept(
    listener: &TcpListener,
    free: &Arc<Semaphore>,
) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(free).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => {
            // Answers are written whole; waiting to fill packets only delays them.
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "cannot set TCP_NODELAY on a connection");
            }
            Some((stream, place))
        }
        Err(error) => {
            tracing::warn!(%error, "cannot accept a connection");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::Settings;
    use bytes::Bytes;
    use http::HeaderValue;
    use http::header::HOST;
    use http_body_util::BodyExt;

    #[tokio::test]
    async fn a_panic_is_answered_in_json_and_counted() {
        let data = tempfile::tempdir().unwrap();
        let core = Core::open(data.path(), Settings::default()).await.unwrap();
        let everybody = Some(core.admin());
        let fallback = "localhost:9080".to_owned();
        let options = Options { everybody, hosts: Vec::new(), forwarded: false, fallback };
        let (_end, ending) = watch::channel(false);
        let shared = Arc::new(Shared { core, options, requests: Requests::default(), ending });
        let headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static("localhost"))]);
        let head = Head {
            method: Method::POST,
            path: "/v1/networks".into(),
            query: String::new(),
            headers,
        };
        let body =
            futures_util::stream::poll_fn(|_| -> std::task::Poll<Option<Result<Bytes, _>>> {
                panic!("a defect")
            });
        let response = respond(Arc::clone(&shared), head, body).await;
        assert_eq!(response.status(), 500);
        assert_eq!(response.headers()["x-api-schemas"], "http://localhost/v1/schemas");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((&body["status"], &body["code"]), (&500.into(), &"ServerError".into()));
        let metrics = crate::rest::metrics::reply(&shared.core, &shared.requests);
        assert!(metrics.body.contains("stampede_requests_total{status=\"500\"} 1"));
    }
}
