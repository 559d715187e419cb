//! Paths of the agents' port.

use super::{Answer, Refused, empty, enrol, identity, json, poll};
use crate::core::Core;
use api::report::Report;
use api::{BOOT_HEADER, PROTO, PROTO_HEADER};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde::Deserialize;
use std::time::Duration;
use tokio::sync::watch;

/// Largest report.
const REPORT: usize = 32 * 1024 * 1024;

/// Largest enrolment.
const ENROLMENT: usize = 64 * 1024;

/// How long a body may take.
const BODY: Duration = Duration::from_secs(30);

/// What a poll asks with.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Query {
    pub(super) store: String,
    #[serde(rename = "gen")]
    pub(super) generation: u64,
    pub(super) hash: String,
    pub(super) wait: u64,
}

/// Answers one request of an agent.
pub(super) async fn answer(
    core: &Core,
    certificate: Option<&str>,
    request: Request<Incoming>,
    stop: watch::Receiver<bool>,
) -> Answer {
    let outcome = route(core, certificate, request, stop).await;
    let mut answer = outcome.unwrap_or_else(|refused| {
        tracing::info!(
            code = refused.code,
            message = refused.message,
            "request of an agent refused"
        );
        refused.answer()
    });
    if let Ok(boot) = HeaderValue::from_str(core.boot()) {
        answer.headers_mut().insert(BOOT_HEADER, boot);
    }
    answer
}

async fn route(
    core: &Core,
    certificate: Option<&str>,
    request: Request<Incoming>,
    stop: watch::Receiver<bool>,
) -> Result<Answer, Refused> {
    check_proto(&request)?;
    let path = request.uri().path().to_owned();
    let parts: Vec<&str> = path.split('/').collect();
    match (request.method(), parts.as_slice()) {
        (&Method::POST, ["", "v1", "agent", "enrol"]) => {
            let body = body(request, ENROLMENT).await?;
            let request = serde_json::from_slice(&body)
                .map_err(|error| Refused::invalid(format!("no enrolment request: {error}")))?;
            let response = enrol::enrol(core, request).await?;
            Ok(json(StatusCode::OK, &response))
        }
        (&Method::GET, ["", "v1", "agent", uuid, "snapshot"]) => {
            let host = identity::host(&core.0.shared.read(), certificate, uuid)?;
            let query = serde_urlencoded::from_str(request.uri().query().unwrap_or(""))
                .map_err(|error| Refused::invalid(format!("no query of a poll: {error}")))?;
            let who = poll::Who { host, uuid, certificate };
            poll::poll(core, &who, query, stop).await
        }
        (&Method::PUT, ["", "v1", "agent", uuid, "observed"]) => {
            let host = identity::host(&core.0.shared.read(), certificate, uuid)?;
            let body = body(request, REPORT).await?;
            let report: Report = serde_json::from_slice(&body)
                .map_err(|error| Refused::invalid(format!("no report: {error}")))?;
            core.report(host, report).await.map_err(|_| Refused::busy())?;
            Ok(empty(StatusCode::NO_CONTENT))
        }
        _ => {
            // Who has no certificate is told nothing about paths either.
            let uuid = parts.get(3).copied().unwrap_or_default();
            identity::host(&core.0.shared.read(), certificate, uuid)?;
            Err(Refused::new(StatusCode::NOT_FOUND, "invalid", "no such path"))
        }
    }
}

/// Agents of this major version and the one before are served.
fn check_proto(request: &Request<Incoming>) -> Result<(), Refused> {
    let major = |text: &str| text.split('.').next()?.parse::<u32>().ok();
    let ours = major(PROTO);
    let theirs =
        request.headers().get(PROTO_HEADER).and_then(|value| value.to_str().ok()).and_then(major);
    match (ours, theirs) {
        (Some(ours), Some(theirs)) if theirs == ours || theirs + 1 == ours => Ok(()),
        _ => {
            let message = format!("header {PROTO_HEADER} must name protocol {PROTO}");
            Err(Refused::new(StatusCode::BAD_REQUEST, "proto", message))
        }
    }
}

async fn body(request: Request<Incoming>, limit: usize) -> Result<Bytes, Refused> {
    let body = Limited::new(request.into_body(), limit).collect();
    match tokio::time::timeout(BODY, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) => Err(Refused::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "invalid",
            format!("body not read: {error}"),
        )),
        Err(_) => Err(Refused::new(StatusCode::REQUEST_TIMEOUT, "invalid", "body took too long")),
    }
}
