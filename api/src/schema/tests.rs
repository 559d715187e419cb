//! What every type of the table must keep to, and what validation does with anything at all.

use super::*;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

const BASE: &str = "http://127.0.0.1:9080/v1";

/// Methods of a Python dict: a field, link or action of that name hides one of them.
const DICT_METHODS: &[&str] = &[
    "items",
    "iteritems",
    "keys",
    "values",
    "get",
    "pop",
    "copy",
    "clear",
    "update",
    "setdefault",
];

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("not an object: {other}"),
    }
}

fn kind(id: &str) -> &'static Type {
    find(id).unwrap()
}

fn create(id: &str, input: Value) -> Result<Map<String, Value>, Vec<FieldError>> {
    validate_create(kind(id), &object(input), Grants::ADMIN)
}

/// The faults of a create by field, as an ordinary account.
fn faults(id: &str, input: Value) -> BTreeMap<String, Code> {
    let faults = validate_create(kind(id), &object(input), Grants::PLAIN).unwrap_err();
    for fault in &faults {
        assert!(fault.message.contains(": "), "no remedy in: {fault}");
    }
    faults.into_iter().map(|fault| (fault.field, fault.code)).collect()
}

fn documents() -> Vec<Value> {
    let mut all = render::schemas(BASE, Grants::ADMIN);
    all.extend(render::schemas(BASE, Grants::PLAIN));
    all
}

#[test]
fn every_document_keeps_to_what_old_clients_can_read() {
    let ids: BTreeSet<&str> = TABLE.iter().map(|kind| kind.id).collect();
    assert_eq!(ids.len(), TABLE.len(), "an id stands twice");
    for document in documents() {
        let id = document["id"].as_str().unwrap();
        assert_eq!(document["type"], "schema");
        let methods = |name: &str| document[name].as_array().unwrap().clone();
        methods("resourceMethods");
        let creatable = methods("collectionMethods").contains(&json!("POST"));
        let listable = methods("collectionMethods").contains(&json!("GET"));
        if creatable || listable {
            assert!(document["links"]["collection"].is_string(), "{id} has no collection");
        }
        let filters = document["collectionFilters"].as_object().unwrap();
        for (name, filter) in filters {
            assert!(filter["modifiers"].is_array(), "{id}.{name}");
            let splits = name
                .rsplit_once('_')
                .is_some_and(|(_, last)| filter::Modifier::read(last).is_some());
            assert!(!splits, "{id}.{name} reads as a filter with a modifier");
        }
        assert!(!listable || filters.contains_key("id"), "{id} cannot be filtered by id");
        for (_, action) in document["resourceActions"].as_object().unwrap() {
            if let Some(input) = action["input"].as_str() {
                let input = find(input).unwrap();
                assert!(input.collection_methods.is_empty());
                assert!(input.all_fields().all(|field| field.name != "obj"));
                assert!(input.all_fields().all(|field| field.name != "action_name"));
            }
        }
        check_fields(id, &document, creatable);
    }
}

fn check_fields(id: &str, document: &Value, creatable: bool) {
    for (name, field) in document["resourceFields"].as_object().unwrap() {
        assert!(field["type"].is_string());
        let written = field["create"] == true || field["update"] == true;
        assert!(field["create"].is_boolean() && field["update"].is_boolean());
        let reserved = ["id", "help", "type", "self"].contains(&name.as_str());
        assert!(!written || !reserved, "{id}.{name} cannot be an option");
        assert!(!DICT_METHODS.contains(&name.as_str()), "{id}.{name} hides a dict method");
        assert!(field["required"] == false || field["create"] == true, "{id}.{name}");
        let input = document["collectionMethods"].as_array().unwrap().is_empty();
        assert!(field["create"] == false || creatable || input, "{id}.{name}");
    }
}

#[test]
fn links_and_actions_lead_somewhere_and_hide_nothing() {
    for kind in TABLE.iter().copied() {
        let shown: BTreeSet<_> =
            kind.all_fields().filter(|field| field.shown).map(|field| field.name).collect();
        for link in kind.all_links() {
            let target = find(link.target).unwrap();
            let field = match link.path {
                Path::Own(name) | Path::OwnAsList(name) => kind.field(name),
                Path::Theirs(name) => target.field(name),
            };
            assert!(field.is_some(), "{}.{} goes by a field that is not there", kind.id, link.name);
            assert!(!shown.contains(link.name), "{}.{} is hidden by a field", kind.id, link.name);
            assert!(!DICT_METHODS.contains(&link.name));
        }
        for action in kind.all_actions() {
            assert!(!shown.contains(action.name), "{}.{}", kind.id, action.name);
            assert!(!DICT_METHODS.contains(&action.name));
            assert!(action.input.is_none_or(|input| find(input).is_some()));
        }
    }
}

