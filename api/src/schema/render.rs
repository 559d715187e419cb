//! Schema documents, as one account may see them.

use super::field::Field;
use super::filter::modifiers;
use super::resource::{Action, Type};
use super::trust::Grants;
use super::types::TABLE;
use serde_json::{Map, Value, json};

/// Parameters of every list that are no fields. Old command lines offer as options only what stands
/// among the filters, so these do.
pub const LIST_PARAMETERS: &[&str] = &["limit", "marker", "sort", "order", "include"];

/// All schemas that an account may see. `base` is the URL of `/v1`, without a slash at its end.
#[must_use]
pub fn schemas(base: &str, grants: Grants<'_>) -> Vec<Value> {
    TABLE.iter().map(|kind| schema(kind, base, grants)).collect()
}

/// One schema document.
#[must_use]
pub fn schema(kind: &'static Type, base: &str, grants: Grants<'_>) -> Value {
    let write = grants.write(kind);
    let creatable = write && kind.creatable();
    let updatable = write && kind.resource_methods.contains(&"PUT");
    json!({
        "id": kind.id,
        "type": "schema",
        "pluralName": kind.plural,
        "links": links(kind, base),
        "actions": {},
        "collectionMethods": methods(kind.collection_methods, write),
        "resourceMethods": methods(kind.resource_methods, write),
        "collectionFields": {},
        "collectionActions": {},
        "includeableLinks": kind.all_links().map(|link| link.name).collect::<Vec<_>>(),
        "collectionFilters": filters(kind, grants),
        "resourceFields": fields(kind, grants, creatable, updatable),
        "resourceActions": actions(kind, write),
    })
}

fn links(kind: &Type, base: &str) -> Value {
    let mut links = Map::new();
    links.insert("self".into(), format!("{base}/schemas/{}", kind.id).into());
    if !kind.collection_methods.is_empty() {
        links.insert("collection".into(), collection_url(kind, base).into());
    }
    Value::Object(links)
}

/// The URL that lists a type.
#[must_use]
pub fn collection_url(kind: &Type, base: &str) -> String {
    format!("{base}/{}", kind.plural.to_ascii_lowercase())
}

fn methods(all: &[&'static str], write: bool) -> Vec<&'static str> {
    all.iter().copied().filter(|method| write || *method == "GET").collect()
}

fn filters(kind: &'static Type, grants: Grants<'_>) -> Value {
    if kind.collection_methods.is_empty() {
        return json!({});
    }
    let fields = kind
        .all_fields()
        .filter(|field| grants.show(field) && !modifiers(field).is_empty())
        .map(|field| {
            let names: Vec<_> = modifiers(field).iter().map(|modifier| modifier.name()).collect();
            (field.name.to_owned(), json!({ "modifiers": names }))
        });
    let parameters =
        LIST_PARAMETERS.iter().map(|name| ((*name).to_owned(), json!({ "modifiers": ["eq"] })));
    Value::Object(fields.chain(parameters).collect())
}

fn fields(kind: &'static Type, grants: Grants<'_>, creatable: bool, updatable: bool) -> Value {
    // The fields of an input type are all there is to it; they stand as creatable although nothing
    // of that type is ever created.
    let input = kind.collection_methods.is_empty();
    let shown = kind.all_fields().filter(|field| grants.show(field)).map(|field| {
        let create = field.create && (creatable || input) && grants.write_field(field);
        let update = field.update && updatable && grants.write_field(field);
        (field.name.to_owned(), self::field(field, create, update))
    });
    Value::Object(shown.collect())
}

fn field(field: &Field, create: bool, update: bool) -> Value {
    let mut document = json!({
        "type": field.kind.name(),
        "create": create,
        "update": update,
        "required": create && field.required,
        "nullable": field.nullable,
        "unique": field.unique,
        "default": field.default.map_or(Value::Null, super::field::Default::value),
    });
    if let (Value::Object(document), super::FieldType::Enum(options)) = (&mut document, &field.kind)
    {
        document.insert("options".into(), json!(options));
    }
    let limits = [
        ("min", field.min.map(Value::from)),
        ("max", field.max.map(Value::from)),
        ("minLength", field.min_length.map(Value::from)),
        ("maxLength", field.max_length.map(Value::from)),
        ("validChars", field.valid_chars.map(Value::from)),
        ("description", Some(field.about).filter(|about| !about.is_empty()).map(Value::from)),
    ];
    if let Value::Object(document) = &mut document {
        let given = limits.into_iter().filter_map(|(name, limit)| Some((name.to_owned(), limit?)));
        document.extend(given);
    }
    document
}

fn actions(kind: &'static Type, write: bool) -> Value {
    let shown = kind
        .all_actions()
        .filter(|_| write)
        .map(|action| (action.name.to_owned(), self::action(kind, action)));
    Value::Object(shown.collect())
}

fn action(kind: &Type, action: &Action) -> Value {
    let mut document = json!({ "output": kind.id });
    if let (Value::Object(document), Some(input)) = (&mut document, action.input) {
        document.insert("input".into(), input.into());
    }
    document
}
