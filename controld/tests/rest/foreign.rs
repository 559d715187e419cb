//! Web pages of others cannot use a browser's way to us.

use crate::support::Api;
use http::Method;
use serde_json::json;

const BODY: &str = r#"{"name":"foreign"}"#;

#[tokio::test]
async fn a_cross_site_post_changes_nothing() {
    let api = Api::open().await;
    let own = format!("http://{}", api.address);
    let foreign: [&[(&str, &str)]; 5] = [
        &[("origin", "http://evil.example"), ("sec-fetch-site", "cross-site")],
        &[("origin", "http://evil.example")],
        &[("origin", "null")],
        &[("sec-fetch-site", "same-site"), ("content-type", "text/plain")],
        &[("origin", &own), ("sec-fetch-site", "cross-site")],
    ];
    for headers in foreign {
        let answer = api.send(&Method::POST, "/v1/networks", headers, BODY).await;
        answer.refused(403, "Forbidden", None);
        assert_eq!(api.send(&Method::GET, "/v1", headers, "").await.status, 403);
    }
    assert_eq!(api.get("/v1/networks?name=foreign").await.body["data"], json!([]));
    let own_page = [("origin", own.as_str()), ("sec-fetch-site", "same-origin")];
    let answer = api.send(&Method::POST, "/v1/networks", &own_page, BODY).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
}

#[tokio::test]
async fn a_rebound_name_gets_nothing() {
    let api = Api::open().await;
    for name in ["evil.example", "evil.example:9080", "127.0.0.1.evil.example", "localhost@evil"] {
        for (method, path) in [
            (Method::GET, "/v1/schemas"),
            (Method::POST, "/v1/networks"),
            (Method::GET, "/"),
            (Method::GET, "/ping"),
            (Method::GET, "/metrics"),
        ] {
            let answer = api.send(&method, path, &[("host", name)], BODY).await;
            answer.refused(403, "Forbidden", None);
            let schemas = answer.headers["x-api-schemas"].to_str().unwrap();
            assert!(!schemas.contains("evil"), "{schemas}");
        }
    }
    assert_eq!(api.get("/v1/networks?name=foreign").await.body["data"], json!([]));
}

#[tokio::test]
async fn urls_are_built_from_the_name_the_client_used() {
    let api = Api::open().await;
    for name in ["localhost:9080", "cloud.example.org", "[::1]:80"] {
        let answer = api.send(&Method::GET, "/v1/networks", &[("host", name)], "").await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.headers["x-api-schemas"], format!("http://{name}/v1/schemas").as_str());
        assert_eq!(answer.body["links"]["self"], format!("http://{name}/v1/networks"));
    }
    // A proxy's headers are believed only when that was configured.
    let forwarded = [("x-forwarded-host", "evil.example"), ("x-forwarded-proto", "https")];
    let answer = api.send(&Method::GET, "/v1", &forwarded, "").await;
    assert_eq!(answer.headers["x-api-schemas"], api.url("/v1/schemas").as_str());
}

#[tokio::test]
async fn a_proxy_may_say_by_which_of_our_names_it_was_called() {
    let api = Api::behind_proxy().await;
    let public = [
        ("x-forwarded-host", "cloud.example.org"),
        ("x-forwarded-proto", "https"),
        ("origin", "https://cloud.example.org"),
    ];
    let answer = api.send(&Method::POST, "/v1/networks", &public, BODY).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    let location = answer.headers["location"].to_str().unwrap();
    assert!(location.starts_with("https://cloud.example.org/v1/"), "{location}");
    let foreign = [("x-forwarded-host", "evil.example")];
    api.send(&Method::GET, "/v1", &foreign, "").await.refused(403, "Forbidden", None);
}
