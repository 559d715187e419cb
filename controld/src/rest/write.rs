//! What can be changed: creates, updates, removals, actions.

use super::collection;
use super::document::{resource, url};
use super::fault::Fault;
use super::handle::Context;
use super::read::find;
use super::request::Reply;
use super::wait;
use crate::core::{Created, Refusal, View};
use api::schema::{Code, FieldError, Type, validate_create, validate_update};
use http::StatusCode;
use http::header::LOCATION;
use serde_json::Map;
use std::future::Future;
use std::time::Duration;

/// How long the core may take to write.
const DEADLINE: Duration = Duration::from_secs(10);

/// Longest idempotency key, in bytes.
const LONGEST_KEY: usize = 255;

/// Creates one resource, or `count` equal ones.
///
/// # Errors
/// When fields are at fault, or the core refuses.
pub async fn create(context: &Context, kind: &'static Type) -> Result<Reply, Fault> {
    let fields =
        validate_create(kind, &context.request.input, context.grants()).map_err(Fault::Fields)?;
    let key = idempotency_key(context)?;
    match in_time(context.core.create(&context.caller, kind.id, fields, key)).await? {
        Created::One(view) => {
            let view = wait::settled(context, view).await;
            let made = api::schema::find(view.kind).unwrap_or(kind);
            let location = url(context, made, &view.id);
            let reply = Reply::json(StatusCode::CREATED, resource(context, &view));
            Ok(reply.header(LOCATION, &location))
        }
        Created::Many(views) => {
            let location = api::schema::render::collection_url(kind, &context.request.base);
            let reply =
                Reply::json(StatusCode::CREATED, collection::created(context, kind, &views));
            Ok(reply.header(LOCATION, &location))
        }
    }
}

fn idempotency_key(context: &Context) -> Result<Option<&str>, Fault> {
    let given = context.request.headers.contains_key("idempotency-key");
    let key = context
        .request
        .header("idempotency-key")
        .filter(|key| !key.is_empty() && key.len() <= LONGEST_KEY);
    if given && key.is_none() {
        let message = format!("use 1 to {LONGEST_KEY} printable ASCII characters");
        let fault = FieldError::new("Idempotency-Key", Code::InvalidFormat, message);
        return Err(Fault::Fields(vec![fault]));
    }
    Ok(key)
}

/// Changes a resource; nothing is written when nothing changes.
///
/// # Errors
/// When there is none, fields are at fault, or the core refuses.
pub async fn update(context: &Context, kind: &'static Type, id: &str) -> Result<Reply, Fault> {
    let now = find(context, kind, id)?;
    let narrow = api::schema::find(now.kind).unwrap_or(kind);
    let change = validate_update(narrow, &context.request.input, &now.fields, context.grants())
        .map_err(Fault::Fields)?;
    let view = if change.is_empty() {
        now
    } else {
        in_time(context.core.update(&context.caller, narrow.id, id, change)).await?
    };
    Ok(Reply::json(StatusCode::OK, resource(context, &view)))
}

/// Removes a resource.
///
/// # Errors
/// When there is none, or the core refuses.
pub async fn remove(context: &Context, kind: &'static Type, id: &str) -> Result<Reply, Fault> {
    find(context, kind, id)?;
    let view = in_time(context.core.remove(&context.caller, kind.id, id)).await?;
    Ok(Reply::json(StatusCode::OK, resource(context, &view)))
}

/// Performs an action.
///
/// # Errors
/// When there is no such resource or action, it is not possible in this state, fields are at
/// fault, or the core refuses.
pub async fn act(
    context: &Context,
    kind: &'static Type,
    id: &str,
    name: &str,
) -> Result<Reply, Fault> {
    let now = find(context, kind, id)?;
    let narrow = api::schema::find(now.kind).unwrap_or(kind);
    let action = narrow.action(name).filter(|_| context.grants().write(narrow));
    let action = action.ok_or_else(|| Fault::Action {
        kind: narrow.id,
        action: name.escape_debug().take(64).collect(),
    })?;
    if !now.actions.contains(&action.name) {
        let state = now.fields.get("state").and_then(|state| state.as_str()).unwrap_or("unknown");
        let (id, state) = (id.to_owned(), state.to_owned());
        return Err(Fault::ActionState { action: action.name, id, state });
    }
    let input = match action.input.and_then(api::schema::find) {
        Some(input) => validate_create(input, &context.request.input, context.grants())
            .map_err(Fault::Fields)?,
        None => Map::new(),
    };
    let view: View =
        in_time(context.core.act(&context.caller, narrow.id, id, action.name, input)).await?;
    let view = wait::settled(context, view).await;
    Ok(Reply::json(StatusCode::ACCEPTED, resource(context, &view)))
}

/// What the core answers, unless that takes too long. The write may then still be done.
async fn in_time<T>(write: impl Future<Output = Result<T, Refusal>>) -> Result<T, Fault> {
    let answer = tokio::time::timeout(DEADLINE, write).await;
    Ok(answer.unwrap_or_else(|_| Err(Refusal::unavailable()))?)
}
