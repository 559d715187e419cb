//! Images that a container needs: downloaded once from a registry, refused when there are none.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod docker_bed;

use agentd::containers::docker::DockerDriver;
use agentd::containers::driver::Driver;
use api::report::ErrorKind;
use bytes::Bytes;
use docker_bed::{Bed, Firewall};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/// A registry with one image, `one:1`, in the host's namespace. Docker asks registries on loopback
/// without TLS.
struct Registry {
    port: u16,
    requests: Arc<AtomicU64>,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// Everything the registry answers, by path, with its media type.
fn answers(layer: &[u8]) -> BTreeMap<String, (&'static str, Bytes)> {
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": { "Cmd": ["/bin/sh"] },
        "rootfs": { "type": "layers", "diff_ids": [digest(layer)] },
    });
    let config = config.to_string().into_bytes();
    let part = |kind: &str, bytes: &[u8]| json!({ "mediaType": kind, "size": bytes.len(), "digest": digest(bytes) });
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": part(CONFIG, &config), "layers": [part(LAYER, layer)],
    });
    let manifest = Bytes::from(manifest.to_string());
    let blob = |bytes: &[u8]| format!("/v2/one/blobs/{}", digest(bytes));
    BTreeMap::from([
        ("/v2/".to_owned(), ("application/json", Bytes::from("{}"))),
        ("/v2/one/manifests/1".to_owned(), (MANIFEST, manifest.clone())),
        (format!("/v2/one/manifests/{}", digest(&manifest)), (MANIFEST, manifest)),
        (blob(&config), (CONFIG, Bytes::from(config.clone()))),
        (blob(layer), (LAYER, Bytes::copy_from_slice(layer))),
    ])
}

fn answer(
    answers: &BTreeMap<String, (&'static str, Bytes)>,
    request: &Request<hyper::body::Incoming>,
) -> Response<Full<Bytes>> {
    match answers.get(request.uri().path()) {
        Some((kind, body)) => Response::builder()
            .header("content-type", *kind)
            .header("docker-content-digest", digest(body))
            .body(Full::new(body.clone()))
            .unwrap(),
        None => {
            let error = json!({ "errors": [{ "code": "MANIFEST_UNKNOWN", "message": "none" }] });
            let body = Full::new(Bytes::from(error.to_string()));
            Response::builder().status(404).body(body).unwrap()
        }
    }
}

impl Registry {
    fn new(bed: &Bed, layer: &[u8]) -> Self {
        let bind = || std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let listener = netlib::netns::enter(&bed.netns(), bind).unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let answers = Arc::new(answers(layer));
        let requests = Arc::new(AtomicU64::new(0));
        let counter = requests.clone();
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answers, counter) = (answers.clone(), counter.clone());
                let service = service_fn(move |request| {
                    counter.fetch_add(1, Ordering::Relaxed);
                    let response = answer(&answers, &request);
                    async move { Ok::<_, Infallible>(response) }
                });
                let http = hyper::server::conn::http1::Builder::new();
                tokio::spawn(http.serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { port, requests, serving }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_downloaded_once_and_a_missing_one_refused() {
    let bed = Bed::new(Firewall::Off);
    let mut tar = std::process::Command::new("tar");
    let layer = tar.args(["-C", "/etc", "-c", "hostname"]).output().unwrap().stdout;
    let registry = Registry::new(&bed, &layer);
    let driver = DockerDriver::new(&bed.socket());
    let percents = Mutex::new(Vec::new());
    let progress = |percent| percents.lock().unwrap().push(percent);
    let image = format!("127.0.0.1:{}/one:1", registry.port);
    driver.ensure_image(&image, &progress).await.unwrap();
    assert_eq!(percents.lock().unwrap().last(), Some(&100), "{percents:?}");
    let id = bed.docker(&["image", "inspect", "--format", "{{.Id}}", &image]);
    assert!(id.starts_with("sha256:"), "{id}");
    let asked = registry.requests.load(Ordering::Relaxed);
    driver.ensure_image(&image, &progress).await.unwrap();
    assert_eq!(registry.requests.load(Ordering::Relaxed), asked, "it is here already");
    let missing = format!("127.0.0.1:{}/other", registry.port);
    let error = driver.ensure_image(&missing, &progress).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid, "{}", agentd::desired::chain(&error));
    drop(registry);
    let later = driver.ensure_image("127.0.0.1:9/one:1", &progress).await.unwrap_err();
    assert_eq!(later.kind, ErrorKind::Transient, "{}", agentd::desired::chain(&later));
}
