//! Docker's way to its network driver: HTTP on a Unix socket in the plugins' folder.
//!
//! Every call is a POST of JSON to `/<Interface>.<Method>`. A refusal is a text which Docker shows to
//! its user. Owns the socket; what is answered is [`super::network_driver`]'s.
//! Source: Docker's "Plugin API" and libnetwork's `docs/remote.md` and `docs/ipam.md`.

use super::network_driver::{DriverError, NetworkDriver};
use super::protocol::{Interface, RequestPool};
use crate::desired::chain;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

/// The driver's name towards Docker, and the socket's.
pub const DRIVER: &str = "stampede";
const CONTENT_TYPE: &str = "application/vnd.docker.plugins.v1.2+json";
/// Every answer is given within this time.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
const MAXIMUM_BODY: usize = 1 << 20;
const MAXIMUM_CONNECTIONS: usize = 64;

/// A plugin socket that could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}", path.display())]
pub struct PluginError {
    action: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// The open plugin socket. Dropping it ends the service and leaves the file, so that Docker waits
/// for the next agentd instead of failing at once.
pub struct Plugin {
    accepting: tokio::task::JoinHandle<()>,
}

impl Drop for Plugin {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Plugin {
    /// Opens the socket in `folder` and answers Docker's calls.
    ///
    /// # Errors
    /// When the folder or the socket cannot be made.
    pub fn open(folder: &Path, driver: NetworkDriver) -> Result<Self, PluginError> {
        let listener = listen(folder)?;
        let accepting = tokio::spawn(accept(listener, Arc::new(driver)));
        Ok(Self { accepting })
    }
}

/// Where the socket is.
#[must_use]
pub fn socket_path(folder: &Path) -> PathBuf {
    folder.join(format!("{DRIVER}.sock"))
}

fn listen(folder: &Path) -> Result<UnixListener, PluginError> {
    let failed = |action, path: &Path| {
        let path = path.to_owned();
        move |source| PluginError { action, path, source }
    };
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(folder).map_err(failed("make folder", folder))?;
    // Bound beside its place and renamed into it: Docker never meets a socket that does not answer
    // yet, nor one that others may write to.
    let path = socket_path(folder);
    let fresh = folder.join(format!(".{DRIVER}.new"));
    match std::fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(failed("remove", &fresh)(error));
        }
        _ => {}
    }
    let listener = UnixListener::bind(&fresh).map_err(failed("listen on", &fresh))?;
    let only_root = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(&fresh, only_root).map_err(failed("protect", &fresh))?;
    std::fs::rename(&fresh, &path).map_err(failed("put in place", &path))?;
    Ok(listener)
}

