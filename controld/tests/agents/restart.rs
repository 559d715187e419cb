//! controld's own restart: nothing is lost, nothing is sent again.

use crate::agent::with_host;
use crate::cloud::{Cloud, settings, text};
use api::report::Phase;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_agents_are_parked_without_any_transfer() {
    let (cloud, mut agent, data) = with_host().await;
    let made = cloud.create("container", json!({"imageUuid": "docker:nginx", "name": "a"})).await;
    let uuid = text(&made, "uuid").to_owned();
    agent.until(|held| held.items.contains_key(&format!("container/{uuid}"))).await;
    agent.shows(&uuid, 1, Phase::Running).await;
    cloud.state(&made, "running").await;
    while agent.poll(0).await {}
    let before = cloud.get(&made);
    cloud.close().await;

    let cloud = Cloud::open(data.path(), settings()).await;
    agent.reconnect(&cloud);
    assert_eq!(cloud.get(&made), before, "the last report is shown until there is a new one");
    agent.received = 0;
    assert!(!agent.poll(0).await);
    assert_eq!(agent.received, 0);

    // What changes is told against what was held before the restart.
    cloud.act(&made, "stop").await;
    agent
        .until(|held| held.items[&format!("container/{uuid}")].value.get().contains("stopped"))
        .await;
    agent.shows(&uuid, 1, Phase::Exited).await;
    cloud.state(&made, "stopped").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_costs_an_agent_little() {
    let (cloud, mut agent, _data) = with_host().await;
    let fields = json!({"imageUuid": "docker:nginx", "count": 200});
    let fields = fields.as_object().cloned().unwrap();
    cloud.core.create(&cloud.core.admin(), "container", fields, None).await.unwrap();
    let endpoints = |held: &api::snapshot::Snapshot| {
        held.items.keys().filter(|key| key.starts_with("endpoint/")).count()
    };
    agent.until(|held| endpoints(held) == 208).await;
    let other = crate::agent::Agent::enrol(&cloud, 2).await;
    agent.until(|held| endpoints(held) == 216).await;
    agent.received = 0;
    let host = cloud.core.list(&cloud.core.admin(), "host");
    let host = host.iter().find(|host| text(host, "uuid") == other.enrolled.host).unwrap();
    let fields = json!({"imageUuid": "docker:nginx", "requestedHostId": host.id});
    cloud.create("container", fields).await;
    agent.until(|held| endpoints(held) == 217).await;
    assert!(
        agent.received <= 160 + 200 + 60,
        "{} bytes for one endpoint elsewhere",
        agent.received
    );
}
