//! The life of an instance: intent out, facts back, views in between.

use crate::agent::with_host;
use crate::cloud::text;
use api::item::{Attachment, Meaning, Want};
use api::report::{Adopted, Capability, ErrorKind, Instance, Phase};
use controld::core::Linked;
use serde_json::json;

fn has(held: &api::snapshot::Snapshot, key: &str) -> bool {
    held.items.contains_key(key)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_is_created_runs_stops_and_goes() {
    let (cloud, mut agent, _data) = with_host().await;
    let made =
        cloud.create("container", json!({"imageUuid": "docker:nginx:1", "name": "Web"})).await;
    assert_eq!((text(&made, "state"), text(&made, "transitioning")), ("creating", "yes"));
    let uuid = text(&made, "uuid").to_owned();
    let key = format!("container/{uuid}");
    agent.until(|held| has(held, &key)).await;
    let meanings = agent.meanings();
    let container = meanings.iter().find_map(|meaning| match meaning {
        Meaning::Container(container) => Some(container),
        _ => None,
    });
    let container = container.unwrap();
    assert_eq!(
        (container.reference.as_str(), container.guest.hostname.as_str()),
        ("nginx:1", "web")
    );
    assert_eq!((container.guest.want, container.guest.epoch), (Want::Running, 1));
    let Attachment::Managed { ip, mac, .. } = container.guest.nics[0].attachment else {
        panic!("not on the managed network")
    };
    assert_eq!(ip.to_string(), text(&made, "primaryIpAddress"));
    assert!(mac.to_string().starts_with("02:00:01:"));
    assert!(meanings.iter().any(|meaning| matches!(
        meaning,
        Meaning::Endpoint(endpoint) if endpoint.ip == ip && endpoint.names == ["web"]
    )));

    agent.shows(&uuid, 1, Phase::Preparing).await;
    assert_eq!(text(&cloud.state(&made, "starting").await, "transitioning"), "yes");
    agent.shows(&uuid, 1, Phase::Running).await;
    assert_eq!(text(&cloud.state(&made, "running").await, "transitioning"), "no");

    assert_eq!(text(&cloud.act(&made, "restart").await, "state"), "restarting");
    agent.shows(&uuid, 2, Phase::Running).await;
    cloud.state(&made, "running").await;
    assert_eq!(text(&cloud.act(&made, "stop").await, "state"), "stopping");
    agent.shows(&uuid, 2, Phase::Exited).await;
    cloud.state(&made, "stopped").await;

    let removed = cloud.core.remove(&cloud.core.admin(), "container", &made.id).await.unwrap();
    assert_eq!((text(&removed, "state"), text(&removed, "transitioning")), ("removing", "yes"));
    agent.until(|held| has(held, &format!("retained/{uuid}")) && !has(held, &key)).await;
    agent.shows(&uuid, 2, Phase::Retained).await;
    let removed = cloud.state(&made, "removed").await;
    assert_eq!(text(&removed, "primaryIpAddress"), ip.to_string(), "kept until the purge");

    cloud.act(&made, "purge").await;
    agent.until(|held| !has(held, &format!("retained/{uuid}"))).await;
    agent.report.instances.clear();
    agent.tell().await;
    let purged = cloud.until(&made, |view| text(view, "primaryIpAddress").is_empty()).await;
    assert_eq!((text(&purged, "state"), text(&purged, "transitioning")), ("purged", "no"));
}

#[tokio::test(flavor = "multi_thread")]
async fn removed_is_restored_with_its_address() {
    let (cloud, mut agent, _data) = with_host().await;
    let made = cloud
        .create("container", json!({"imageUuid": "docker:nginx", "startOnCreate": false}))
        .await;
    let uuid = text(&made, "uuid").to_owned();
    agent.until(|held| has(held, &format!("container/{uuid}"))).await;
    agent.shows(&uuid, 0, Phase::Exited).await;
    cloud.state(&made, "stopped").await;
    cloud.act(&made, "remove").await;
    agent.until(|held| has(held, &format!("retained/{uuid}"))).await;
    agent.shows(&uuid, 0, Phase::Retained).await;
    cloud.state(&made, "removed").await;
    assert_eq!(text(&cloud.act(&made, "restore").await, "state"), "restoring");
    agent.until(|held| has(held, &format!("container/{uuid}"))).await;
    agent.shows(&uuid, 0, Phase::Exited).await;
    let restored = cloud.state(&made, "stopped").await;
    assert_eq!(text(&restored, "primaryIpAddress"), text(&made, "primaryIpAddress"));
    assert_eq!(restored.fields["removed"], serde_json::Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_start_that_fails_for_good_ends_removed_with_the_reason() {
    let (cloud, mut agent, _data) = with_host().await;
    let made = cloud.create("container", json!({"imageUuid": "docker:none"})).await;
    let uuid = text(&made, "uuid").to_owned();
    agent.until(|held| has(held, &format!("container/{uuid}"))).await;
    let failed = |kind, message: &str| Instance {
        epoch: 1,
        phase: Phase::Failed,
        error: Some(kind),
        message: Some(message.into()),
        ..Instance::default()
    };
    let transient = failed(ErrorKind::Transient, "registry is away");
    agent.report.instances.insert(uuid.clone(), transient);
    agent.tell().await;
    let waiting =
        cloud.until(&made, |view| text(view, "transitioningMessage") == "registry is away").await;
    assert_eq!((text(&waiting, "state"), text(&waiting, "transitioning")), ("starting", "yes"));
    agent.report.instances.insert(uuid.clone(), failed(ErrorKind::Invalid, "no such image"));
    agent.tell().await;
    agent.until(|held| !has(held, &format!("container/{uuid}"))).await;
    agent.report.instances.clear();
    agent.tell().await;
    let gone = cloud.until(&made, |view| text(view, "transitioning") == "error").await;
    assert_eq!(text(&gone, "state"), "removed");
    assert_eq!(text(&gone, "transitioningMessage"), "no such image");
    assert_eq!(text(&gone, "primaryIpAddress"), "", "nothing is leaked");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ends_by_itself_is_stopped_or_removed() {
    let (cloud, mut agent, _data) = with_host().await;
    for (policy, end) in [("stop", "stopped"), ("remove", "removing")] {
        let fields = json!({"imageUuid": "docker:job", "instanceTriggeredStop": policy});
        let made = cloud.create("container", fields).await;
        let uuid = text(&made, "uuid").to_owned();
        agent.until(|held| has(held, &format!("container/{uuid}"))).await;
        agent.shows(&uuid, 1, Phase::Running).await;
        cloud.state(&made, "running").await;
        agent.shows(&uuid, 1, Phase::Exited).await;
        cloud.state(&made, end).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_started_by_hand_is_shown_and_its_reserve_filled_up() {
    let (cloud, mut agent, _data) = with_host().await;
    let reserve = |agent: &crate::agent::Agent| {
        agent.meanings().into_iter().find_map(|meaning| match meaning {
            Meaning::Reserve(reserve) => Some(reserve),
            _ => None,
        })
    };
    let granted = reserve(&agent).unwrap();
    assert_eq!(granted.addresses.len(), 8);
    agent.report.adopted = vec![Adopted {
        docker_id: "f00".into(),
        name: "by-hand".into(),
        image: "busybox".into(),
        vni: granted.vni,
        ip: granted.addresses[3].ip,
        mac: granted.addresses[3].mac,
        running: true,
    }];
    agent.tell().await;
    let admin = cloud.core.admin();
    let list = cloud.core.list(&admin, "container");
    let [shown] = list.as_slice() else { panic!("{list:?}") };
    assert_eq!((text(shown, "name"), text(shown, "state")), ("by-hand", "running"));
    assert_eq!(text(shown, "primaryIpAddress"), granted.addresses[3].ip.to_string());
    assert_eq!((shown.fields["external"].as_bool(), shown.actions.len()), (Some(true), 0));
    assert!(cloud.core.remove(&admin, "container", &shown.id).await.is_err());
    let Some(Linked::Many(nics)) = cloud.core.link(&admin, "container", &shown.id, "nics") else {
        panic!("no nics")
    };
    assert_eq!(text(&nics[0], "macAddress"), granted.addresses[3].mac.to_string());
    agent.until(|held| held.items.values().any(|item| item.value.get().contains("by-hand"))).await;
    assert_eq!(reserve(&agent).unwrap().addresses.len(), 9, "eight are free again");

    let generation = cloud.core.figures().generation;
    agent.tell().await;
    assert_eq!(cloud.core.figures().generation, generation, "telling again writes nothing");

    // Without Docker nothing can be said of its containers.
    let broken = Capability { ok: false, detail: "no answer".into() };
    let docker = agent.report.facts.capabilities.insert("docker".into(), broken).unwrap();
    agent.report.adopted.clear();
    agent.tell().await;
    assert_eq!(text(&cloud.get(shown), "state"), "running");
    agent.report.facts.capabilities.insert("docker".into(), docker);
    agent.tell().await;
    assert_eq!(text(&cloud.get(shown), "state"), "removed");
    agent.until(|held| !held.items.values().any(|item| item.value.get().contains("by-hand"))).await;
    assert_eq!(reserve(&agent).unwrap().addresses.len(), 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_and_went_between_two_polls_is_gone_at_once() {
    let (cloud, mut agent, _data) = with_host().await;
    while agent.poll(0).await {}
    agent.tell().await;
    let made = cloud.create("container", json!({"imageUuid": "docker:nginx"})).await;
    assert_ne!(text(&made, "hostId"), "");
    cloud.act(&made, "remove").await;
    cloud.act(&made, "purge").await;
    let purged = cloud.state(&made, "purged").await;
    assert_eq!(text(&purged, "primaryIpAddress"), "");
    assert!(!agent.poll(0).await, "the host was never told");

    // But what was told may have been made, however old the last report is.
    let made = cloud.create("container", json!({"imageUuid": "docker:nginx"})).await;
    assert!(agent.poll(20).await);
    cloud.act(&made, "remove").await;
    cloud.act(&made, "purge").await;
    cloud.state(&made, "purging").await;
    agent.tell().await;
    assert_eq!(text(&cloud.get(&made), "state"), "purging", "it knew of no purge yet");
    while agent.poll(0).await {}
    agent.tell().await;
    cloud.state(&made, "purged").await;
}
