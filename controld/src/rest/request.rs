//! A request as the dialect sees it, and the reply to it.

use super::body::Parameters;
use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde_json::{Map, Value};

/// A request that has been read.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method, after an override by a form.
    pub method: Method,
    /// The URL's query, as it was sent.
    pub query: Parameters,
    /// Headers.
    pub headers: HeaderMap,
    /// Fields of the query, and over them those of the body.
    pub input: Map<String, Value>,
    /// The URL of `/v1` under the name the client used, without a slash at its end.
    pub base: String,
}

impl Request {
    /// A header's text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Whether it asks for nothing but to read.
    #[must_use]
    pub fn reads(&self) -> bool {
        self.method == Method::GET || self.method == Method::HEAD
    }
}

/// A reply, short of the headers that all replies have.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: String,
}

impl Reply {
    /// A JSON document.
    #[must_use]
    pub fn json(status: StatusCode, body: Value) -> Self {
        Self::new(status, body.to_string(), "application/json; charset=utf-8")
    }

    /// Plain text.
    #[must_use]
    pub fn text(body: impl Into<String>, kind: &'static str) -> Self {
        Self::new(StatusCode::OK, body.into(), kind)
    }

    fn new(status: StatusCode, body: String, kind: &'static str) -> Self {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]);
        Self { status, headers, body }
    }

    /// With one more header; dropped when its value cannot stand in one.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }
}
