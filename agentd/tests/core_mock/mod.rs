//! A controld in miniature, with the real wire: TLS, enrolment, parked snapshots, reports.

use api::enrol::{Refusal, Request as EnrolRequest, Response as EnrolResponse};
use api::hash::SetHash;
use api::item::Meaning;
use api::report::Report;
use api::snapshot::{Full, Item};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full as Body};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, CertifiedIssuer,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;

/// The token's secret; whoever reads it in a request was trusted.
pub const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// The cloud's CA.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer }
    }

    /// A registration token that pins this CA.
    pub fn token(&self) -> String {
        format!("cloud.{}.token.{SECRET}", hex::encode(Sha256::digest(self.issuer.der())))
    }

    fn sign(&self, csr: &str) -> String {
        let mut request = CertificateSigningRequestParams::from_pem(csr).unwrap();
        request.params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        request.signed_by(&self.issuer).unwrap().pem()
    }

    /// TLS with a leaf for `purpose` and the CA behind it.
    fn server(&self, purpose: ExtendedKeyUsagePurpose) -> ServerConfig {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["anything".into()]).unwrap();
        params.extended_key_usages = vec![purpose];
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let clients = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone())
            .allow_unauthenticated()
            .build()
            .unwrap();
        ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(clients)
            .with_single_cert(
                vec![leaf.der().clone(), self.issuer.der().clone()],
                PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            )
            .unwrap()
    }
}

/// What the mock is told to do, and what it saw.
pub struct Shared {
    authority: Arc<Authority>,
    truth: watch::Sender<Full>,
    reports: mpsc::UnboundedSender<Report>,
    boot: String,
    /// Requests to enrol so far.
    pub enrolments: AtomicU32,
    /// Answer everything with the refusal `fenced`.
    pub fence: AtomicBool,
    /// Refuse the token.
    pub refuse_token: AtomicBool,
}

/// A running mock; it ends when dropped.
pub struct Mock {
    pub address: SocketAddr,
    pub shared: Arc<Shared>,
    reports: mpsc::UnboundedReceiver<Report>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Mock {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A snapshot of these meanings; endpoints are numbered in order.
pub fn truth(generation: u64, meanings: &[Meaning]) -> Full {
    let items: Vec<Item> = (1..)
        .zip(meanings)
        .map(|(number, meaning)| meaning.write(number).unwrap().unwrap())
        .collect();
    let mut hash = SetHash::default();
    items.iter().for_each(|item| hash.add(item.hash()));
    Full { store: "store.1".into(), generation, hash, items }
}

impl Mock {
    /// A controld whose certificate is for servers.
    pub async fn start(authority: &Arc<Authority>, truth: Full) -> Self {
        let purpose = ExtendedKeyUsagePurpose::ServerAuth;
        Self::start_at("127.0.0.1:0", authority, truth, purpose).await
    }

    pub async fn start_at(
        address: &str,
        authority: &Arc<Authority>,
        truth: Full,
        purpose: ExtendedKeyUsagePurpose,
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(authority.server(purpose)));
        let (tell, reports) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            authority: authority.clone(),
            truth: watch::Sender::new(truth),
            reports: tell,
            boot: format!("{:016x}", getrandom::u64().unwrap()),
            enrolments: AtomicU32::new(0),
            fence: AtomicBool::new(false),
            refuse_token: AtomicBool::new(false),
        });
        let task = tokio::spawn(serve(listener, acceptor, shared.clone()));
        Self { address, shared, reports, task }
    }

    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Ends the mock; its address is free when this returns.
    pub async fn end(mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }

    pub fn publish(&self, truth: Full) {
        self.shared.truth.send_replace(truth);
    }

    /// Waits for a report that satisfies `wanted`.
    pub async fn report(&mut self, wanted: impl Fn(&Report) -> bool) -> Report {
        let found = async {
            loop {
                let report = self.reports.recv().await.expect("the mock runs");
                if wanted(&report) {
                    return report;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(30), found).await.expect("a report in time")
    }
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (acceptor, shared) = (acceptor.clone(), shared.clone());
        connections.spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let known = stream.get_ref().1.peer_certificates().is_some();
            let service = service_fn(move |request| {
                let shared = shared.clone();
                async move { Ok::<_, Infallible>(answer(&shared, known, request).await) }
            });
            // A client that goes away in the middle is what some tests are about.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

fn respond(shared: &Shared, status: StatusCode, body: Vec<u8>) -> Response<Body<Bytes>> {
    let response = Response::builder().status(status).header(api::BOOT_HEADER, &shared.boot);
    response.body(Body::new(body.into())).unwrap()
}

fn refuse(shared: &Shared, code: &str) -> Response<Body<Bytes>> {
    let refusal = Refusal { code: code.into(), message: format!("refused: {code}") };
    respond(shared, StatusCode::UNAUTHORIZED, serde_json::to_vec(&refusal).unwrap())
}

async fn answer(shared: &Shared, known: bool, request: Request<Incoming>) -> Response<Body<Bytes>> {
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return refuse(shared, "invalid") };
    let body = body.to_bytes();
    assert_eq!(head.headers[api::PROTO_HEADER], api::PROTO);
    let path = head.uri.path();
    if path == "/v1/agent/enrol" {
        return enrol(shared, &body);
    }
    if !known {
        return refuse(shared, "certificate");
    }
    if shared.fence.load(Ordering::Relaxed) {
        return refuse(shared, "fenced");
    }
    match (head.method, path) {
        (Method::GET, "/v1/agent/host-uuid/snapshot") => snapshot(shared, head.uri.query()).await,
        (Method::PUT, "/v1/agent/host-uuid/observed") => {
            let report = serde_json::from_slice(&body).unwrap();
            let _ = shared.reports.send(report);
            respond(shared, StatusCode::NO_CONTENT, Vec::new())
        }
        _ => refuse(shared, "invalid"),
    }
}

fn enrol(shared: &Shared, body: &[u8]) -> Response<Body<Bytes>> {
    shared.enrolments.fetch_add(1, Ordering::Relaxed);
    let request: EnrolRequest = serde_json::from_slice(body).unwrap();
    assert_eq!(request.token_secret.expose(), SECRET);
    if shared.refuse_token.load(Ordering::Relaxed) {
        return refuse(shared, "token-used");
    }
    let response = EnrolResponse {
        certificate: shared.authority.sign(&request.csr),
        ca: shared.authority.issuer.pem(),
        host: "host-uuid".into(),
        number: 1,
    };
    respond(shared, StatusCode::OK, serde_json::to_vec(&response).unwrap())
}

/// The truth when it is another than the agent's, at once or when it comes.
async fn snapshot(shared: &Shared, query: Option<&str>) -> Response<Body<Bytes>> {
    let query: BTreeMap<&str, &str> =
        query.unwrap_or_default().split('&').filter_map(|pair| pair.split_once('=')).collect();
    let mut truth = shared.truth.subscribe();
    let news = truth.wait_for(|truth| {
        query["gen"] != truth.generation.to_string() || query["hash"] != truth.hash.to_string()
    });
    match tokio::time::timeout(Duration::from_secs(query["wait"].parse().unwrap()), news).await {
        Ok(truth) => {
            let body = serde_json::to_vec(&*truth.unwrap()).unwrap();
            respond(shared, StatusCode::OK, body)
        }
        Err(_) => respond(shared, StatusCode::NO_CONTENT, Vec::new()),
    }
}
