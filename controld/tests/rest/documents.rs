//! The shape of documents, and the verbs on them.

use crate::support::Api;
use api::schema::{TABLE, find};
use bytes::Bytes;
use http::Method;
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use std::time::Instant;

#[tokio::test]
async fn the_schemas_are_found_from_every_url_that_clients_configure() {
    let api = Api::open().await;
    for path in ["/", "/v1", "/v1/", "/v1/schemas", "/v1/containers", "//v1//Schemas//"] {
        assert_eq!(api.get(path).await.headers["x-api-schemas"], api.url("/v1/schemas").as_str());
    }
    let schemas = api.get("/v1/schemas").await.body;
    let list = schemas["data"].as_array().unwrap();
    assert_eq!(schemas["type"], "collection");
    assert_eq!(list.len(), TABLE.len());
    for schema in list {
        let own = schema["links"]["self"].as_str().unwrap();
        assert_eq!(&api.get(own).await.body, schema);
        if let Some(collection) = schema["links"]["collection"].as_str() {
            assert_eq!(api.get(collection).await.status, 200);
        }
    }
}

#[tokio::test]
async fn a_container_is_shown_as_old_clients_want_it() {
    let api = Api::open().await;
    let body = json!({"imageUuid": "docker:nginx", "name": "web", "networkIds": api.managed().await["id"],
        "environment": "A=b,C=d=e", "startOnCreate": "true", "_format": "table", "nonsense": [1]});
    let answer = api.post("/v1/container?description=from+the+query", body).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    let web = answer.body;
    assert_eq!(answer.headers["location"], web["links"]["self"].as_str().unwrap());
    assert_eq!(web["description"], "from the query");
    assert_eq!((&web["state"], &web["transitioning"]), (&json!("creating"), &json!("yes")));
    assert_eq!((&web["type"], &web["kind"]), (&json!("container"), &json!("container")));
    assert_eq!(web["environment"], json!({"A": "b", "C": "d=e"}));
    assert!(web["primaryIpAddress"].as_str().unwrap().starts_with("10.42."));
    assert!(web["created"].is_string() && web["createdTS"].is_i64() && web["removedTS"].is_null());
    assert!(web["data"].is_object() && web["accountId"].is_string() && web["uuid"].is_string());
    assert!(web.get("networkIds").is_none() && web.get("count").is_none());
    for url in [web["links"]["self"].as_str().unwrap(), &base_url(&web)] {
        assert_eq!(api.get(url).await.body["id"], web["id"], "{url}");
    }
}

/// The resource's URL below its base type.
fn base_url(instance: &Value) -> String {
    instance["links"]["self"].as_str().unwrap().replace("/containers/", "/Instances/")
}

/// Fields that every view has elsewhere, or that only some moments fill.
const UNTOLD: &[&str] = &[
    "id",
    "type",
    "transitioningMessage",
    "transitioningProgress",
    "removeTime",
    "token",
    "imageId",
];

#[tokio::test]
async fn documents_hold_what_their_schema_says() {
    let api = Api::open().await;
    api.create("/v1/containers", json!({"imageUuid": "docker:x"})).await;
    api.create("/v1/images", json!({"uuid": "small", "url": "http://example.org/x"})).await;
    api.create("/v1/virtualmachines", json!({"imageUuid": "small"})).await;
    api.create("/v1/sshkeys", json!({"publicValue": "ssh-ed25519 AAAAC3Nz"})).await;
    api.create("/v1/registrationtokens", json!({})).await;
    for kind in TABLE.iter().filter(|kind| !kind.collection_methods.is_empty()) {
        if kind.id == "schema" {
            continue;
        }
        let views = api.core.list(&api.core.admin(), kind.id);
        for view in views {
            let own = find(view.kind).unwrap();
            for name in view.fields.keys() {
                let dated = name.strip_suffix("TS").and_then(|date| own.field(date)).is_some();
                assert!(
                    dated || own.field(name).is_some(),
                    "{}.{name} is not in the table",
                    own.id
                );
            }
            let told = |name: &str| UNTOLD.contains(&name) || view.fields.contains_key(name);
            let missing: Vec<_> = own
                .all_fields()
                .filter(|field| field.shown && !told(field.name))
                .map(|field| field.name)
                .collect();
            assert!(missing.is_empty(), "{} never tells {missing:?}", own.id);
            for action in &view.actions {
                assert!(own.action(action).is_some(), "{} cannot {action}", own.id);
            }
            let state = own.field("state").map(|field| field.kind);
            let Some(api::schema::FieldType::Enum(states)) = state else { continue };
            assert!(states.contains(&view.fields["state"].as_str().unwrap()), "{}", own.id);
        }
    }
}

