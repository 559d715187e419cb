//! A controld in a temporary folder, and a client that checks what every answer must have.

use api::schema::find;
use bytes::Bytes;
use controld::core::{Caller, Core, Created, Settings};
use controld::rest::{Options, serve};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// A running controld without hosts. It ends with this value.
pub struct Api {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its core.
    pub core: Core,
    client: Client<HttpConnector, Full<Bytes>>,
    _data: tempfile::TempDir,
    stop: oneshot::Sender<()>,
    served: tokio::task::JoinHandle<()>,
}

/// An answer, once its invariants were checked.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// The document.
    pub body: Value,
}

impl Api {
    /// Serves everybody as an admin.
    pub async fn open() -> Self {
        let (core, data) = cloud().await;
        let caller = core.admin();
        Self::serve_as(core, Some(caller), data, false).await
    }

    /// The same behind a proxy whose headers are believed.
    pub async fn behind_proxy() -> Self {
        let (core, data) = cloud().await;
        let caller = core.admin();
        Self::serve_as(core, Some(caller), data, true).await
    }

    /// Serves nobody.
    pub async fn closed() -> Self {
        let (core, data) = cloud().await;
        Self::serve_as(core, None, data, false).await
    }

    /// Serves everybody as an account without any grants.
    pub async fn plain() -> Self {
        let (core, data) = cloud().await;
        let fields = json!({"kind": "user", "name": "plain"});
        let fields = fields.as_object().unwrap().clone();
        let made = core.create(&core.admin(), "account", fields, None).await.unwrap();
        let Created::One(account) = made else { panic!("one account is wanted") };
        let number = find("account").unwrap().number(&account.id).unwrap();
        let caller = core.caller(number).unwrap();
        Self::serve_as(core, Some(caller), data, false).await
    }

    async fn serve_as(
        core: Core,
        everybody: Option<Caller>,
        data: tempfile::TempDir,
        forwarded: bool,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let options = Options {
            everybody,
            hosts: vec!["cloud.example.org".into()],
            forwarded,
            fallback: address.to_string(),
        };
        let shutdown = async move {
            let _ = stopped.await;
        };
        let served = tokio::spawn(serve(listener, core.clone(), options, shutdown));
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { address, core, client, _data: data, stop, served }
    }

    /// Ends the server; returns once it has ended.
    pub async fn end(self) {
        self.stop.send(()).unwrap();
        self.served.await.unwrap();
    }

    /// The URL of a path, which may be a URL already.
    pub fn url(&self, path: &str) -> String {
        if path.starts_with("http") {
            path.to_owned()
        } else {
            format!("http://{}{path}", self.address)
        }
    }

    /// Sends anything at all.
    pub async fn send(
        &self,
        method: &Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let (status, headers, bytes) = self.raw(method, path, headers, body).await;
        let body = serde_json::from_slice(&bytes).unwrap_or_else(|error| {
            panic!("{method} {path}: {status}: not JSON ({error}): {bytes:?}")
        });
        let answer = Answer { status, headers, body };
        answer.check(&format!("{method} {path}"));
        answer
    }

    /// Sends anything and takes whatever comes.
    pub async fn raw(
        &self,
        method: &Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> (StatusCode, HeaderMap, Bytes) {
        let mut request = Request::builder().method(method).uri(self.url(path));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).unwrap();
        let response = self.client.request(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        (parts.status, parts.headers, bytes)
    }

    /// Reads.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(&Method::GET, path, &[], "").await
    }

    /// Creates or acts, with a body in JSON and no content type, as old clients do.
    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(&Method::POST, path, &[], body.to_string()).await
    }

    /// Changes.
    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.send(&Method::PUT, path, &[], body.to_string()).await
    }

    /// Removes.
    pub async fn delete(&self, path: &str) -> Answer {
        self.send(&Method::DELETE, path, &[], "").await
    }

    /// Creates what must succeed.
    pub async fn create(&self, path: &str, body: Value) -> Value {
        let answer = self.post(path, body).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{path}: {}", answer.body);
        answer.body
    }

    /// The one network that the cloud comes with and manages.
    pub async fn managed(&self) -> Value {
        let found = self.get("/v1/networks?uuid=managed-docker0").await;
        found.body["data"][0].clone()
    }
}

/// A new cloud in a temporary folder.
async fn cloud() -> (Core, tempfile::TempDir) {
    let data = tempfile::tempdir().unwrap();
    let settings = Settings {
        purge_after: Duration::ZERO,
        address_rest: Duration::ZERO,
        ..Settings::default()
    };
    (Core::open(data.path(), settings).await.unwrap(), data)
}

impl Answer {
    /// What old clients fail on when it is missing.
    fn check(&self, what: &str) {
        let schemas = self.headers.get("x-api-schemas").unwrap().to_str().unwrap();
        assert!(schemas.starts_with("http") && schemas.ends_with("/v1/schemas"), "{what}");
        if !self.status.is_success() {
            assert_eq!(self.body["type"], "error", "{what}: {}", self.body);
            assert_eq!(self.body["status"], self.status.as_u16(), "{what}");
            for name in ["code", "message", "id"] {
                assert!(!self.body[name].as_str().unwrap().is_empty(), "{what}: {name}");
            }
            assert!(self.body["links"].is_object() && self.body["actions"].is_object(), "{what}");
        }
        assert!(!self.status.is_server_error(), "{what}: {}", self.body);
    }

    /// Checks a refusal's status and code, and that it names the field and a remedy.
    #[track_caller]
    pub fn refused(&self, status: u16, code: &str, field: Option<&str>) {
        let got =
            (self.status.as_u16(), self.body["code"].as_str(), self.body["fieldName"].as_str());
        assert_eq!(got, (status, Some(code), field), "{}", self.body);
        let message = self.body["message"].as_str().unwrap();
        if let Some(field) = field {
            // A remedy is an instruction, which follows a colon.
            let told = message.strip_prefix(&format!("{field}: ")).unwrap_or(message);
            assert!(told.contains(": "), "no remedy in: {message}");
        }
    }
}
