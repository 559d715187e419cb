//! What to answer to one request: a pure function of instance, request and clock.

use crate::instance::Instance;
use crate::token::{LONGEST_LIFE, SHORTEST_LIFE, Tokens};
use crate::{ec2, openstack, path};
use std::time::Duration;

/// The page for what is not there, as it has always looked.
const NOT_FOUND: &str = r#"<?xml version="1.0" encoding="iso-8859-1"?>
<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN"
	"http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd">
<html xmlns="http://www.w3.org/1999/xhtml" xml:lang="en" lang="en">
 <head>
  <title>404 - Not Found</title>
 </head>
 <body>
  <h1>404 - Not Found</h1>
 </body>
</html>
"#;

/// What a request wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Read.
    Get,
    /// Ask for a token.
    Put,
    /// Anything else.
    Other,
}

/// A request, as far as the answer depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// What it wants done.
    pub method: Method,
    /// Path and query as they came.
    pub target: &'a str,
    /// The session token it shows.
    pub token: Option<&'a str>,
    /// The life it wants for a token. In seconds.
    pub token_life: Option<&'a str>,
    /// Whether it came through a proxy, which may speak for anybody.
    pub forwarded: bool,
}

/// An answer.
#[derive(Clone, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The body's media type.
    pub content_type: &'static str,
    /// The body.
    pub body: Vec<u8>,
    /// Where to look instead.
    pub location: Option<String>,
    /// Set when the body is a token: its life in seconds. Such an answer must not travel further
    /// than one hop.
    pub token_life: Option<u32>,
}

impl Reply {
    fn new(status: u16, content_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self { status, content_type, body: body.into(), location: None, token_life: None }
    }

    fn text(body: impl Into<Vec<u8>>) -> Self {
        Self::new(200, "text/plain", body)
    }

    fn bare(status: u16) -> Self {
        Self::new(status, "text/plain", "")
    }

    fn not_found() -> Self {
        Self::new(404, "text/html", NOT_FOUND)
    }

    /// The service cannot do now what it should.
    pub(crate) fn unavailable() -> Self {
        Self::bare(503)
    }

    fn moved(location: String) -> Self {
        Self { location: Some(location), ..Self::bare(301) }
    }
}

/// Answers the request of `instance`; of nobody known when there is none. `now` is the clock that
/// `tokens` go by.
#[must_use]
pub fn respond(
    instance: Option<&Instance>,
    tokens: &Tokens,
    now: Duration,
    request: &Request<'_>,
) -> Reply {
    let Some(parts) = path::parts(request.target) else { return Reply::not_found() };
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    match (request.method, parts.as_slice()) {
        (Method::Put, ["latest", "api", "token"]) => token(instance, tokens, now, request),
        (Method::Get, [""]) => Reply::text(ec2::versions()),
        (Method::Get, [version]) if ec2::is_version(version) => {
            Reply::moved(format!("/{version}/"))
        }
        (Method::Get, parts) => match instance {
            None => Reply::not_found(),
            Some(instance) if !may_read(instance, tokens, now, request) => Reply::bare(401),
            Some(instance) => tell(instance, parts),
        },
        _ => Reply::bare(405),
    }
}

/// Gives a token to who proves by a PUT, and without a proxy, that it speaks for itself.
fn token(
    instance: Option<&Instance>,
    tokens: &Tokens,
    now: Duration,
    request: &Request<'_>,
) -> Reply {
    let Some(instance) = instance else { return Reply::not_found() };
    if request.forwarded {
        return Reply::bare(403);
    }
    let life = request.token_life.and_then(|text| text.trim().parse().ok());
    let Some(life) = life.filter(|life| (SHORTEST_LIFE..=LONGEST_LIFE).contains(life)) else {
        return Reply::bare(400);
    };
    let token = tokens.issue(&instance.uuid, life, now);
    Reply { token_life: Some(life), ..Reply::text(token) }
}

/// A wrong token is refused even where none is required, so that a guest notices and asks again.
fn may_read(instance: &Instance, tokens: &Tokens, now: Duration, request: &Request<'_>) -> bool {
    match request.token {
        Some(token) => tokens.is_valid(&instance.uuid, token, now),
        None => !instance.token_required,
    }
}

fn tell(instance: &Instance, parts: &[&str]) -> Reply {
    match parts {
        ["openstack", rest @ ..] => match openstack::answer(instance, rest) {
            Some(openstack::Answer::Text(text)) => Reply::text(text),
            Some(openstack::Answer::Bytes(bytes)) => Reply::text(bytes),
            Some(openstack::Answer::Json(text)) => Reply::new(200, "application/json", text),
            None => Reply::not_found(),
        },
        [version, rest @ ..] if ec2::is_version(version) => match ec2::answer(instance, rest) {
            Some(ec2::Answer::Text(text)) => Reply::text(text),
            Some(ec2::Answer::Bytes(bytes)) => Reply::text(bytes),
            None => Reply::not_found(),
        },
        _ => Reply::not_found(),
    }
}

#[cfg(test)]
mod tests;
