//! The control socket: how the other commands reach a running agent.
//!
//! HTTP over a Unix socket that only root may use: `/ping`, `/status`, `/metrics`.

use crate::overview::Overview;
use crate::report::Sources;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};

/// How many commands are served at once.
const CONNECTIONS: usize = 16;
/// How long a request's head may take.
const HEAD: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(10);

/// What went wrong on the control socket.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The socket cannot be made.
    #[error("cannot listen on {}", path.display())]
    Listen {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// No agent answers.
    #[error("no agent answers on {}: is agentd running?", path.display())]
    NoAgent {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The answer is not what this version understands.
    #[error("cannot read the agent's answer")]
    Answer(#[source] serde_json::Error),
}

/// Listens on `path`, in place of a socket that a former run left there.
///
/// # Errors
/// When the socket cannot be made.
pub fn listen(path: &Path) -> Result<UnixListener, ControlError> {
    let failed = |source| ControlError::Listen { path: path.into(), source };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    // The lock on the data folder is held, so nobody is behind a socket that is there.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
    Ok(listener)
}

/// Serves the control socket until `stop` turns true.
pub async fn serve(listener: UnixListener, sources: Sources, mut stop: watch::Receiver<bool>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = room.clone().acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!("cannot accept on the control socket: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let sources = sources.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let answer = answer(&request, &sources);
                async move { Ok::<_, Infallible>(answer) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD)
                .serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                tracing::debug!("control connection ended: {error}");
            }
            drop(place);
        });
    }
}

fn answer<B>(request: &Request<B>, sources: &Sources) -> Response<Full<Bytes>> {
    let body = match request.uri().path() {
        "/ping" => Some("pong".to_owned()),
        "/status" => serde_json::to_string(&Overview::of(sources)).ok(),
        "/metrics" => Some(Overview::of(sources).metrics()),
        _ => None,
    };
    let mut response = Response::new(Full::new(Bytes::from(body.clone().unwrap_or_default())));
    if body.is_none() {
        *response.status_mut() = StatusCode::NOT_FOUND;
    }
    response
}

/// Asks the agent behind `socket` for its overview.
///
/// # Errors
/// When none answers, or not in this version's words.
pub async fn overview(socket: &Path) -> Result<Overview, ControlError> {
    let exchange = tokio::time::timeout(PATIENCE, get(socket, "/status")).await;
    let text = exchange
        .unwrap_or_else(|late| Err(late.into()))
        .map_err(|source| ControlError::NoAgent { path: socket.into(), source })?;
    serde_json::from_str(&text).map_err(ControlError::Answer)
}

async fn get(
    socket: &Path,
    path: &str,
) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    let stream = UnixStream::connect(socket).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let request = Request::get(path).header("host", "agentd").body(Full::default())?;
    let answer: Response<Incoming> = sender.send_request(request).await?;
    let body = answer.into_body().collect().await?.to_bytes();
    drop(sender);
    driver.await??;
    Ok(String::from_utf8(body.into())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::sources;

    #[tokio::test]
    async fn a_running_agent_answers_and_only_root_may_ask() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/agentd.sock");
        assert!(matches!(overview(&path).await, Err(ControlError::NoAgent { .. })));
        let (sources, _senders) = sources(Vec::new());
        let (stop, stopped) = watch::channel(false);
        let listener = listen(&path).unwrap();
        let serving = tokio::spawn(serve(listener, sources, stopped));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(overview(&path).await.unwrap().pid, std::process::id());
        assert_eq!(get(&path, "/ping").await.unwrap(), "pong");
        stop.send(true).unwrap();
        serving.await.unwrap();
    }
}
