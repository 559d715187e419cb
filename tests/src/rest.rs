//! A client of controld's API whose connections begin inside controld's node.

use crate::node::Node;
use crate::patience::until;
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use serde_json::Value;
use std::net::TcpStream;
use std::time::Duration;

/// Where `controld serve --open` listens inside its node.
pub const LISTEN: &str = "127.0.0.1:9080";

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The body; null when it is no JSON.
    pub body: Value,
}

/// Sends a request to controld in `node` and gives whatever it answers.
///
/// # Errors
/// When there is no answer.
pub fn request(
    node: &Node,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<&Value>,
) -> Result<Answer> {
    let stream = node.enter(|| TcpStream::connect(LISTEN))?.context("cannot reach controld")?;
    stream.set_nonblocking(true)?;
    let mut request = http::Request::builder().method(method).uri(path);
    if headers.iter().all(|(name, _)| !name.eq_ignore_ascii_case("host")) {
        request = request.header("Host", LISTEN);
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = body.map(serde_json::to_vec).transpose()?.unwrap_or_default();
    let request = request.body(Full::new(Bytes::from(body)))?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let stream = hyper_util::rt::TokioIo::new(tokio::net::TcpStream::from_std(stream)?);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
        let connection = tokio::spawn(connection);
        let answer = sender.send_request(request).await?;
        let status = answer.status().as_u16();
        let bytes = answer.into_body().collect().await?.to_bytes();
        connection.abort();
        Ok(Answer { status, body: serde_json::from_slice(&bytes).unwrap_or(Value::Null) })
    })
}

/// The API as the admin sees it.
#[derive(Clone, Copy)]
pub struct Api<'a> {
    /// The node that controld runs in.
    pub node: &'a Node,
}

impl Api<'_> {
    /// A request that must succeed; gives the body.
    ///
    /// # Errors
    /// When the status is not 2xx; the error has method, path and answer.
    pub fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let answer = request(self.node, method, &format!("/v1/{path}"), &[], body)?;
        ensure!(
            (200..300).contains(&answer.status),
            "{method} {path} answered {}: {}",
            answer.status,
            answer.body
        );
        Ok(answer.body)
    }

    /// Reads a resource or a collection.
    ///
    /// # Errors
    /// See [`Api::call`].
    pub fn get(&self, path: &str) -> Result<Value> {
        self.call("GET", path, None)
    }

    /// The members of a collection.
    ///
    /// # Errors
    /// See [`Api::call`].
    pub fn list(&self, path: &str) -> Result<Vec<Value>> {
        let body = self.get(path)?;
        Ok(body["data"].as_array().cloned().unwrap_or_default())
    }

    /// Creates a resource and gives it.
    ///
    /// # Errors
    /// See [`Api::call`].
    pub fn create(&self, collection: &str, body: &Value) -> Result<Value> {
        self.call("POST", collection, Some(body))
    }

    /// Looks at a resource until `holds` is true of it, and gives it.
    ///
    /// # Errors
    /// After `limit`; the error has the resource as it was last.
    pub fn wait(
        &self,
        path: &str,
        limit: Duration,
        holds: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        until(path, limit, || {
            let resource = self.get(path)?;
            ensure!(holds(&resource), "it is {}", summary(&resource));
            Ok(resource)
        })
    }

    /// Waits until a resource is in `state` with nothing under way.
    ///
    /// # Errors
    /// After `limit`, and at once when the resource ended in an error instead.
    pub fn wait_for_state(&self, path: &str, state: &str, limit: Duration) -> Result<Value> {
        let settled = self.wait(path, limit, |resource| {
            resource["transitioning"] == "error"
                || resource["state"] == state && resource["transitioning"] == "no"
        })?;
        ensure!(settled["state"] == state, "{path} ended as {}", summary(&settled));
        Ok(settled)
    }
}

/// What matters of a resource when a test fails.
fn summary(resource: &Value) -> String {
    let fields = ["state", "transitioning", "transitioningMessage", "hostId", "primaryIpAddress"];
    fields.map(|field| format!("{field}={}", resource[field])).join(" ")
}
