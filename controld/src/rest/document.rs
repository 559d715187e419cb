//! Resources as documents: fields, companions of dates, links and actions.

use super::handle::Context;
use crate::core::{Linked, View};
use api::schema::render::collection_url;
use api::schema::{FieldType, Link, Type, find};
use serde_json::{Map, Value};

/// A resource's document. Only what the schema table says is shown: missing fields as null, and
/// none of those that are inputs only, since a field hides the link of the same name in clients.
#[must_use]
pub fn resource(context: &Context, view: &View) -> Value {
    let Some(kind) = find(view.kind) else { return Value::Null };
    let grants = context.grants();
    let mut document = Map::new();
    for field in kind.all_fields().filter(|field| field.shown && grants.show(field)) {
        let value = view.fields.get(field.name).cloned().unwrap_or(Value::Null);
        if field.kind == FieldType::Date {
            document.insert(format!("{}TS", field.name), epoch_milliseconds(&value));
        }
        document.insert(field.name.into(), value);
    }
    let this = url(context, kind, &view.id);
    document.insert("id".into(), view.id.as_str().into());
    document.insert("type".into(), kind.id.into());
    if document.get("kind").is_none_or(Value::is_null) {
        document.insert("kind".into(), kind.id.into());
    }
    if document.get("data").is_none_or(|data| !data.is_object()) {
        document.insert("data".into(), Value::Object(Map::new()));
    }
    document.insert("links".into(), links(kind, &this));
    document.insert("actions".into(), actions(context, kind, view, &this));
    Value::Object(document)
}

/// The same, with the resources of the given links in place.
#[must_use]
pub fn with_included(context: &Context, view: &View, included: &[&'static Link]) -> Value {
    let mut document = resource(context, view);
    let Value::Object(fields) = &mut document else { return document };
    for link in included {
        let linked = context.core.link(&context.caller, view.kind, &view.id, link.name);
        let views = match linked {
            Some(Linked::One(view)) => vec![view],
            Some(Linked::Many(views)) => views,
            None => Vec::new(),
        };
        let documents = views.iter().map(|view| resource(context, view)).collect();
        fields.insert(link.name.into(), Value::Array(documents));
    }
    document
}

/// A resource's URL.
#[must_use]
pub fn url(context: &Context, kind: &Type, id: &str) -> String {
    format!("{}/{id}", collection_url(kind, &context.request.base))
}

fn links(kind: &'static Type, this: &str) -> Value {
    let own = std::iter::once(("self".to_owned(), this.into()));
    let others = kind.all_links().map(|link| {
        (link.name.to_owned(), format!("{this}/{}", link.name.to_ascii_lowercase()).into())
    });
    Value::Object(own.chain(others).collect())
}

fn actions(context: &Context, kind: &'static Type, view: &View, this: &str) -> Value {
    let available = |name: &str| context.grants().write(kind) && view.actions.contains(&name);
    let shown = kind.all_actions().filter(|action| available(action.name));
    let urls = shown
        .map(|action| (action.name.to_owned(), format!("{this}/?action={}", action.name).into()));
    Value::Object(urls.collect())
}

fn epoch_milliseconds(date: &Value) -> Value {
    let moment = date.as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok());
    moment.map_or(Value::Null, |moment| moment.as_millisecond().into())
}
