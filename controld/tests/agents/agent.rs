//! An agent that is all simulated: it enrols, polls, applies and reports what it is told to.

use crate::cloud::{Cloud, PATIENCE, settings};
use api::enrol::{Refusal, Request as Enrolment, Response as Enrolled, Token};
use api::item::Meaning;
use api::report::{Capability, Facts, Instance, Phase, Report};
use api::snapshot::{Answer, Snapshot};
use bytes::Bytes;
use ed25519_dalek::{Signer, SigningKey};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, KeyPair};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// The keys of an agent, which stay the same over retries.
pub struct Keys {
    tls: KeyPair,
    identity: SigningKey,
}

impl Keys {
    pub fn new(seed: u8) -> Self {
        let identity = SigningKey::from_bytes(&[seed; 32]);
        Self { tls: KeyPair::generate().unwrap(), identity }
    }

    pub fn request(&self, token: &str) -> Enrolment {
        let token: Token = token.parse().unwrap();
        let csr = CertificateParams::default().serialize_request(&self.tls).unwrap().pem().unwrap();
        Enrolment {
            token_id: token.id,
            token_secret: token.secret,
            identity: hex::encode(self.identity.verifying_key().as_bytes()),
            identity_proof: hex::encode(self.identity.sign(csr.as_bytes()).to_bytes()),
            csr,
            machine_id: "machine".into(),
            hostname: "host".into(),
            simulated: false,
        }
    }
}

/// A client of the agents' port.
pub struct Client {
    address: SocketAddr,
    config: Arc<ClientConfig>,
    pub proto: &'static str,
}

impl Client {
    /// With a certificate and its key, or without.
    pub fn new(cloud: &Cloud, own: Option<(&str, &Keys)>) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(cloud.core.authority().der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match own {
            Some((certificate, keys)) => {
                let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
                let key = PrivatePkcs8KeyDer::from(keys.tls.serialize_der());
                builder.with_client_auth_cert(vec![certificate], PrivateKeyDer::Pkcs8(key)).unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        Self { address: cloud.address, config: Arc::new(config), proto: api::PROTO }
    }

    pub async fn send(&self, method: Method, path: &str, body: Vec<u8>) -> (StatusCode, Bytes) {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let stream = TlsConnector::from(self.config.clone()).connect(name, stream).await.unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "controld")
            .header(api::PROTO_HEADER, self.proto)
            .body(Full::new(Bytes::from(body)))
            .unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert!(response.headers().contains_key(api::BOOT_HEADER));
        let status = response.status();
        (status, response.into_body().collect().await.unwrap().to_bytes())
    }

    pub async fn enrol(&self, request: &Enrolment) -> Result<Enrolled, (StatusCode, String)> {
        let body = serde_json::to_vec(request).unwrap();
        let (status, body) = self.send(Method::POST, "/v1/agent/enrol", body).await;
        if status.is_success() {
            return Ok(serde_json::from_slice(&body).unwrap());
        }
        Err((status, refusal(&body)))
    }
}

/// The code of a refusal, which is all that a refused one gets.
pub fn refusal(body: &[u8]) -> String {
    let value: serde_json::Value = serde_json::from_slice(body).unwrap();
    let names: Vec<&String> = value.as_object().unwrap().keys().collect();
    assert_eq!(names, ["code", "message"]);
    serde_json::from_value::<Refusal>(value).unwrap().code
}

/// An enrolled agent.
pub struct Agent {
    pub client: Client,
    pub keys: Keys,
    pub enrolled: Enrolled,
    pub held: Snapshot,
    pub report: Report,
    /// Bytes received in answers with content.
    pub received: usize,
}

impl Agent {
    pub async fn enrol(cloud: &Cloud, seed: u8) -> Self {
        let (_, token) = cloud.token(Some(1), 3600).await;
        let keys = Keys::new(seed);
        let enrolled = Client::new(cloud, None).enrol(&keys.request(&token)).await.unwrap();
        let client = Client::new(cloud, Some((&enrolled.certificate, &keys)));
        let capability = Capability { ok: true, detail: "1".into() };
        let capabilities = ["docker", "libvirt"].map(|name| (name.into(), capability.clone()));
        let facts = Facts {
            hostname: format!("host{seed}"),
            addresses: vec![[192, 0, 2, seed].into()],
            cpus: 2,
            memory_mb: 4096,
            memory_free_mb: 4096,
            capabilities: capabilities.into(),
            ..Facts::default()
        };
        let report = Report { boot: "one".into(), facts, ..Report::default() };
        let held = Snapshot::default();
        let mut agent = Self { client, keys, enrolled, held, report, received: 0 };
        agent.tell().await;
        agent.poll(0).await;
        agent.tell().await;
        agent
    }

    /// The same agent at a controld that was started anew.
    pub fn reconnect(&mut self, cloud: &Cloud) {
        self.client = Client::new(cloud, Some((&self.enrolled.certificate, &self.keys)));
    }

    pub fn path(&self, wait: u64) -> String {
        let held = &self.held;
        format!(
            "/v1/agent/{}/snapshot?store={}&gen={}&hash={}&wait={wait}",
            self.enrolled.host, held.store, held.generation, held.hash
        )
    }

    /// Polls once; whether there was anything new.
    pub async fn poll(&mut self, wait: u64) -> bool {
        let (status, body) = self.client.send(Method::GET, &self.path(wait), Vec::new()).await;
        if status == StatusCode::NO_CONTENT {
            return false;
        }
        assert_eq!(status, StatusCode::OK, "{body:?}");
        self.received += body.len();
        let answer = Answer::read(std::str::from_utf8(&body).unwrap()).unwrap();
        self.held = self.held.apply(answer).unwrap();
        true
    }

    /// Polls until what is held is as wanted.
    pub async fn until(&mut self, wanted: impl Fn(&Snapshot) -> bool) {
        let reached = async {
            while !wanted(&self.held) {
                self.poll(20).await;
            }
        };
        tokio::time::timeout(PATIENCE, reached).await.expect("not told in time");
    }

    /// The meanings of all items held.
    pub fn meanings(&self) -> Vec<Meaning> {
        self.held.items.values().map(|item| Meaning::read(item).unwrap()).collect()
    }

    /// Reports what is observed, in knowledge of all that is held.
    pub async fn tell(&mut self) {
        self.report.seq += 1;
        self.report.applied_generation = self.held.generation;
        self.report.applied_hash = self.held.hash;
        let path = format!("/v1/agent/{}/observed", self.enrolled.host);
        let body = serde_json::to_vec(&self.report).unwrap();
        let (status, body) = self.client.send(Method::PUT, &path, body).await;
        assert_eq!(status, StatusCode::NO_CONTENT, "{body:?}");
    }

    /// Reports one instance in a phase of an epoch.
    pub async fn shows(&mut self, uuid: &str, epoch: u64, phase: Phase) {
        let instance = Instance { epoch, phase, ..Instance::default() };
        self.report.instances.insert(uuid.into(), instance);
        self.tell().await;
    }
}

/// A cloud with one host.
pub async fn with_host() -> (Cloud, Agent, tempfile::TempDir) {
    let data = tempfile::tempdir().unwrap();
    let cloud = Cloud::open(data.path(), settings()).await;
    let agent = Agent::enrol(&cloud, 1).await;
    (cloud, agent, data)
}
