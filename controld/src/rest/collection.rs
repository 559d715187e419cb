//! Lists as documents.

use super::document::with_included;
use super::filters::{self, Term};
use super::handle::Context;
use super::page::{Order, Page, cut};
use super::request::Reply;
use crate::core::View;
use crate::show::LIGHT;
use api::schema::filter::modifiers;
use api::schema::render::{LIST_PARAMETERS, collection_url};
use api::schema::{Link, TABLE, Type, is_a};
use http::StatusCode;
use serde_json::{Map, Value, json};

/// Which of a list's resources the query asks for.
struct Choice {
    terms: Vec<Term>,
    order: Order,
}

impl Choice {
    fn read(context: &Context, kind: &'static Type) -> Self {
        let (query, grants) = (&context.request.query, context.grants());
        let terms = filters::read(kind, query, grants);
        Self { terms, order: Order::read(kind, query, grants) }
    }

    /// The fields it looks at.
    fn fields(&self) -> Vec<&'static str> {
        let fields = self.terms.iter().map(Term::field).chain(self.order.field);
        fields.map(|field| field.name).collect()
    }

    fn page(&self, context: &Context, mut views: Vec<View>) -> Page {
        views.iter_mut().for_each(name_itself);
        views.retain(|view| self.terms.iter().all(|term| term.holds(&view.fields)));
        cut(views, self.order, &context.request.query)
    }
}

/// All resources of a type, narrowed, ordered and cut as the query asks. Only the page's views are
/// built, if what is asked for can be told without them.
#[must_use]
pub fn all(context: &Context, kind: &'static Type) -> Reply {
    let choice = Choice::read(context, kind);
    let (core, caller) = (&context.core, &context.caller);
    let fields = choice.fields();
    let page = if fields.iter().all(|name| ["id", "type"].contains(name) || LIGHT.contains(name)) {
        let mut page = choice.page(context, core.outline(caller, kind.id, &fields));
        let full = page.views.iter().filter_map(|view| core.get(caller, view.kind, &view.id));
        page.views = full.collect();
        page
    } else {
        choice.page(context, core.list(caller, kind.id))
    };
    document(context, kind, &choice, &page, &collection_url(kind, &context.request.base))
}

/// Narrows, orders and cuts a list as the query asks. `this` is its URL without the query.
#[must_use]
pub fn list(context: &Context, kind: &'static Type, views: Vec<View>, this: &str) -> Reply {
    let choice = Choice::read(context, kind);
    let page = choice.page(context, views);
    document(context, kind, &choice, &page, this)
}

fn document(
    context: &Context,
    kind: &'static Type,
    choice: &Choice,
    page: &Page,
    this: &str,
) -> Reply {
    let included = included(context, kind);
    let data = page.views.iter().map(|view| with_included(context, view, &included)).collect();
    let filters = filters::document(kind, &choice.terms, context.grants());
    let mut document = shell(context, kind, data, this);
    document.insert("filters".into(), filters);
    document.insert("pagination".into(), pagination(context, page, this));
    document.insert("sort".into(), sort(choice.order));
    document.insert("sortLinks".into(), sort_links(context, kind, this));
    Reply::json(StatusCode::OK, Value::Object(document))
}

/// Several resources that were made at once.
#[must_use]
pub fn created(context: &Context, kind: &'static Type, views: &[View]) -> Value {
    let this = collection_url(kind, &context.request.base);
    let data = views.iter().map(|view| with_included(context, view, &[])).collect();
    Value::Object(shell(context, kind, data, &this))
}

/// All schemas that the caller may see.
#[must_use]
pub fn schemas(context: &Context) -> Reply {
    let base = &context.request.base;
    let document = json!({
        "type": "collection",
        "resourceType": "schema",
        "links": {"self": format!("{base}/schemas")},
        "actions": {},
        "createTypes": {},
        "createDefaults": {},
        "data": api::schema::render::schemas(base, context.grants()),
    });
    Reply::json(StatusCode::OK, document)
}

/// Links of this type that the query wants in place. Names are separated by commas or repeated.
#[must_use]
pub fn included(context: &Context, kind: &'static Type) -> Vec<&'static Link> {
    let wanted = context.request.query.iter().filter(|(name, _)| name == "include");
    let mut links: Vec<_> = wanted
        .flat_map(|(_, names)| names.split(','))
        .filter_map(|name| kind.link(name.trim()))
        .collect();
    links.dedup_by_key(|link| link.name);
    links
}

/// Filters look at `id`, `type` and `kind` like at any other field.
fn name_itself(view: &mut View) {
    view.fields.insert("id".into(), view.id.as_str().into());
    view.fields.insert("type".into(), view.kind.into());
    view.fields.entry("kind").or_insert_with(|| view.kind.into());
}

fn shell(
    context: &Context,
    kind: &'static Type,
    data: Vec<Value>,
    this: &str,
) -> Map<String, Value> {
    let document = json!({
        "type": "collection",
        "resourceType": kind.id,
        "links": {"self": this},
        "actions": {},
        "createTypes": create_types(context, kind),
        "createDefaults": {},
        "data": data,
    });
    match document {
        Value::Object(document) => document,
        _ => Map::new(),
    }
}

fn create_types(context: &Context, kind: &Type) -> Value {
    let grants = context.grants();
    let below = TABLE
        .iter()
        .copied()
        .filter(|below| is_a(below, kind) && below.creatable() && grants.write(below));
    let urls = below
        .map(|below| (below.id.to_owned(), collection_url(below, &context.request.base).into()));
    Value::Object(urls.collect())
}

fn pagination(context: &Context, page: &Page, this: &str) -> Value {
    let at = |marker: Option<&str>| page_url(context, this, marker);
    let previous = page.previous.as_ref().map(|marker| at(marker.as_deref()));
    json!({
        "limit": page.limit,
        "total": page.total,
        "partial": page.next.is_some() || page.previous.is_some(),
        "first": page.previous.as_ref().map(|_| at(None)),
        "previous": previous,
        // Old clients look for this name.
        "prev": previous,
        "next": page.next.as_deref().map(|marker| at(Some(marker))),
    })
}

/// The URL of a page of this list: the same query with another marker, without the options that old
/// command lines leak into it, some of which are secret.
fn page_url(context: &Context, this: &str, marker: Option<&str>) -> String {
    let kept = context
        .request
        .query
        .iter()
        .filter(|(name, _)| name != "marker" && !name.starts_with('_'))
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let all: Vec<(&str, &str)> = kept.chain(marker.map(|marker| ("marker", marker))).collect();
    match serde_urlencoded::to_string(&all) {
        Ok(query) if !query.is_empty() => format!("{this}?{query}"),
        _ => this.to_owned(),
    }
}

fn sort(order: Order) -> Value {
    let name = |direction: bool| if direction { "desc" } else { "asc" };
    order.field.map_or(Value::Null, |field| {
        json!({
            "name": field.name,
            "order": name(order.descending),
            "reverse": name(!order.descending),
        })
    })
}

fn sort_links(context: &Context, kind: &'static Type, this: &str) -> Value {
    let grants = context.grants();
    let sortable = kind.all_fields().filter(|field| {
        grants.show(field) && !modifiers(field).is_empty() && !LIST_PARAMETERS.contains(&field.name)
    });
    let links =
        sortable.map(|field| (field.name.to_owned(), format!("{this}?sort={}", field.name).into()));
    Value::Object(links.collect())
}
