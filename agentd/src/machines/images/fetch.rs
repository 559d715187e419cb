//! Fetching a file by `http:`, `https:` or `file:` into a partial file.
//!
//! Limits: redirects, bytes, and time without progress. What is left of an earlier attempt is gone
//! on from when the caller can check the whole afterwards, and the server agrees.

use super::address::{AddressError, Allowed};
use super::transport::{self, TransportError};
use api::report::ErrorKind;
use http::header::{ACCEPT_ENCODING, CONTENT_RANGE, HOST, LOCATION, RANGE, USER_AGENT};
use http::{HeaderMap, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Body, Bytes, Incoming};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::fs::OpenOptions;
use tokio::io::AsyncWriteExt;

/// Redirects that are followed.
const REDIRECTS: usize = 5;
/// Time without a byte.
const STALL: Duration = Duration::from_secs(60);
/// Bytes of the largest file that is fetched.
const LARGEST: u64 = 64 << 30;

/// Is told percents as they come.
pub type Progress = Arc<dyn Fn(u8) + Send + Sync>;

/// Why a file cannot be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The URL is none, or not one of a kind that is fetched.
    #[error("the URL is not of the form http://…, https://… or file:///…")]
    Url,
    /// The server's address cannot be used.
    #[error("the server cannot be used")]
    Address(#[from] AddressError),
    /// No connection.
    #[error("cannot connect to {host}")]
    Connect {
        /// The server.
        host: String,
        /// Why.
        #[source]
        source: TransportError,
    },
    /// The exchange failed.
    #[error("the transfer failed")]
    Transfer(#[source] hyper::Error),
    /// The request cannot be put into words.
    #[error("cannot make a request for the URL")]
    Request(#[source] http::Error),
    /// The server has another answer than the file.
    #[error("the server answered {0}")]
    Status(StatusCode),
    /// The server sends us around.
    #[error("the server redirects more than {REDIRECTS} times, or to what is no http URL")]
    Redirect,
    /// Nothing came.
    #[error("nothing came for {} s", STALL.as_secs())]
    Stalled,
    /// Too much.
    #[error("it has more than {LARGEST} bytes")]
    Large,
    /// The partial file cannot be written, or the source file not read.
    #[error("cannot {action} {}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl FetchError {
    pub(super) fn kind(&self) -> ErrorKind {
        match self {
            Self::Url
            | Self::Request(_)
            | Self::Redirect
            | Self::Large
            | Self::Address(AddressError::Refused { .. }) => ErrorKind::Invalid,
            Self::Status(StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS) => {
                ErrorKind::Transient
            }
            Self::Status(status) if status.is_client_error() => ErrorKind::Invalid,
            Self::File { action: "copy", .. } => ErrorKind::Invalid,
            _ => ErrorKind::Transient,
        }
    }
}

fn file_failed(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> FetchError {
    move |source| FetchError::File { action, path: path.into(), source }
}

/// Fetches files.
#[derive(Debug)]
pub(super) struct Fetcher {
    allowed: Allowed,
}

impl Fetcher {
    pub(super) fn new(allowed: Allowed) -> Self {
        Self { allowed }
    }

    /// Fetches `url` into `partial`. With `resume` the file may hold the beginning already.
    pub(super) async fn fetch(
        &self,
        url: &str,
        partial: &Path,
        resume: bool,
        progress: Progress,
    ) -> Result<(), FetchError> {
        if let Some(path) = url.strip_prefix("file://") {
            return copy(Path::new(path), partial).await;
        }
        let mut uri: Uri = url.parse().map_err(|_| FetchError::Url)?;
        for _ in 0..=REDIRECTS {
            let start = if resume { length_of(partial).await } else { 0 };
            let response = self.ask(&uri, start).await?;
            let status = response.status();
            if status.is_redirection() {
                uri = redirected(&uri, response.headers()).ok_or(FetchError::Redirect)?;
                continue;
            }
            let start = match status {
                StatusCode::OK => 0,
                StatusCode::PARTIAL_CONTENT if continues(response.headers(), start) => start,
                // What is there is longer than what the server has: begin again next time.
                StatusCode::RANGE_NOT_SATISFIABLE | StatusCode::PARTIAL_CONTENT => {
                    let emptied = tokio::fs::write(partial, b"").await;
                    emptied.map_err(file_failed("empty", partial))?;
                    return Err(FetchError::Status(StatusCode::REQUEST_TIMEOUT));
                }
                other => return Err(FetchError::Status(other)),
            };
            return save(response.into_body(), partial, start, &progress).await;
        }
        Err(FetchError::Redirect)
    }

    async fn ask(&self, uri: &Uri, start: u64) -> Result<Response<Incoming>, FetchError> {
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(FetchError::Url),
        };
        let authority = uri.authority().ok_or(FetchError::Url)?;
        let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let addresses = self.allowed.resolve(authority.host(), port).await?;
        let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let host = authority.as_str().rsplit('@').next().unwrap_or_default();
        let mut request = Request::get(path)
            .header(HOST, host)
            .header(USER_AGENT, concat!("stampede-agentd/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT_ENCODING, "identity");
        if start > 0 {
            request = request.header(RANGE, format!("bytes={start}-"));
        }
        let request = request.body(Empty::<Bytes>::new()).map_err(FetchError::Request)?;
        let connecting = transport::connect(&addresses, tls.then_some(authority.host()));
        let mut sender =
            connecting.await.map_err(|source| FetchError::Connect { host: host.into(), source })?;
        match tokio::time::timeout(STALL, sender.send_request(request)).await {
            Ok(response) => response.map_err(FetchError::Transfer),
            Err(_) => Err(FetchError::Stalled),
        }
    }
}

/// Where a redirect leads. From `https` it may not lead to `http`.
fn redirected(from: &Uri, headers: &HeaderMap) -> Option<Uri> {
    let location = headers.get(LOCATION)?.to_str().ok()?;
    let to: Uri = if location.starts_with('/') && !location.starts_with("//") {
        format!("{}://{}{location}", from.scheme_str()?, from.authority()?).parse().ok()?
    } else {
        location.parse().ok()?
    };
    let downgrade = from.scheme_str() == Some("https") && to.scheme_str() != Some("https");
    (!downgrade && to.authority().is_some()).then_some(to)
}

/// Whether a partial answer begins where we left off.
fn continues(headers: &HeaderMap, start: u64) -> bool {
    let range = headers.get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
    range.is_some_and(|range| range.starts_with(&format!("bytes {start}-")))
}

async fn length_of(path: &Path) -> u64 {
    tokio::fs::metadata(path).await.map_or(0, |metadata| metadata.len())
}

async fn save(
    mut body: Incoming,
    partial: &Path,
    start: u64,
    progress: &Progress,
) -> Result<(), FetchError> {
    let total = body.size_hint().exact().map(|rest| start.saturating_add(rest));
    if total.is_some_and(|total| total > LARGEST) {
        return Err(FetchError::Large);
    }
    let options = OpenOptions::new().create(true).write(true).truncate(start == 0).to_owned();
    let mut file = options.open(partial).await.map_err(file_failed("open", partial))?;
    let end = std::io::SeekFrom::End(0);
    tokio::io::AsyncSeekExt::seek(&mut file, end).await.map_err(file_failed("open", partial))?;
    let (mut length, mut told) = (start, None);
    loop {
        let frame = tokio::time::timeout(STALL, body.frame()).await;
        let Some(frame) = frame.map_err(|_| FetchError::Stalled)? else { break };
        let Ok(bytes) = frame.map_err(FetchError::Transfer)?.into_data() else { continue };
        length += bytes.len() as u64;
        if length > LARGEST {
            return Err(FetchError::Large);
        }
        file.write_all(&bytes).await.map_err(file_failed("write", partial))?;
        let percent = total.filter(|total| *total > 0).map(|total| length * 100 / total);
        if percent != told {
            told = percent;
            progress(percent.and_then(|percent| u8::try_from(percent).ok()).unwrap_or_default());
        }
    }
    file.flush().await.map_err(file_failed("write", partial))
}

async fn copy(from: &Path, to: &Path) -> Result<(), FetchError> {
    if !from.is_absolute() {
        return Err(FetchError::Url);
    }
    let length = tokio::fs::metadata(from).await.map_err(file_failed("copy", from))?.len();
    if length > LARGEST {
        return Err(FetchError::Large);
    }
    tokio::fs::copy(from, to).await.map_err(file_failed("copy", from))?;
    Ok(())
}