#[test]
fn all_references_name_types_of_the_table() {
    fn check(kind: &FieldType) {
        match kind {
            FieldType::Reference(to) | FieldType::Object(to) => assert!(find(to).is_some(), "{to}"),
            FieldType::Array(of) | FieldType::Map(of) => check(of),
            _ => {}
        }
    }
    TABLE.iter().copied().flat_map(Type::all_fields).for_each(|field| check(&field.kind));
}

#[test]
fn ids_carry_the_letters_of_the_topmost_type() {
    assert_eq!(kind("container").public_id(12), "1i12");
    assert_eq!(kind("virtualMachine").letters(), "i");
    assert_eq!(kind("ipAddress").letters(), "ia");
    assert_eq!(kind("registrationToken").letters(), "c");
    assert_eq!(kind("container").number("1i12"), Some(12));
    for wrong in ["", "1i", "i12", "1i-2", "1ia2", "1i2x", "1i99999999999999999999"] {
        assert_eq!(kind("container").number(wrong), None, "{wrong}");
    }
    assert!(is_a(kind("container"), kind("instance")));
    assert!(!is_a(kind("instance"), kind("container")));
    assert_eq!(find("CONTAINERS").unwrap().id, "container");
}

#[test]
fn values_are_fitted_both_ways() {
    let container = create(
        "container",
        json!({
            "imageUuid": "docker:nginx", "name": 7, "memoryMb": "64", "startOnCreate": "True",
            "environment": "A=b,C=d=e", "commandArgs": 80, "labels": {"n": 1}, "_format": "table",
            "networkIds": "1n5", "nonsense": {}, "count": null,
            "restartPolicy": "{\"name\":\"on-failure\",\"maximumRetryCount\":\"3\"}",
        }),
    )
    .unwrap();
    assert_eq!(container["name"], "7");
    assert_eq!(container["memoryMb"], 64);
    assert_eq!(container["startOnCreate"], true);
    assert_eq!(container["environment"], json!({"A": "b", "C": "d=e"}));
    assert_eq!(container["commandArgs"], json!(["80"]));
    assert_eq!(container["labels"], json!({"n": "1"}));
    assert_eq!(container["networkIds"], json!(["1n5"]));
    assert_eq!(container["restartPolicy"], json!({"name": "on-failure", "maximumRetryCount": 3}));
    assert_eq!(container["instanceTriggeredStop"], "stop");
    for absent in ["_format", "nonsense", "count"] {
        assert!(!container.contains_key(absent), "{absent}");
    }
}

#[test]
fn all_faults_are_told_at_once() {
    let got = faults(
        "container",
        json!({
            "memoryMb": "much", "networkIds": [null], "instanceTriggeredStop": "explode",
            "hostname": "two.labels", "imageId": "1x5", "cpuShares": 1, "uuid": "a b",
            "name": "x".repeat(256), "labels": {"type": "t", "links": "l"},
        }),
    );
    let want = [
        ("cpuShares", Code::MinLimitExceeded),
        ("hostname", Code::InvalidFormat),
        ("imageId", Code::InvalidReference),
        ("instanceTriggeredStop", Code::InvalidOption),
        ("labels", Code::InvalidFormat),
        ("memoryMb", Code::InvalidFormat),
        ("name", Code::MaxLengthExceeded),
        ("networkIds", Code::NotNullable),
        ("uuid", Code::InvalidCharacters),
    ];
    assert_eq!(got, want.map(|(field, code)| (field.to_owned(), code)).into());
}

#[test]
fn fields_must_fit_each_other() {
    assert_eq!(faults("container", json!({}))["imageUuid"], Code::MissingRequired);
    let both = json!({"imageUuid": "docker:x", "networkIds": ["1n1"], "subnetIds": ["1s1"]});
    assert_eq!(faults("container", both)["networkIds"], Code::NetworkIdsSubnetIdsMutuallyExclusive);
    let ec2 = json!({"imageUuid": "x", "presentation": "ec2",
                     "uuid": "123e4567-e89b-42d3-a456-426614174000"});
    assert_eq!(faults("virtualMachine", ec2)["uuid"], Code::InvalidFormat);
}

#[test]
fn bad_ranges_are_refused_with_the_field() {
    let subnet = |more: Value| {
        let mut input = object(json!({"networkId": "1n1", "networkAddress": "192.168.10.0"}));
        input.extend(object(more));
        Value::Object(input)
    };
    assert!(create("subnet", subnet(json!({}))).is_ok());
    let cases = [
        (json!({"networkAddress": "10.0.0"}), "networkAddress", Code::InvalidFormat),
        (json!({"cidrSize": "33"}), "cidrSize", Code::MaxLimitExceeded),
        (json!({"cidrSize": "abc"}), "cidrSize", Code::InvalidFormat),
        (json!({"endAddress": "192.168.210"}), "endAddress", Code::InvalidFormat),
        (json!({"startAddress": "192.168.11.1"}), "startAddress", Code::InvalidFormat),
        (json!({"gateway": "192.168.10.255"}), "gateway", Code::InvalidFormat),
        (
            json!({"startAddress": "192.168.10.9", "endAddress": "192.168.10.8"}),
            "endAddress",
            Code::InvalidFormat,
        ),
        (
            json!({"startAddress": "192.168.10.5", "endAddress": "192.168.10.8",
                   "gateway": "192.168.10.6"}),
            "gateway",
            Code::InvalidFormat,
        ),
    ];
    for (more, field, code) in cases {
        assert_eq!(faults("subnet", subnet(more))[field], code, "{field}");
    }
}

