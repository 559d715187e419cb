//! The way of one request: guards, body, caller, route, answer.

use super::authenticate;
use super::body::{self, Parameters};
use super::fault::Fault;
use super::guard;
use super::metrics;
use super::page::last;
use super::request::{Reply, Request};
use super::route::Route;
use super::server::Shared;
use super::{collection, read, write};
use crate::core::{Caller, Core};
use api::schema::{Grants, Type};
use bytes::Buf;
use futures_util::Stream;
use http::{HeaderMap, Method};
use std::str::FromStr;
use tokio::sync::watch;

/// What the answer to one request is made from.
#[derive(Clone)]
pub struct Context {
    /// The cloud.
    pub core: Core,
    /// Who asks.
    pub caller: Caller,
    /// What is asked.
    pub request: Request,
    /// Becomes true when the server ends, for those who wait.
    pub ending: watch::Receiver<bool>,
}

impl Context {
    /// What the caller may do beyond the ordinary.
    #[must_use]
    pub fn grants(&self) -> Grants<'_> {
        Grants { admin: self.caller.admin, names: &self.caller.trusted }
    }
}

/// A request's first line and headers.
#[derive(Clone, Debug)]
pub struct Head {
    /// The method as it was sent.
    pub method: Method,
    /// The URL's path.
    pub path: String,
    /// The URL's query.
    pub query: String,
    /// Headers.
    pub headers: HeaderMap,
}

/// Answers a request from one of our own names. `base` is the URL of `/v1` under that name.
///
/// # Errors
/// Whatever keeps the request from being served.
pub async fn answer<S, B, E>(
    shared: &Shared,
    head: Head,
    base: String,
    content: S,
) -> Result<Reply, Fault>
where
    S: Stream<Item = Result<B, E>>,
    B: Buf,
{
    let route = Route::read(&head.path);
    let content = body::collect(&head.headers, content).await?;
    if let Some(reply) = service(shared, &route, &head.method)? {
        return Ok(reply);
    }
    let caller = authenticate::caller(&shared.options)?;
    let query = body::query(&head.query);
    let sent = body::read(&head.headers, content).await?;
    let mut input = body::merge(query.clone());
    input.extend(sent);
    let method = overridden(&head.method, &input);
    let request = Request { method, query, headers: head.headers, input, base };
    let (core, ending) = (shared.core.clone(), shared.ending.clone());
    dispatch(&Context { core, caller, request, ending }, route).await
}

/// Checks by which name and from where a request came; the URL of `/v1` under that name.
///
/// # Errors
/// When the name is not ours, or a foreign page sends it.
pub fn base(shared: &Shared, headers: &HeaderMap) -> Result<String, Fault> {
    let options = &shared.options;
    let authority = guard::host(headers, &options.hosts)?;
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let mut scheme = "http";
    let mut public = authority;
    if options.forwarded {
        scheme = text("x-forwarded-proto").filter(|scheme| *scheme == "https").unwrap_or(scheme);
        if let Some(host) = headers.get("x-forwarded-host") {
            let forwarded = HeaderMap::from_iter([(http::header::HOST, host.clone())]);
            guard::host(&forwarded, &options.hosts)?;
            public = text("x-forwarded-host").unwrap_or(authority);
        }
    }
    guard::same_origin(headers, public)?;
    Ok(format!("{scheme}://{public}/v1"))
}

/// What is answered to everybody.
fn service(shared: &Shared, route: &Route, method: &Method) -> Result<Option<Reply>, Fault> {
    let reply = match route {
        Route::Ping => Reply::text("pong", "text/plain; charset=utf-8"),
        Route::Health => Reply::text("ok", "text/plain; charset=utf-8"),
        Route::Metrics => metrics::reply(&shared.core, &shared.requests),
        _ => return Ok(None),
    };
    if *method == Method::GET || *method == Method::HEAD {
        Ok(Some(reply))
    } else {
        Err(Fault::Method { method: method.to_string(), allow: vec!["GET"] })
    }
}

/// Forms can only POST, so they name the method they mean.
fn overridden(method: &Method, input: &serde_json::Map<String, serde_json::Value>) -> Method {
    let named = input.get("_method").and_then(|name| name.as_str());
    let meant = named.and_then(|name| Method::from_str(&name.to_ascii_uppercase()).ok());
    match meant {
        Some(meant @ (Method::PUT | Method::DELETE)) if *method == Method::POST => meant,
        _ => method.clone(),
    }
}

async fn dispatch(context: &Context, route: Route) -> Result<Reply, Fault> {
    match route {
        Route::Collection(kind) => on_collection(context, kind).await,
        Route::Resource(kind, id) => on_resource(context, kind, &id).await,
        Route::Nothing(path) => Err(Fault::NotFound(path)),
        _ if !context.request.reads() => Err(refused(context, vec!["GET"])),
        Route::Link(kind, id, link) => read::link(context, kind, &id, link),
        Route::Schemas => Ok(collection::schemas(context)),
        Route::Schema(kind) => Ok(read::schema(context, kind)),
        Route::Version => Ok(read::version(context)),
        // The services have answered before.
        Route::Root | Route::Ping | Route::Health | Route::Metrics => Ok(read::root(context)),
    }
}

async fn on_collection(context: &Context, kind: &'static Type) -> Result<Reply, Fault> {
    let allow = permitted(context, kind, kind.collection_methods);
    let request = &context.request;
    match (&request.method, action(&request.query)) {
        _ if request.reads() && allow.contains(&"GET") => Ok(read::list(context, kind)),
        (&Method::POST, Some(action)) => {
            let action = action.escape_debug().take(64).collect();
            Err(Fault::Action { kind: kind.id, action })
        }
        (&Method::POST, None) if allow.contains(&"POST") => write::create(context, kind).await,
        _ => Err(refused(context, allow)),
    }
}

async fn on_resource(context: &Context, kind: &'static Type, id: &str) -> Result<Reply, Fault> {
    let allow = permitted(context, kind, kind.resource_methods);
    let request = &context.request;
    match (&request.method, action(&request.query)) {
        _ if request.reads() && allow.contains(&"GET") => read::resource(context, kind, id).await,
        (&Method::POST, Some(action)) => write::act(context, kind, id, action).await,
        (&Method::PUT, _) if allow.contains(&"PUT") => write::update(context, kind, id).await,
        (&Method::DELETE, _) if allow.contains(&"DELETE") => write::remove(context, kind, id).await,
        _ => Err(refused(context, allow)),
    }
}

fn permitted(context: &Context, kind: &Type, methods: &[&'static str]) -> Vec<&'static str> {
    let write = context.grants().write(kind);
    methods.iter().copied().filter(|method| write || *method == "GET").collect()
}

fn refused(context: &Context, allow: Vec<&'static str>) -> Fault {
    Fault::Method { method: context.request.method.to_string(), allow }
}

fn action(query: &Parameters) -> Option<&str> {
    last(query, "action")
}
