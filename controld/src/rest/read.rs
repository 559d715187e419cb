//! What can be read: versions, schemas, lists, resources, links.

use super::collection::{self, included};
use super::document::{url, with_included};
use super::fault::Fault;
use super::handle::Context;
use super::request::Reply;
use super::wait;
use crate::core::{Linked, View};
use api::schema::render::collection_url;
use api::schema::{Link, TABLE, Type};
use http::StatusCode;
use serde_json::{Map, Value, json};

/// `/`: the versions there are.
#[must_use]
pub fn root(context: &Context) -> Reply {
    let base = &context.request.base;
    let document = json!({
        "type": "collection",
        "resourceType": "apiVersion",
        "links": {"self": base.strip_suffix("v1").unwrap_or(base)},
        "actions": {},
        "data": [version_document(context)],
    });
    Reply::json(StatusCode::OK, document)
}

/// `/v1`: the ways to all lists.
#[must_use]
pub fn version(context: &Context) -> Reply {
    Reply::json(StatusCode::OK, version_document(context))
}

fn version_document(context: &Context) -> Value {
    let base = &context.request.base;
    let mut links = Map::from_iter([("self".to_owned(), base.as_str().into())]);
    for kind in TABLE.iter().filter(|kind| !kind.collection_methods.is_empty()) {
        links.insert(kind.plural.into(), collection_url(kind, base).into());
    }
    json!({"id": "v1", "type": "apiVersion", "links": links, "actions": {}})
}

/// One schema.
#[must_use]
pub fn schema(context: &Context, kind: &'static Type) -> Reply {
    let base = &context.request.base;
    Reply::json(StatusCode::OK, api::schema::render::schema(kind, base, context.grants()))
}

/// A list.
#[must_use]
pub fn list(context: &Context, kind: &'static Type) -> Reply {
    collection::all(context, kind)
}

/// A resource, once it is in the state that the query wants to wait for.
///
/// # Errors
/// When there is none.
pub async fn resource(context: &Context, kind: &'static Type, id: &str) -> Result<Reply, Fault> {
    let view = wait::settled(context, find(context, kind, id)?).await;
    let document = with_included(context, &view, &included(context, kind));
    Ok(Reply::json(StatusCode::OK, document))
}

/// What a link leads to.
///
/// # Errors
/// When the resource is not there, or the link leads nowhere now.
pub fn link(
    context: &Context,
    kind: &'static Type,
    id: &str,
    link: &'static Link,
) -> Result<Reply, Fault> {
    find(context, kind, id)?;
    let target = api::schema::find(link.target);
    let linked = context.core.link(&context.caller, kind.id, id, link.name);
    match (linked, target) {
        (Some(Linked::One(view)), _) => {
            Ok(Reply::json(StatusCode::OK, with_included(context, &view, &[])))
        }
        (Some(Linked::Many(views)), Some(target)) => {
            let this = format!("{}/{}", url(context, kind, id), link.name.to_ascii_lowercase());
            Ok(collection::list(context, target, views, &this))
        }
        _ => Err(Fault::NotFound(format!("{} of {} {id}", link.name, kind.id))),
    }
}

/// A resource that must be there.
///
/// # Errors
/// When it is not, or belongs to somebody else.
pub fn find(context: &Context, kind: &'static Type, id: &str) -> Result<View, Fault> {
    let missing = || Fault::NotFound(format!("{} {}", kind.id, id.escape_debug()));
    context.core.get(&context.caller, kind.id, id).ok_or_else(missing)
}
