//! Bad requests are refused with the field's name and a remedy, and leave nothing behind.

use crate::support::Api;
use http::Method;
use serde_json::{Value, json};

/// A type's URL, a body, and the code and field of its refusal.
type Case = (&'static str, Value, &'static str, &'static str);

fn bad_instances(network: &Value) -> Vec<Case> {
    let container = |more: Value| with(json!({"imageUuid": "docker:x"}), more);
    let both = json!({"networkIds": [network], "subnetIds": ["1s1"]});
    vec![
        ("virtualmachines", json!({"imageUuid": "none"}), "InvalidReference", "imageUuid"),
        ("virtualmachines", json!({"imageId": "1i99999"}), "InvalidReference", "imageId"),
        ("virtualmachines", json!({}), "MissingRequired", "imageUuid"),
        ("containers", json!({"imageUuid": "docker:"}), "InvalidReference", "imageUuid"),
        (
            "containers",
            container(json!({"networkIds": ["1n99999"]})),
            "InvalidReference",
            "networkIds",
        ),
        (
            "containers",
            container(json!({"requestedHostId": "1h99999"})),
            "InvalidReference",
            "requestedHostId",
        ),
        ("containers", container(both), "NetworkIdsSubnetIdsMutuallyExclusive", "networkIds"),
        ("containers", container(json!({"networkIds": [null]})), "NotNullable", "networkIds"),
    ]
}

fn bad_subnets(network: &Value) -> Vec<Case> {
    let right = json!({"networkId": network, "networkAddress": "192.168.10.0"});
    let case = |more: Value, code, field| ("subnets", with(right.clone(), more), code, field);
    vec![
        case(json!({"networkAddress": "10.0.0.999"}), "InvalidFormat", "networkAddress"),
        case(json!({"networkId": null}), "MissingRequired", "networkId"),
        case(json!({"cidrSize": 33}), "MaxLimitExceeded", "cidrSize"),
        case(json!({"cidrSize": "abc"}), "InvalidFormat", "cidrSize"),
        case(json!({"endAddress": "192.168.210"}), "InvalidFormat", "endAddress"),
    ]
}

fn with(mut body: Value, more: Value) -> Value {
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

#[tokio::test]
async fn what_is_wrong_is_named_with_its_field() {
    let api = Api::open().await;
    let network = api.create("/v1/hostonlynetworks", json!({"name": "n"})).await["id"].clone();
    let key = json!({"uuid": "spaces are bad", "publicValue": "ssh-ed25519 AAAA"});
    let mut cases = bad_instances(&network);
    cases.extend(bad_subnets(&network));
    cases.push(("images", json!({"url": "gopher://x"}), "InvalidFormat", "url"));
    cases.push(("sshkeys", key, "InvalidCharacters", "uuid"));
    for (path, body, code, field) in cases {
        api.post(&format!("/v1/{path}"), body).await.refused(422, code, Some(field));
    }
    for kind in ["instances", "subnets?networkAddress_prefix=192", "images", "sshkeys"] {
        assert_eq!(api.get(&format!("/v1/{kind}")).await.body["data"], json!([]), "{kind}");
    }
}

#[tokio::test]
async fn all_faults_are_listed() {
    let api = Api::open().await;
    let body = json!({"imageUuid": "docker:x", "memoryMb": "a", "cpuShares": -1, "hostname": "-"});
    let answer = api.post("/v1/containers", body).await;
    let mut fields: Vec<&str> = answer.body["detail"]
        .as_array()
        .unwrap()
        .iter()
        .map(|fault| fault["fieldName"].as_str().unwrap())
        .collect();
    fields.sort_unstable();
    assert_eq!(fields, ["cpuShares", "hostname", "memoryMb"]);
}

#[tokio::test]
async fn a_second_create_with_one_uuid_is_a_conflict() {
    let api = Api::open().await;
    let body = json!({"uuid": "once", "name": "n"});
    api.create("/v1/networks", body.clone()).await;
    api.post("/v1/networks", body.clone()).await.refused(409, "NotUnique", Some("uuid"));
    api.post("/v1/sshkeys", json!({"uuid": "once", "publicValue": "ssh-ed25519 AAAA"}))
        .await
        .refused(409, "NotUnique", Some("uuid"));
    let seeded = json!({"uuid": "managed-docker0", "name": "mine"});
    api.post("/v1/networks", seeded).await.refused(409, "NotUnique", Some("uuid"));
    assert_eq!(api.get("/v1/networks?uuid=once").await.body["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn unreadable_and_oversized_bodies_are_refused() {
    let api = Api::open().await;
    for bad in ["{", "[]", "\"text\"", "{\"name\":}", "\u{0}", "name=x"] {
        let answer = api.send(&Method::POST, "/v1/networks", &[], bad).await;
        answer.refused(400, "InvalidBodyContent", None);
    }
    let large = format!("{{\"description\":\"{}\"}}", "x".repeat(2 << 20));
    for method in [Method::POST, Method::PUT] {
        let answer = api.send(&method, "/v1/networks", &[], large.clone()).await;
        answer.refused(413, "RequestEntityTooLarge", None);
    }
}

#[tokio::test]
async fn wrong_methods_say_which_ones_are_right() {
    let api = Api::open().await;
    let network = api.managed().await["id"].as_str().unwrap().to_owned();
    let one = format!("/v1/networks/{network}");
    let cases = [
        (Method::DELETE, "/v1/networks", "GET, POST"),
        (Method::PUT, "/v1/networks", "GET, POST"),
        (Method::POST, "/v1/instances", "GET"),
        (Method::POST, &one, "GET, PUT, DELETE"),
        (Method::PATCH, &one, "GET, PUT, DELETE"),
        (Method::POST, "/v1/schemas", "GET"),
        (Method::DELETE, "/v1", "GET"),
        (Method::POST, "/ping", "GET"),
        (Method::OPTIONS, "/v1/networks", "GET, POST"),
    ];
    for (method, path, allow) in cases {
        let answer = api.send(&method, path, &[], "{}").await;
        answer.refused(405, "MethodNotAllowed", None);
        assert_eq!(answer.headers["allow"], allow, "{method} {path}");
    }
    let action = api.post(&format!("{one}?action=explode"), json!({})).await;
    action.refused(422, "InvalidAction", None);
    for missing in ["/v1/containers/1i99999", "/v1/containers/%00", "/v1/nonsense", "/x", "/v2"] {
        api.get(missing).await.refused(404, "NotFound", None);
    }
    let missing = "/v1/networks/1n99999";
    api.put(missing, json!({"name": "x"})).await.refused(404, "NotFound", None);
    api.delete(missing).await.refused(404, "NotFound", None);
    let action = api.post(&format!("{missing}?action=deactivate"), json!({})).await;
    action.refused(404, "NotFound", None);
}

#[tokio::test]
async fn a_plain_account_cannot_reach_into_hosts() {
    let api = Api::plain().await;
    let cases = [
        ("containers", json!({"imageUuid": "docker:x", "privileged": true}), "privileged"),
        (
            "containers",
            json!({"imageUuid": "docker:x", "dockerVolumes": ["/:/host"]}),
            "dockerVolumes",
        ),
        (
            "containers",
            json!({"imageUuid": "docker:x", "requestedHostId": "1h1"}),
            "requestedHostId",
        ),
        ("virtualmachines", json!({"imageUuid": "x", "requestedHostId": "1h1"}), "requestedHostId"),
        ("images", json!({"url": "file:///etc/shadow"}), "url"),
        ("containers", json!({"imageUuid": "docker:x", "accountId": "1a1"}), "accountId"),
    ];
    for (path, body, field) in cases {
        let answer = api.post(&format!("/v1/{path}"), body).await;
        answer.refused(422, "TrustedField", Some(field));
    }
    for path in ["/v1/accounts", "/v1/registrationtokens"] {
        api.post(path, json!({"name": "x"})).await.refused(405, "MethodNotAllowed", None);
    }
    let schema = api.get("/v1/schemas/container").await.body;
    assert!(schema["resourceFields"]["imageUuid"].is_object());
    assert!(schema["resourceFields"]["privileged"].is_null());
}

#[tokio::test]
async fn an_exhausted_subnet_ends_the_instance_and_leaks_nothing() {
    let api = Api::open().await;
    let network = api.create("/v1/hostonlynetworks", json!({"name": "tiny"})).await["id"].clone();
    let subnet = json!({"networkId": network, "networkAddress": "192.168.77.0", "cidrSize": 24,
        "startAddress": "192.168.77.10", "endAddress": "192.168.77.10"});
    let subnet = api.create("/v1/subnets", subnet).await["id"].clone();
    let body = json!({"imageUuid": "docker:x", "networkIds": [network]});
    let first = api.create("/v1/containers", body.clone()).await;
    let second = api.create("/v1/containers", body).await;
    let path = format!("/v1/containers/{}?wait=20s&for=removed", second["id"].as_str().unwrap());
    let ended = api.get(&path).await.body;
    assert_eq!((&ended["state"], &ended["transitioning"]), (&json!("removed"), &json!("error")));
    let message = ended["transitioningMessage"].as_str().unwrap();
    assert!(message.to_lowercase().contains("address"), "{message}");
    let held = format!("/v1/ipaddresses?subnetId={}", subnet.as_str().unwrap());
    assert_eq!(api.get(&held).await.body["data"].as_array().unwrap().len(), 1);
    let path = format!("/v1/containers/{}", first["id"].as_str().unwrap());
    assert_eq!(api.get(&path).await.body["primaryIpAddress"], "192.168.77.10");
}

#[tokio::test]
async fn without_a_known_key_nothing_is_told() {
    let api = Api::closed().await;
    for path in ["/", "/v1", "/v1/schemas", "/v1/containers", "/v1/containers/1i1", "/v1/nonsense"]
    {
        for headers in [&[][..], &[("authorization", "Basic Tm9uZTpOb25l")]] {
            let answer = api.send(&Method::GET, path, headers, "").await;
            answer.refused(401, "Unauthorized", None);
            assert!(answer.headers["www-authenticate"].to_str().unwrap().starts_with("Basic "));
        }
    }
    api.post("/v1/networks", json!({"name": "x"})).await.refused(401, "Unauthorized", None);
    let (status, _, body) = api.raw(&Method::GET, "/ping", &[], "").await;
    assert_eq!((status.as_u16(), &body[..]), (200, &b"pong"[..]));
}
