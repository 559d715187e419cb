//! The daemon's socket for the operator: one wish per connection, JSON in, JSON out.

use super::{OperatorError, Wish, fulfil};
use crate::core::Core;
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

/// Longest wish, in bytes.
const LONGEST: u64 = 64 * 1024;

/// How long a wish may take to be told.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Answer {
    Done(String),
    Refused(String),
}

fn path(data: &Path) -> PathBuf {
    data.join("control.sock")
}

/// Asks the daemon; none when it does not run.
pub(super) async fn ask(data: &Path, wish: &Wish) -> Result<Option<String>, OperatorError> {
    let path = path(data);
    let failed = |source| OperatorError::File { path: path.clone(), source };
    let mut stream = match UnixStream::connect(&path).await {
        Ok(stream) => stream,
        Err(error)
            if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) =>
        {
            return Ok(None);
        }
        Err(source) => return Err(failed(source)),
    };
    let text = serde_json::to_vec(wish).map_err(OperatorError::Answer)?;
    stream.write_all(&text).await.map_err(failed)?;
    stream.shutdown().await.map_err(failed)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.map_err(failed)?;
    match serde_json::from_slice(&answer).map_err(OperatorError::Answer)? {
        Answer::Done(text) => Ok(Some(text)),
        Answer::Refused(message) => Err(OperatorError::Daemon(message)),
    }
}

/// Listens for wishes until the task is aborted.
///
/// # Errors
/// When the socket cannot be made.
pub fn listen(data: &Path, core: Core) -> Result<tokio::task::JoinHandle<()>, OperatorError> {
    let path = path(data);
    let failed = |source| OperatorError::File { path: path.clone(), source };
    // Of a daemon that was killed: the lock says that none runs.
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let listener = UnixListener::bind(&path).map_err(failed)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
    Ok(tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let answered = tokio::time::timeout(PATIENCE, answer(&core, stream)).await;
                    if let Ok(Err(error)) = answered {
                        tracing::debug!(%error, "operator's wish broke off");
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "operator's connection not accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }))
}

async fn answer(core: &Core, mut stream: UnixStream) -> std::io::Result<()> {
    let mut text = Vec::new();
    (&mut stream).take(LONGEST).read_to_end(&mut text).await?;
    let answer = match serde_json::from_slice(&text) {
        Ok(wish) => match fulfil(core, wish).await {
            Ok(text) => Answer::Done(text),
            Err(refusal) => Answer::Refused(refusal.to_string()),
        },
        Err(error) => Answer::Refused(format!("cannot understand the wish: {error}")),
    };
    stream.write_all(&serde_json::to_vec(&answer)?).await
}