async fn accept(listener: UnixListener, driver: Arc<NetworkDriver>) {
    // Connections end with the service: Docker keeps them open and must meet the next agentd.
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        if connections.len() >= MAXIMUM_CONNECTIONS {
            connections.join_next().await;
        }
        match listener.accept().await {
            Ok((stream, _)) => {
                connections.spawn(serve(stream, driver.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection from Docker");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(stream: UnixStream, driver: Arc<NetworkDriver>) {
    let service = service_fn(move |request| {
        let driver = driver.clone();
        async move { Ok::<_, Infallible>(answer(request, &driver).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(600))
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!(error = chain(&error), "a connection from Docker ended");
    }
}

/// Why a call was not even understood.
#[derive(Debug, thiserror::Error)]
enum CallError {
    #[error("cannot read the body of {0}")]
    Body(String, #[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("cannot understand the body of {0}")]
    Json(String, #[source] serde_json::Error),
    #[error("cannot answer {0}: no such method")]
    NoSuchMethod(String),
    #[error("cannot answer {0} within 5 s")]
    TooLate(String),
    #[error(transparent)]
    Driver(#[from] DriverError),
}

async fn answer(request: Request<Incoming>, driver: &NetworkDriver) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    let started = std::time::Instant::now();
    let outcome = tokio::time::timeout(ANSWER_WITHIN, call(request, &path, driver)).await;
    let outcome = outcome.unwrap_or_else(|_| Err(CallError::TooLate(path.clone())));
    let (status, body) = match outcome {
        Ok(value) => (StatusCode::OK, value),
        Err(error) => {
            let message = chain(&error);
            tracing::warn!(call = path, error = message, "refused a call from Docker");
            let status = match error {
                CallError::NoSuchMethod(_) => StatusCode::NOT_FOUND,
                CallError::Driver(_) | CallError::TooLate(_) => StatusCode::OK,
                CallError::Body(..) | CallError::Json(..) => StatusCode::BAD_REQUEST,
            };
            // libnetwork reads `Err` from network drivers and `Error` from IPAM drivers.
            (status, json!({ "Err": message, "Error": message }))
        }
    };
    tracing::debug!(call = path, micros = started.elapsed().as_micros(), "answered Docker");
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = status;
    let content_type = http::HeaderValue::from_static(CONTENT_TYPE);
    response.headers_mut().insert(http::header::CONTENT_TYPE, content_type);
    response
}

async fn call(
    request: Request<Incoming>,
    path: &str,
    driver: &NetworkDriver,
) -> Result<Value, CallError> {
    if request.method() != Method::POST {
        return Err(CallError::NoSuchMethod(format!("{} {path}", request.method())));
    }
    let body = Limited::new(request.into_body(), MAXIMUM_BODY).collect().await;
    let body = body.map_err(|error| CallError::Body(path.into(), error))?.to_bytes();
    match path.strip_prefix('/').and_then(|path| path.split_once('.')) {
        Some(("Plugin", "Activate")) => {
            Ok(json!({ "Implements": ["NetworkDriver", "IpamDriver"] }))
        }
        Some(("NetworkDriver", method)) => network_call(method, path, &body, driver).await,
        Some(("IpamDriver", method)) => ipam_call(method, path, &body, driver).await,
        _ => Err(CallError::NoSuchMethod(path.into())),
    }
}

async fn network_call(
    method: &str,
    path: &str,
    body: &[u8],
    driver: &NetworkDriver,
) -> Result<Value, CallError> {
    let nothing = |()| json!({});
    match method {
        // Other hosts learn of networks and endpoints from controld, not from Docker.
        "GetCapabilities" => Ok(json!({
            "Scope": "local",
            "ConnectivityScope": "local",
            "GwAllocChecker": false,
        })),
        "CreateNetwork" => Ok(driver.create_network(read(path, body)?).await.map(nothing)?),
        "DeleteNetwork" => Ok(driver.delete_network(read(path, body)?).await.map(nothing)?),
        "CreateEndpoint" => {
            let created = driver.create_endpoint(read(path, body)?).await?;
            // An empty interface would read as an attempt to change what Docker gave.
            let unchanged = created.interface == Interface::default();
            if unchanged { Ok(json!({})) } else { write(path, created) }
        }
        "DeleteEndpoint" => Ok(driver.delete_endpoint(read(path, body)?).await.map(nothing)?),
        "EndpointOperInfo" => Ok(json!({ "Value": {} })),
        "Join" => write(path, driver.join(read(path, body)?).await?),
        "Leave" => Ok(driver.leave(read(path, body)?).await.map(nothing)?),
        // Ports are published by Stampede, for containers and machines alike; discovery is Swarm's.
        "ProgramExternalConnectivity"
        | "RevokeExternalConnectivity"
        | "DiscoverNew"
        | "DiscoverDelete" => Ok(json!({})),
        _ => Err(CallError::NoSuchMethod(path.into())),
    }
}

async fn ipam_call(
    method: &str,
    path: &str,
    body: &[u8],
    driver: &NetworkDriver,
) -> Result<Value, CallError> {
    match method {
        // With true Docker would make up a new MAC at every start.
        "GetCapabilities" => {
            Ok(json!({ "RequiresMACAddress": false, "RequiresRequestReplay": false }))
        }
        "GetDefaultAddressSpaces" => Ok(json!({
            "LocalDefaultAddressSpace": "stampede",
            "GlobalDefaultAddressSpace": "stampede-global",
        })),
        "RequestPool" => {
            let request: RequestPool = read(path, body)?;
            write(path, driver.request_pool(&request)?)
        }
        // A pool is the snapshot's; there is nothing to give back.
        "ReleasePool" => Ok(json!({})),
        "RequestAddress" => write(path, driver.request_address(read(path, body)?).await?),
        "ReleaseAddress" => {
            driver.release_address(read(path, body)?).await?;
            Ok(json!({}))
        }
        _ => Err(CallError::NoSuchMethod(path.into())),
    }
}

fn read<T: DeserializeOwned>(path: &str, body: &[u8]) -> Result<T, CallError> {
    serde_json::from_slice(body).map_err(|error| CallError::Json(path.into(), error))
}

fn write(path: &str, answer: impl serde::Serialize) -> Result<Value, CallError> {
    serde_json::to_value(answer).map_err(|error| CallError::Json(path.into(), error))
}
