//! Too little room: no addresses, no hosts.

use crate::agent::{Agent, with_host};
use crate::cloud::{Cloud, settings, text};
use api::report::Phase;
use controld::core::Settings;
use serde_json::json;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn an_exhausted_subnet_ends_the_instance_and_leaks_nothing() {
    let (cloud, mut agent, _data) = with_host().await;
    let network = cloud.create("hostOnlyNetwork", json!({"name": "small"})).await;
    let fields = json!({"networkId": network.id, "networkAddress": "10.9.0.0", "cidrSize": 28});
    let subnet = cloud.create("subnet", fields).await;
    let admin = cloud.core.admin();
    let used = || {
        let all = cloud.core.list(&admin, "ipAddress");
        all.iter().filter(|address| text(address, "subnetId") == subnet.id).count()
    };
    let fields = json!({"imageUuid": "docker:nginx", "subnetIds": [subnet.id]});
    let mut last = None;
    for _ in 0..9 {
        last = Some(cloud.create("container", fields.clone()).await);
    }
    assert_eq!(used(), 9);
    let failed = cloud.create("container", fields.clone()).await;
    assert_eq!((text(&failed, "state"), text(&failed, "transitioning")), ("removed", "error"));
    assert!(text(&failed, "transitioningMessage").contains("IP allocation failed"));
    assert_eq!(used(), 9);

    // One that was removed makes room, once its host has let go of it.
    let last = last.unwrap();
    let uuid = text(&last, "uuid").to_owned();
    agent.until(|held| held.items.contains_key(&format!("container/{uuid}"))).await;
    agent.shows(&uuid, 1, Phase::Running).await;
    cloud.core.remove(&admin, "container", &last.id).await.unwrap();
    agent.until(|held| held.items.contains_key(&format!("retained/{uuid}"))).await;
    agent.shows(&uuid, 1, Phase::Retained).await;
    let waiting = cloud.create("container", fields).await;
    assert_eq!(text(&waiting, "state"), "creating");
    agent.until(|held| !held.items.contains_key(&format!("retained/{uuid}"))).await;
    agent.report.instances.clear();
    agent.tell().await;
    let placed = cloud.until(&waiting, |view| !text(view, "hostId").is_empty()).await;
    assert_eq!(text(&placed, "primaryIpAddress"), text(&last, "primaryIpAddress"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_removed_without_a_host_gives_its_addresses_back() {
    let data = tempfile::tempdir().unwrap();
    let cloud = Cloud::open(data.path(), settings()).await;
    let network = cloud.create("hostOnlyNetwork", json!({})).await;
    let fields = json!({"networkId": network.id, "networkAddress": "10.9.0.0", "cidrSize": 28});
    let subnet = cloud.create("subnet", fields).await;
    let fields = json!({"imageUuid": "docker:nginx", "subnetIds": [subnet.id]});
    let admin = cloud.core.admin();
    for _ in 0..9 {
        let made = cloud.create("container", fields.clone()).await;
        cloud.core.remove(&admin, "container", &made.id).await.unwrap();
    }
    assert_eq!(cloud.core.list(&admin, "ipAddress").len(), 9);
    let waiting = cloud.create("container", fields).await;
    assert_eq!(text(&waiting, "state"), "creating");
    assert_eq!(cloud.core.list(&admin, "ipAddress").len(), 7, "two of nine are free at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_host_is_placed_when_one_comes() {
    let data = tempfile::tempdir().unwrap();
    let cloud = Cloud::open(data.path(), settings()).await;
    let made = cloud.create("container", json!({"imageUuid": "docker:nginx"})).await;
    assert_eq!(text(&made, "state"), "creating");
    assert!(text(&made, "transitioningMessage").contains("waiting for a host"));
    Agent::enrol(&cloud, 1).await;
    cloud.until(&made, |view| !text(view, "hostId").is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_finds_no_host_in_time_ends_removed() {
    let data = tempfile::tempdir().unwrap();
    let placement_wait = Duration::from_millis(50);
    let cloud = Cloud::open(data.path(), Settings { placement_wait, ..settings() }).await;
    let made = cloud.create("container", json!({"imageUuid": "docker:nginx"})).await;
    let ended = cloud.until(&made, |view| text(view, "transitioning") == "error").await;
    assert_eq!(text(&ended, "state"), "removed");
    assert!(text(&ended, "transitioningMessage").contains("waiting for a host"));
    assert!(cloud.core.list(&cloud.core.admin(), "ipAddress").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn spreads_over_hosts_and_tells_each_only_its_own() {
    let (cloud, mut first, _data) = with_host().await;
    let mut second = Agent::enrol(&cloud, 2).await;
    let fields = json!({"imageUuid": "docker:nginx", "count": 4});
    let fields = fields.as_object().cloned().unwrap();
    cloud.core.create(&cloud.core.admin(), "container", fields, None).await.unwrap();
    for agent in [&mut first, &mut second] {
        let own = |held: &api::snapshot::Snapshot, kind: &str| {
            held.items.keys().filter(|key| key.starts_with(kind)).count()
        };
        agent.until(|held| own(held, "endpoint/") == 4 + 16).await;
        assert_eq!(own(&agent.held, "container/"), 2);
        assert_eq!((own(&agent.held, "member/"), own(&agent.held, "network/")), (1, 1));
    }
}
