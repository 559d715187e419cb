//! The agents' port: mutual TLS, long polls for snapshots, reports, enrolment.
//!
//! A client certificate of the cloud's CA is required on all paths but enrolment; it names the host,
//! and a host reads and writes only what is its own. What is refused gets a refusal and nothing else.

mod enrol;
mod identity;
mod listener;
mod poll;
mod routes;
mod tls;

pub use listener::serve;
pub use tls::{TlsError, acceptor};

use api::enrol::Refusal;
use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;

/// An answer.
type Answer = Response<Full<Bytes>>;

/// A request that is refused.
#[derive(Debug)]
struct Refused {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Refused {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid", message)
    }

    fn busy() -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "busy", "too much at once: come again")
    }

    fn answer(self) -> Answer {
        let refusal = Refusal { code: self.code.into(), message: self.message };
        let mut answer = json(self.status, &refusal);
        if self.status == StatusCode::TOO_MANY_REQUESTS {
            answer
                .headers_mut()
                .insert(http::header::RETRY_AFTER, http::HeaderValue::from_static("1"));
        }
        answer
    }
}

/// An answer with a JSON body.
fn json(status: StatusCode, value: &impl serde::Serialize) -> Answer {
    let Ok(body) = serde_json::to_vec(value) else {
        return empty(StatusCode::INTERNAL_SERVER_ERROR);
    };
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    answer
}

/// An answer without a body.
fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = status;
    answer
}
