//! Who is let in, and what others get: a refusal and nothing else.

use crate::agent::{Agent, Client, Keys, refusal, with_host};
use crate::cloud::{Cloud, settings};
use api::secret::Secret;
use http::{Method, StatusCode};

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_not_good_gets_nothing() {
    let data = tempfile::tempdir().unwrap();
    let cloud = Cloud::open(data.path(), settings()).await;
    let stranger = Client::new(&cloud, None);
    let admin = cloud.core.admin();
    let (_, good) = cloud.token(Some(1), 3600).await;
    let keys = Keys::new(1);

    let mut wrong = keys.request(&good);
    wrong.token_secret = Secret::new("0".repeat(64));
    let mut unknown = keys.request(&good);
    unknown.token_id = "1c9999".into();
    let (_, expired) = cloud.token(Some(1), 0).await;
    let (revoked_id, revoked) = cloud.token(Some(1), 3600).await;
    let id = format!("1c{revoked_id}");
    cloud
        .core
        .act(&admin, "registrationToken", &id, "deactivate", Default::default())
        .await
        .unwrap();
    stranger.enrol(&keys.request(&good)).await.unwrap();

    for (request, code) in [
        (wrong, "token-unknown"),
        (unknown, "token-unknown"),
        (keys.request(&expired), "token-expired"),
        (keys.request(&revoked), "token-revoked"),
        (Keys::new(2).request(&good), "token-used"),
    ] {
        let refused = stranger.enrol(&request).await.unwrap_err();
        assert_eq!(refused, (StatusCode::UNAUTHORIZED, code.to_owned()));
    }
    assert_eq!(cloud.core.list(&admin, "host").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_must_be_proved_and_a_retry_gets_the_same_answer() {
    let data = tempfile::tempdir().unwrap();
    let cloud = Cloud::open(data.path(), settings()).await;
    let stranger = Client::new(&cloud, None);
    let (_, token) = cloud.token(Some(1), 3600).await;
    let keys = Keys::new(1);
    let other = Keys::new(2).request(&token);
    let mut stolen = keys.request(&token);
    stolen.identity = other.identity;
    let mut broken = keys.request(&token);
    broken.csr = broken.csr.replace('A', "B");
    for request in [stolen, broken] {
        let (status, code) = stranger.enrol(&request).await.unwrap_err();
        assert_eq!((status, code.as_str()), (StatusCode::BAD_REQUEST, "invalid"));
    }
    let first = stranger.enrol(&keys.request(&token)).await.unwrap();
    let again = stranger.enrol(&keys.request(&token)).await.unwrap();
    assert_eq!((&first.host, first.number), (&again.host, again.number));
    assert_eq!(first.certificate, again.certificate);
    assert_eq!(first.ca, cloud.core.authority().pem());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_host_itself_reads_and_writes_what_is_its_own() {
    let (cloud, first, _data) = with_host().await;
    let second = Agent::enrol(&cloud, 2).await;
    let stranger = Client::new(&cloud, None);
    let observed = format!("/v1/agent/{}/observed", first.enrolled.host);
    let report = serde_json::to_vec(&first.report).unwrap();
    for (client, status) in
        [(&stranger, StatusCode::UNAUTHORIZED), (&second.client, StatusCode::FORBIDDEN)]
    {
        for (method, path) in [(Method::GET, first.path(0)), (Method::PUT, observed.clone())] {
            let (got, body) = client.send(method, &path, report.clone()).await;
            assert_eq!((got, refusal(&body).as_str()), (status, "certificate"));
        }
        let (got, body) = client.send(Method::GET, "/v1/agent/none/secrets", Vec::new()).await;
        assert_eq!((got, refusal(&body).as_str()), (status, "certificate"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fenced_host_is_refused_also_while_it_is_parked() {
    let (cloud, mut first, _data) = with_host().await;
    let mut second = Agent::enrol(&cloud, 2).await;
    second.until(|held| held.items.keys().any(|key| key.starts_with("member/"))).await;
    let admin = cloud.core.admin();
    let host = cloud.core.list(&admin, "host").into_iter().next().unwrap();
    while first.poll(0).await {}
    let parked = tokio::spawn(async move {
        let (status, body) = first.client.send(Method::GET, &first.path(50), Vec::new()).await;
        (status, body, first)
    });
    cloud.act(&host, "fence").await;
    let (status, body, first) = parked.await.unwrap();
    assert_eq!((status, refusal(&body).as_str()), (StatusCode::UNAUTHORIZED, "fenced"));
    let (status, body) = first.client.send(Method::GET, &first.path(0), Vec::new()).await;
    assert_eq!((status, refusal(&body).as_str()), (StatusCode::UNAUTHORIZED, "fenced"));
    // The others drop their ways to it, and its reserve.
    second.until(|held| !held.items.keys().any(|key| key.starts_with("member/"))).await;
    let endpoints = second.held.items.keys().filter(|key| key.starts_with("endpoint/")).count();
    assert_eq!(endpoints, 8, "its own reserve is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_of_another_protocol_is_told_so() {
    let (_cloud, mut agent, _data) = with_host().await;
    agent.client.proto = "9.0";
    let (status, body) = agent.client.send(Method::GET, &agent.path(0), Vec::new()).await;
    assert_eq!((status, refusal(&body).as_str()), (StatusCode::BAD_REQUEST, "proto"));
}