#[test]
fn every_trusted_value_is_refused_to_a_plain_account_and_taken_with_the_grant() {
    let cases = [
        ("container", "privileged", json!(true), json!({"imageUuid": "docker:x"})),
        ("container", "dockerVolumes", json!(["/etc:/etc"]), json!({"imageUuid": "docker:x"})),
        ("container", "requestedHostId", json!("1h1"), json!({"imageUuid": "docker:x"})),
        ("virtualMachine", "requestedHostId", json!("1h1"), json!({"imageUuid": "x"})),
        ("container", "accountId", json!("1a1"), json!({"imageUuid": "docker:x"})),
        ("image", "url", json!("file:///etc/shadow"), json!({})),
    ];
    for (id, field, value, rest) in cases {
        let mut input = object(rest);
        input.insert(field.into(), value);
        assert_eq!(faults(id, Value::Object(input.clone()))[field], Code::TrustedField);
        let names = BTreeSet::from([field.to_owned()]);
        let granted = Grants { admin: false, names: &names };
        validate_create(kind(id), &input, granted).unwrap();
        validate_create(kind(id), &input, Grants::ADMIN).unwrap();
    }
    let named = json!({"imageUuid": "docker:x", "dockerVolumes": ["data:/data:ro"]});
    validate_create(kind("container"), &object(named), Grants::PLAIN).unwrap();
    let plain = render::schema(kind("container"), BASE, Grants::PLAIN);
    assert!(plain["resourceFields"]["privileged"].is_null());
    assert!(plain["resourceFields"]["dockerVolumes"].is_object());
    let tokens = render::schema(kind("registrationToken"), BASE, Grants::PLAIN);
    assert_eq!(tokens["collectionMethods"], json!(["GET"]));
}

#[test]
fn a_change_holds_only_what_changes() {
    let current = object(json!({"name": "web", "description": null, "state": "running",
        "instanceTriggeredStop": "stop", "data": {}}));
    let mut whole = current.clone();
    whole.insert("description".into(), "hello".into());
    whole.insert("links".into(), json!({"self": "x"}));
    whole.insert("state".into(), "removed".into());
    let change = validate_update(kind("container"), &whole, &current, Grants::PLAIN).unwrap();
    assert_eq!(Value::Object(change), json!({"description": "hello"}));
    let nulls = object(json!({"name": null, "instanceTriggeredStop": null}));
    let refused = validate_update(kind("container"), &nulls, &current, Grants::PLAIN).unwrap_err();
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].code, Code::NotNullable);
}

/// Any JSON, up to a few levels deep.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        "(1[a-z]{1,2})?[0-9.:/=,{}a-z-]{0,18}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::btree_map("[a-z]{0,6}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// A type and values for some of its fields.
fn any_input() -> impl Strategy<Value = (&'static Type, Map<String, Value>)> {
    prop::sample::select(TABLE.to_vec()).prop_flat_map(|kind| {
        let names: Vec<_> = kind.all_fields().map(|field| field.name.to_owned()).collect();
        let pairs = prop::collection::vec((prop::sample::select(names), any_json()), 0..8);
        (Just(kind), pairs.prop_map(|pairs| pairs.into_iter().collect()))
    })
}

proptest! {
    #[test]
    fn validation_takes_anything_and_its_result_is_valid((kind, input) in any_input()) {
        if let Ok(fields) = validate_create(kind, &input, Grants::ADMIN) {
            let again = validate_create(kind, &fields, Grants::ADMIN);
            prop_assert_eq!(again, Ok(fields));
        }
    }

    #[test]
    fn a_change_made_is_no_change_again((kind, input) in any_input(), (_, now) in any_input()) {
        if let Ok(change) = validate_update(kind, &input, &now, Grants::ADMIN) {
            let mut after = now;
            after.extend(change);
            prop_assert_eq!(validate_update(kind, &input, &after, Grants::ADMIN), Ok(Map::new()));
        }
    }

    #[test]
    fn coerced_values_stay_as_they_are((kind, input) in any_input()) {
        for field in kind.all_fields() {
            let Some(value) = input.get(field.name) else { continue };
            if let Ok(fitted) = coerce::coerce(&field.kind, value) {
                prop_assert_eq!(coerce::coerce(&field.kind, &fitted), Ok(fitted));
            }
        }
    }
}
