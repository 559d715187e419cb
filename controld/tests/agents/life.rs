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

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_was_lost_keeps_no_address() {
    let (cloud, mut agent, _data) = with_host().await;
    while agent.poll(0).await {}
    agent.tell().await;
    let made = cloud.create("container", json!({"imageUuid": "docker:nginx"})).await;
    let (status, _) = agent.client.send(http::Method::GET, &agent.path(0), Vec::new()).await;
    assert_eq!(status, http::StatusCode::OK);
    cloud.act(&made, "remove").await;
    cloud.act(&made, "purge").await;
    assert_eq!(text(&cloud.get(&made), "state"), "purging", "it may have got the answer");
    assert!(!agent.poll(0).await, "it holds what it should");
    cloud.state(&made, "purged").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_container_in_two_networks_is_shown_for_each() {
    let (cloud, mut agent, _data) = with_host().await;
    let network = cloud.create("hostOnlyNetwork", json!({"name": "second"})).await;
    let fields = json!({"networkId": network.id, "networkAddress": "10.9.0.0"});
    cloud.create("subnet", fields).await;
    let fields = json!({"imageUuid": "docker:nginx", "networkIds": [network.id]});
    cloud.create("container", fields).await;
    let reserves = |held: &api::snapshot::Snapshot| {
        held.items.keys().filter(|key| key.starts_with("reserve/")).count()
    };
    agent.until(|held| reserves(held) == 2).await;
    for meaning in agent.meanings() {
        let Meaning::Reserve(reserve) = meaning else { continue };
        agent.report.adopted.push(Adopted {
            docker_id: "f00".into(),
            name: "by-hand".into(),
            image: "busybox".into(),
            vni: reserve.vni,
            ip: reserve.addresses[0].ip,
            mac: reserve.addresses[0].mac,
            running: true,
        });
    }
    agent.tell().await;
    let list = cloud.core.list(&cloud.core.admin(), "container");
    assert_eq!(list.iter().filter(|one| text(one, "name") == "by-hand").count(), 2);
    let generation = cloud.core.figures().generation;
    agent.tell().await;
    assert_eq!(cloud.core.figures().generation, generation, "telling again writes nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_brought_up_on_a_host_that_was_taken_out() {
    let (cloud, _agent, _data) = with_host().await;
    let admin = cloud.core.admin();
    let made = cloud.create("container", json!({"imageUuid": "docker:nginx"})).await;
    let host = cloud.core.list(&admin, "host").remove(0);
    cloud.act(&host, "fence").await;
    let shown = cloud.get(&made);
    assert!(text(&shown, "transitioningMessage").contains("taken out of the cloud"), "{shown:?}");
    cloud.act(&made, "remove").await;
    for (view, action, status) in [(&made, "restore", 409), (&host, "activate", 422)] {
        let none = controld::core::Fields::new();
        let refused = cloud.core.act(&admin, view.kind, &view.id, action, none).await.unwrap_err();
        assert_eq!(refused.status, status, "{refused}");
    }
    cloud.act(&made, "purge").await;
    let addresses = cloud.core.list(&admin, "ipAddress");
    assert!(addresses.is_empty(), "{addresses:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_was_taken_back_opens_no_new_guest() {
    let (cloud, mut agent, _data) = with_host().await;
    let admin = cloud.core.admin();
    let key = json!({"name": "mine", "publicValue": "ssh-ed25519 AAAAC3NzaC1lZDI1"});
    let key = cloud.create("sshKey", key).await;
    let account = cloud.core.list(&admin, "account").remove(0);
    let fields = json!({"defaultCredentialIds": [key.id]}).as_object().cloned().unwrap();
    cloud.core.update(&admin, "account", &account.id, fields).await.unwrap();
    for (name, keys) in [("before", 1), ("after", 0)] {
        let made = cloud.create("container", json!({"imageUuid": "docker:x", "name": name})).await;
        let item = format!("container/{}", text(&made, "uuid"));
        agent.until(|held| held.items.contains_key(&item)).await;
        let Meaning::Container(container) = Meaning::read(&agent.held.items[&item]).unwrap() else {
            panic!("no container")
        };
        assert_eq!(container.guest.public_keys.len(), keys, "{name}");
        cloud.core.remove(&admin, "sshKey", &key.id).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_older_word_does_not_undo_a_restart_policy() {
    let (cloud, _agent, _data) = with_host().await;
    let policy = json!({"name": "on-failure", "maximumRetryCount": 3});
    for (given, word, policy) in [
        (json!({"imageUuid": "docker:x", "restartPolicy": policy}), "remove", policy),
        (
            json!({"imageUuid": "docker:x"}),
            "restart",
            json!({"name": "always", "maximumRetryCount": 0}),
        ),
    ] {
        let made = cloud.create("container", given).await;
        let fields = json!({"instanceTriggeredStop": word}).as_object().cloned().unwrap();
        let admin = cloud.core.admin();
        let shown = cloud.core.update(&admin, "container", &made.id, fields).await.unwrap();
        assert_eq!(shown.fields["restartPolicy"], policy);
        assert_eq!(text(&shown, "instanceTriggeredStop"), word);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_is_to_look_like_ec2_has_such_a_uuid() {
    let (cloud, _agent, _data) = with_host().await;
    let image = json!({"uuid": "small", "url": "http://example.org/x.img"});
    cloud.create("image", image).await;
    let machine = json!({"imageUuid": "small", "presentation": "ec2"});
    let made = cloud.create("virtualMachine", machine).await;
    let uuid = text(&made, "uuid");
    assert!(uuid.starts_with("ec2") && uuid.parse::<uuid::Uuid>().is_ok(), "{uuid}");
}