#[tokio::test]
async fn what_is_sent_back_whole_changes_only_what_differs() {
    let api = Api::open().await;
    let body = json!({"imageUuid": "docker:x", "name": "web", "startOnCreate": false});
    let web = api.create("/v1/containers", body).await;
    let this = web["links"]["self"].as_str().unwrap();
    assert_eq!(api.put(this, web.clone()).await.status, 200);
    let mut changed = web.clone();
    changed["name"] = "db".into();
    changed["state"] = "purged".into();
    changed["uuid"] = "another".into();
    let after = api.put(this, changed).await.body;
    assert_eq!((&after["name"], &after["uuid"]), (&json!("db"), &web["uuid"]));
    let override_ = [("content-type", "application/x-www-form-urlencoded")];
    let renamed = api.send(&Method::POST, this, &override_, "_method=PUT&name=form").await;
    assert_eq!((renamed.status.as_u16(), &renamed.body["name"]), (200, &json!("form")));
    let removed = api.send(&Method::POST, this, &override_, "_method=DELETE").await;
    assert_eq!(removed.status, 200, "{}", removed.body);
    assert!(["removing", "removed"].contains(&removed.body["state"].as_str().unwrap()));
    assert_eq!(api.get(this).await.status, 200);
}

#[tokio::test]
async fn actions_follow_the_state() {
    let api = Api::open().await;
    let network = api.create("/v1/networks", json!({"name": "n"})).await;
    assert_eq!(network["state"], "active");
    let off = network["actions"]["deactivate"].as_str().unwrap();
    let answer = api.post(off, json!({})).await;
    assert_eq!((answer.status.as_u16(), &answer.body["state"]), (202, &json!("inactive")));
    assert!(answer.body["actions"].get("deactivate").is_none());
    api.post(off, json!({})).await.refused(422, "ActionNotAvailable", None);
    let upper = off.replace("deactivate", "ACTIVATE");
    assert_eq!(api.post(&upper, json!({})).await.body["state"], "active");
}

#[tokio::test]
async fn one_request_makes_several_or_the_same_again() {
    let api = Api::open().await;
    let body = json!({"imageUuid": "docker:x", "count": "3", "name": "many"});
    let many = api.create("/v1/containers", body).await;
    assert_eq!((&many["type"], many["data"].as_array().unwrap().len()), (&json!("collection"), 3));
    let headers = [("idempotency-key", "once")];
    let body = r#"{"imageUuid":"docker:x","name":"one"}"#;
    let mut ids = Vec::new();
    for _ in 0..2 {
        let answer = api.send(&Method::POST, "/v1/containers", &headers, body).await;
        assert_eq!(answer.status, 201);
        ids.push(answer.body["id"].clone());
    }
    assert_eq!(ids[0], ids[1]);
    assert_eq!(api.get("/v1/containers?name=one").await.body["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_get_waits_until_its_time_is_over() {
    let api = Api::open().await;
    let web = api.create("/v1/containers", json!({"imageUuid": "docker:x"})).await;
    let this = web["links"]["self"].as_str().unwrap();
    let started = Instant::now();
    let waited = api.get(&format!("{this}?wait=300ms&for=running")).await;
    assert!(started.elapsed().as_millis() >= 300);
    assert_eq!((waited.status.as_u16(), &waited.body["state"]), (200, &json!("creating")));
    let settled = api.get("/v1/networks?uuid=unmanaged").await.body["data"][0].clone();
    let url = format!("{}?wait=60s", settled["links"]["self"].as_str().unwrap());
    assert_eq!(api.get(&url).await.body["state"], "active");
}

#[tokio::test]
async fn the_services_answer_in_text() {
    let api = Api::open().await;
    api.get("/v1/nonsense").await;
    let text = async |path: &str| {
        let (status, headers, body) = api.raw(&Method::GET, path, &[], "").await;
        assert_eq!(status, 200);
        assert!(headers["content-type"].to_str().unwrap().starts_with("text/plain"));
        String::from_utf8(body.to_vec()).unwrap()
    };
    assert_eq!(text("/ping").await, "pong");
    assert_eq!(text("/healthcheck").await, "ok");
    let metrics = text("/metrics").await;
    for line in [
        "stampede_requests_total{status=\"404\"} 1",
        "stampede_resources{type=\"account\"} 1",
        "# TYPE stampede_generation gauge",
        "process_resident_memory_bytes ",
    ] {
        assert!(metrics.contains(line), "{line} is not in:\n{metrics}");
    }
    let (status, headers, body) = api.raw(&Method::HEAD, "/v1/networks", &[], "").await;
    assert_eq!((status.as_u16(), body.len()), (200, 0));
    assert!(headers.contains_key("x-api-schemas"));
}

#[tokio::test]
async fn an_end_of_the_server_ends_the_waits() {
    let api = Api::open().await;
    let web = api.create("/v1/containers", json!({"imageUuid": "docker:x"})).await;
    let url = format!("{}?wait=60s&for=running", web["links"]["self"].as_str().unwrap());
    let started = Instant::now();
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let waiting = tokio::spawn(client.get(url.parse().unwrap()));
    loop {
        let (_, _, metrics) = api.raw(&Method::GET, "/metrics", &[], "").await;
        if String::from_utf8_lossy(&metrics).contains("stampede_requests_open 2") {
            break;
        }
        tokio::task::yield_now().await;
    }
    api.end().await;
    assert_eq!(waiting.await.unwrap().unwrap().status(), 200);
    assert!(started.elapsed().as_secs() < 5);
}
