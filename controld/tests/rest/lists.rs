//! Filters, order, pages and embedding, over the wire.

use crate::support::Api;
use serde_json::{Value, json};

async fn with_networks(names: &[&str]) -> Api {
    let api = Api::open().await;
    for name in names {
        api.create("/v1/networks", json!({"name": name})).await;
    }
    api
}

fn names(list: &Value) -> Vec<&str> {
    list["data"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn filters_narrow_and_unknown_ones_do_not() {
    let api = with_networks(&["My IP pool", "My net", "other"]).await;
    let cases: [(&str, &[&str]); 6] = [
        ("name=other", &["other"]),
        ("name_like=My%25", &["My IP pool", "My net"]),
        ("name_prefix=My&name_ne=My+net", &["My IP pool"]),
        ("name=other&state=nonsense", &[]),
        ("name=other&removed_null=True&_format=table&nonsense=1", &["other"]),
        ("name_prefix=My&sort=name&order=desc", &["My net", "My IP pool"]),
    ];
    for (query, wanted) in cases {
        let list = api.get(&format!("/v1/networks?{query}")).await.body;
        assert_eq!(names(&list), wanted, "{query}");
    }
    let list = api.get("/v1/networks?name_like=x%25").await.body;
    assert_eq!(list["filters"]["name"], json!([{"modifier": "like", "value": "x%"}]));
    assert_eq!(list["filters"]["state"], Value::Null);
}

#[tokio::test]
async fn pages_lead_to_the_next_and_back() {
    let api = with_networks(&["a", "b", "c", "d", "e"]).await;
    let first = "/v1/networks?name_notnull=1&sort=name&limit=2&_secret_key=hidden";
    let mut page = api.get(first).await.body;
    let total = usize::try_from(page["pagination"]["total"].as_u64().unwrap()).unwrap();
    let mut seen: Vec<String> = Vec::new();
    loop {
        let next = page["pagination"]["next"].clone();
        let text = page.to_string();
        assert!(!text.contains("hidden"), "a secret of the query is echoed");
        seen.extend(names(&page).iter().map(|name| (*name).to_owned()));
        let Some(next) = next.as_str() else { break };
        page = api.get(next).await.body;
        assert!(page["pagination"]["prev"].is_string());
        assert_eq!(page["pagination"]["prev"], page["pagination"]["previous"]);
    }
    assert_eq!(seen.len(), total);
    assert!(
        seen.is_sorted() && ["a", "b", "c", "d", "e"].iter().all(|n| seen.contains(&(*n).into()))
    );
    let back = api.get(page["pagination"]["prev"].as_str().unwrap()).await.body;
    assert_eq!(back["data"].as_array().unwrap().len(), 2);
    let capped = api.get("/v1/networks?limit=1005").await.body;
    assert_eq!(capped["pagination"]["limit"], 1000);
    assert_eq!(capped["pagination"]["next"], Value::Null);
}

#[tokio::test]
async fn every_link_of_every_resource_is_served() {
    let api = Api::open().await;
    let key = json!({"publicValue": "ssh-ed25519 AAAAC3Nz"});
    api.create("/v1/sshkeys", key).await;
    api.create("/v1/registrationtokens", json!({})).await;
    api.create("/v1/images", json!({"uuid": "small", "url": "http://example.org/x.img"})).await;
    api.create("/v1/containers", json!({"imageUuid": "docker:x", "name": "web"})).await;
    api.create("/v1/virtualmachines", json!({"imageUuid": "small", "name": "vm"})).await;
    let version = api.get("/v1").await.body;
    for (kind, url) in version["links"].as_object().unwrap() {
        let list = api.get(url.as_str().unwrap()).await;
        assert_eq!(list.status, 200, "{kind}");
        if kind == "schemas" || kind == "self" {
            continue;
        }
        for one in list.body["data"].as_array().unwrap() {
            for (link, url) in one["links"].as_object().unwrap() {
                let linked = api.get(url.as_str().unwrap()).await;
                // A link of one resource leads nowhere while the field behind it is null.
                let leads = linked.status == 200 || linked.status == 404;
                assert!(leads, "{kind} {link}: {}", linked.body);
                let plural = linked.body["type"] == "collection";
                assert!(!plural || linked.body["data"].is_array());
            }
        }
    }
    let list = api.get("/v1/instances?name=web&include=nics&include=IPADDRESSES").await.body;
    let web = &list["data"][0];
    assert_eq!(web["nics"][0]["type"], "nic");
    assert_eq!(web["ipAddresses"][0]["address"], web["primaryIpAddress"]);
}

#[tokio::test]
async fn a_list_shows_what_its_resources_show() {
    let api = Api::open().await;
    for name in ["a", "b", "c"] {
        api.create("/v1/containers", json!({"imageUuid": "docker:x", "name": name})).await;
    }
    // Chosen by what rows show by themselves, and by what only views have.
    for query in ["", "name=b", "sort=name&order=desc", "removed_null=1&limit=2", "state=creating"]
    {
        let list = api.get(&format!("/v1/containers?{query}")).await.body;
        let shown = list["data"].as_array().unwrap();
        assert!(!shown.is_empty(), "{query}");
        for one in shown {
            assert_eq!(*one, api.get(one["links"]["self"].as_str().unwrap()).await.body, "{query}");
        }
    }
}
