//! Requests to controld's port for agents.

use api::enrol::Refusal;
use api::{BOOT_HEADER, PROTO, PROTO_HEADER};
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// An answer may be this long: a full snapshot of a million endpoints.
const LONGEST_ANSWER: usize = 256 << 20;
/// How long a TCP connection may take.
const CONNECT: Duration = Duration::from_secs(5);

/// A connection to controld. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    http: legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    base: String,
    boot: Arc<watch::Sender<String>>,
}

/// An answer of controld.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: StatusCode,
    /// What `Retry-After` asks for.
    pub retry_after: Option<Duration>,
    /// The body.
    pub body: String,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The URL is not one of controld.
    #[error("cannot use {url:?} as the address of controld: want https://host:port")]
    Url {
        /// The URL.
        url: String,
    },
    /// The request cannot be made.
    #[error("cannot make a request to controld")]
    Request(#[source] http::Error),
    /// controld cannot be reached, or is not the controld of this cloud.
    #[error("cannot reach controld at {url}")]
    Reach {
        /// Where it should be.
        url: String,
        /// Why.
        #[source]
        source: legacy::Error,
    },
    /// The answer broke off.
    #[error("cannot read the answer of controld at {url}")]
    Answer {
        /// Where it came from.
        url: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The answer did not come in time.
    #[error("controld at {url} did not answer within {} s", patience.as_secs())]
    Late {
        /// Where it should have come from.
        url: String,
        /// How long was waited.
        patience: Duration,
    },
}

impl Client {
    /// A client of the controld at `url`.
    ///
    /// # Errors
    /// When `url` is not of the form `https://host:port`.
    pub fn new(url: &str, tls: rustls::ClientConfig) -> Result<Self, CallError> {
        let refuse = || CallError::Url { url: url.into() };
        let parsed: http::Uri = url.parse().map_err(|_| refuse())?;
        if parsed.scheme_str() != Some("https") || !matches!(parsed.path(), "" | "/") {
            return Err(refuse());
        }
        let authority = parsed.authority().ok_or_else(refuse)?;
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_connect_timeout(Some(CONNECT));
        connector.set_keepalive(Some(Duration::from_secs(20)));
        connector.set_nodelay(true);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_only()
            .enable_http1()
            .wrap_connector(connector);
        let http = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .build(connector);
        let (boot, _) = watch::channel(String::new());
        Ok(Self { http, base: format!("https://{authority}"), boot: Arc::new(boot) })
    }

    /// Sends a request and waits for the whole answer, at most for `patience`.
    ///
    /// # Errors
    /// When there is no answer; one with an error status is none of these.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
        patience: Duration,
    ) -> Result<Reply, CallError> {
        match tokio::time::timeout(patience, self.exchange(method, path, body)).await {
            Ok(result) => result,
            Err(_) => Err(CallError::Late { url: self.base.clone(), patience }),
        }
    }

    /// The id of controld's run, from its last answer. A change asks for a full report.
    #[must_use]
    pub fn boot(&self) -> watch::Receiver<String> {
        self.boot.subscribe()
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> Result<Reply, CallError> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header(PROTO_HEADER, PROTO)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(CallError::Request)?;
        let answer = self
            .http
            .request(request)
            .await
            .map_err(|source| CallError::Reach { url: self.base.clone(), source })?;
        let (head, body) = answer.into_parts();
        let broken = |source| CallError::Answer { url: self.base.clone(), source };
        let body = Limited::new(body, LONGEST_ANSWER).collect().await.map_err(broken)?.to_bytes();
        let body = String::from_utf8(body.into()).map_err(|error| broken(error.into()))?;
        let text = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
        if let Some(boot) = text(BOOT_HEADER) {
            self.boot.send_if_modified(|held| {
                let changed = held != boot;
                boot.clone_into(held);
                changed
            });
        }
        let seconds = text(header::RETRY_AFTER.as_str()).and_then(|text| text.parse().ok());
        let retry_after = seconds.map(Duration::from_secs);
        Ok(Reply { status: head.status, retry_after, body })
    }
}

impl Reply {
    /// The refusal that an answer with an error status carries.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        serde_json::from_str(&self.body).unwrap_or_else(|_| Refusal {
            code: self.status.as_u16().to_string(),
            message: format!("controld answered {}", self.status),
        })
    }
}
