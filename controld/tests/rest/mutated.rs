//! Every route gets bodies that were once right: nothing panics, nothing is our fault.

use crate::support::Api;
use api::schema::{TABLE, Type};
use http::Method;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Map, Value, json};

const METHODS: [Method; 5] =
    [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::PATCH];

/// A body that creates a resource of the type, if all its references led somewhere.
fn valid(kind: &Type) -> Value {
    match kind.id {
        "subnet" => json!({"networkId": "1n2", "networkAddress": "10.9.0.0", "cidrSize": 24,
            "startAddress": "10.9.0.9", "endAddress": "10.9.0.99", "gateway": "10.9.0.1"}),
        "image" => json!({"uuid": "small", "url": "http://example.org/x", "format": "qcow2"}),
        "sshKey" => json!({"publicValue": "ssh-ed25519 AAAAC3Nz"}),
        "account" => json!({"kind": "user", "trustedFields": ["privileged"]}),
        _ => json!({"imageUuid": "docker:x", "memoryMb": 64, "networkIds": ["1n2"],
            "environment": {"A": "b"}, "labels": "a=b", "command": "true", "commandArgs": ["x"],
            "dockerVolumes": ["v:/v"], "restartPolicy": {"name": "always"}, "count": 2,
            "hostname": "h", "userdata": "#!", "credentialIds": ["1c5"], "name": "n"}),
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,20}".prop_map(Value::from),
        "1[a-z]{1,2}[0-9]{1,20}".prop_map(Value::from),
        "[0-9.:/=,-]{0,20}".prop_map(Value::from),
        Just(Value::from("x".repeat(70_000))),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            prop::collection::btree_map(".{0,6}", inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// What may be done to a body.
#[derive(Clone, Debug)]
enum Mutation {
    Replace(usize, Value),
    Drop(usize),
    Wrap(usize),
    Cut(usize),
    Byte(usize, u8),
}

fn any_mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        4 => (any::<usize>(), any_json()).prop_map(|(at, value)| Mutation::Replace(at, value)),
        2 => any::<usize>().prop_map(Mutation::Drop),
        1 => any::<usize>().prop_map(Mutation::Wrap),
        1 => any::<usize>().prop_map(Mutation::Cut),
        1 => (any::<usize>(), any::<u8>()).prop_map(|(at, byte)| Mutation::Byte(at, byte)),
    ]
}

/// The body in JSON with all mutations done: first those of fields, then those of bytes.
fn mutate(kind: &'static Type, mutations: &[Mutation]) -> Vec<u8> {
    let Value::Object(mut body) = valid(kind) else { return Vec::new() };
    let names: Vec<String> = kind.all_fields().map(|field| field.name.to_owned()).collect();
    for mutation in mutations {
        change_field(&mut body, &names, mutation);
    }
    let mut bytes = Value::Object(body).to_string().into_bytes();
    for mutation in mutations {
        match mutation {
            Mutation::Cut(at) => bytes.truncate(at % (bytes.len() + 1)),
            Mutation::Byte(at, byte) if !bytes.is_empty() => {
                let at = at % bytes.len();
                bytes[at] = *byte;
            }
            _ => {}
        }
    }
    bytes
}

fn change_field(body: &mut Map<String, Value>, names: &[String], mutation: &Mutation) {
    let given: Vec<String> = body.keys().cloned().collect();
    match mutation {
        Mutation::Replace(at, value) => {
            body.insert(names[at % names.len()].clone(), value.clone());
        }
        Mutation::Drop(at) if !given.is_empty() => {
            body.remove(&given[at % given.len()]);
        }
        Mutation::Wrap(at) if !given.is_empty() => {
            let name = &given[at % given.len()];
            let value = body[name].take();
            body.insert(name.clone(), json!([value]));
        }
        _ => {}
    }
}

/// All URLs of a type: its list, resources that exist and that do not, links and actions.
async fn urls(api: &Api, kind: &'static Type) -> Vec<String> {
    let list = format!("/v1/{}", kind.plural);
    let found = api.get(&format!("{list}?limit=3")).await.body;
    let mut urls =
        vec![list.clone(), format!("{list}?sort=name&limit=1&marker=AAAA&include=account")];
    let known = found["data"].as_array().into_iter().flatten().filter_map(|one| one["id"].as_str());
    let missing = ["1i99999", "1x", "..", "%2e%2e%2f", "%00"];
    for id in known.chain(missing) {
        urls.push(format!("{list}/{id}"));
        urls.extend(kind.all_links().map(|link| format!("{list}/{id}/{}", link.name)));
        urls.extend(kind.all_actions().map(|action| format!("{list}/{id}?action={}", action.name)));
    }
    urls
}

#[test]
fn no_mutated_body_is_our_fault_on_any_route() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let api = runtime.block_on(Api::open());
    runtime.block_on(async {
        api.create("/v1/sshkeys", json!({"publicValue": "ssh-ed25519 AAAAC3Nz"})).await;
        api.create("/v1/containers", json!({"imageUuid": "docker:x"})).await;
    });
    let kinds: Vec<&'static Type> =
        TABLE.iter().copied().filter(|kind| !kind.collection_methods.is_empty()).collect();
    for kind in kinds {
        let urls = runtime.block_on(urls(&api, kind));
        let mutations = prop::collection::vec(any_mutation(), 0..6);
        let mut runner = TestRunner::new(Config::with_cases(64));
        let cases = (prop::sample::select(urls), prop::sample::select(METHODS.to_vec()), mutations);
        runner
            .run(&cases, |(url, method, mutations)| {
                let body = mutate(kind, &mutations);
                runtime.block_on(api.send(&method, &url, &[], body));
                Ok(())
            })
            .unwrap();
        let creates = prop::collection::vec(any_mutation(), 1..4);
        let list = format!("/v1/{}", kind.plural);
        let mut runner =
            TestRunner::new(Config::with_cases(if kind.creatable() { 192 } else { 8 }));
        runner
            .run(&creates, |mutations| {
                let body = mutate(kind, &mutations);
                runtime.block_on(api.send(&Method::POST, &list, &[], body));
                Ok(())
            })
            .unwrap();
    }
}
