//! Every route gets bodies that were once right: nothing panics, nothing is our fault.

use crate::support::Api;
use api::schema::{TABLE, Type};
use http::Method;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

const METHODS: [Method; 5] =
    [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::PATCH];

/// A body that creates a resource of the type.
fn valid(kind: &Type, seeds: &Seeds) -> Value {
    let network = &seeds.network;
    match kind.id {
        "subnet" => {
            json!({"networkId": seeds.empty_network, "networkAddress": "10.9.0.0", "cidrSize": 24,
            "startAddress": "10.9.0.9", "endAddress": "10.9.0.99", "gateway": "10.9.0.1"})
        }
        "image" => json!({"url": "http://example.org/x", "format": "qcow2", "checksum": null}),
        "sshKey" => json!({"publicValue": "ssh-ed25519 AAAAC3Nz", "name": "key"}),
        "account" => json!({"kind": "user", "trustedFields": ["privileged"]}),
        "virtualMachine" => json!({"imageUuid": "small", "memoryMb": 64, "vcpu": 1,
            "networkIds": [network], "presentation": "nocloud", "userdata": "#!/bin/sh"}),
        _ => json!({"imageUuid": "docker:x", "memoryMb": 64, "networkIds": [network],
            "environment": {"A": "b"}, "labels": "a=b", "command": "true", "commandArgs": ["x"],
            "dockerVolumes": ["v:/v"], "restartPolicy": {"name": "always"}, "count": 2,
            "hostname": "h", "userdata": "#!", "credentialIds": [seeds.key], "name": "n"}),
    }
}

/// What the bodies refer to.
struct Seeds {
    network: Value,
    empty_network: Value,
    key: Value,
}

impl Seeds {
    /// A network takes one subnet, so that each subnet needs a new one.
    async fn renew(&mut self, api: &Api, kind: &Type) {
        if kind.id == "subnet" {
            let network = api.create("/v1/hostonlynetworks", json!({"name": "n"})).await;
            self.empty_network = network["id"].clone();
        }
    }
}

/// A cloud with one of everything that can be made.
async fn seeded() -> (Api, Seeds) {
    let api = Api::open().await;
    let network = api.managed().await["id"].clone();
    let key = api.create("/v1/sshkeys", json!({"publicValue": "ssh-ed25519 AAAAC3Nz"})).await;
    api.create("/v1/images", json!({"uuid": "small", "url": "http://example.org/x"})).await;
    api.create("/v1/containers", json!({"imageUuid": "docker:x"})).await;
    api.create("/v1/virtualmachines", json!({"imageUuid": "small"})).await;
    api.create("/v1/registrationtokens", json!({})).await;
    (api, Seeds { empty_network: network.clone(), network, key: key["id"].clone() })
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
fn mutate(kind: &'static Type, seeds: &Seeds, mutations: &[Mutation]) -> Vec<u8> {
    let Value::Object(mut body) = valid(kind, seeds) else { return Vec::new() };
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

/// Types that have URLs.
fn kinds() -> impl Iterator<Item = &'static Type> {
    TABLE.iter().copied().filter(|kind| !kind.collection_methods.is_empty())
}

fn run<S: Strategy>(cases: u32, strategy: &S, mut test: impl FnMut(S::Value)) {
    let test = std::cell::RefCell::new(&mut test);
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let passed = TestRunner::new(config).run(strategy, |case| {
        (test.borrow_mut())(case);
        Ok(())
    });
    passed.unwrap();
}

#[test]
fn no_mutated_create_is_our_fault() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (api, mut seeds) = runtime.block_on(seeded());
    for kind in kinds().filter(|kind| kind.creatable()) {
        let url = format!("/v1/{}", kind.plural);
        runtime.block_on(seeds.renew(&api, kind));
        let right = runtime.block_on(api.post(&url, valid(kind, &seeds)));
        assert_eq!(right.status, 201, "{}: {}", kind.id, right.body);
        let mut seen = BTreeSet::new();
        run(256, &prop::collection::vec(any_mutation(), 1..4), |mutations| {
            runtime.block_on(seeds.renew(&api, kind));
            let body = mutate(kind, &seeds, &mutations);
            let answer = runtime.block_on(api.send(&Method::POST, &url, &[], body));
            seen.insert(answer.status.as_u16());
        });
        // Mutations that are all accepted, or all refused, would try nothing.
        assert!(seen.contains(&201) && seen.contains(&400), "{}: {seen:?}", kind.id);
        assert!(seen.contains(&422), "{}: {seen:?}", kind.id);
    }
}

#[test]
fn no_mutated_body_is_our_fault_on_any_route() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (api, seeds) = runtime.block_on(seeded());
    for kind in kinds() {
        let urls = runtime.block_on(urls(&api, kind));
        let mutations = prop::collection::vec(any_mutation(), 0..4);
        let cases = (prop::sample::select(urls), prop::sample::select(METHODS.to_vec()), mutations);
        run(128, &cases, |(url, method, mutations)| {
            let body = mutate(kind, &seeds, &mutations);
            runtime.block_on(api.send(&method, &url, &[], body));
        });
    }
}

#[test]
fn no_path_or_query_is_our_fault() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (api, _) = runtime.block_on(seeded());
    let bytes = || prop::collection::vec(any::<u8>(), 0..12);
    let names: Vec<String> = kinds()
        .flat_map(|kind| kind.all_fields().map(|field| field.name.to_owned()))
        .chain(["sort", "limit", "marker", "include", "wait", "for", "_method"].map(str::to_owned))
        .collect();
    let modifiers = ["", "_ne", "_like", "_notlike", "_prefix", "_lt", "_gte", "_null", "_x"];
    let term = (prop::sample::select(names), prop::sample::select(modifiers.to_vec()), bytes());
    let kind = prop::sample::select(kinds().collect::<Vec<_>>());
    let cases = (kind, any::<bool>(), bytes(), prop::collection::vec(term, 0..5));
    run(512, &cases, |(kind, list, tail, terms)| {
        let tail = if list { String::new() } else { format!("/{}", encoded(&tail)) };
        let terms: Vec<String> = terms
            .iter()
            .map(|(name, modifier, value)| format!("{name}{modifier}={}", encoded(value)))
            .collect();
        let url = format!("/v1/{}{tail}?{}", kind.plural, terms.join("&"));
        runtime.block_on(api.get(&url));
    });
}

fn encoded(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("%{byte:02x}")).collect()
}
