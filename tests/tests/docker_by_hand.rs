//! People use Docker beside us: restarts by hand, and containers of their own on a managed network.

use anyhow::{Result, ensure};
use serde_json::json;
use std::net::Ipv4Addr;
use std::time::Duration;
use tests::cloud::Cloud;
use tests::docker::IMAGE;
use tests::guest::Guest;
use tests::host::{Equipment, Host};

const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn docker_restart_by_hand_keeps_address_and_connection_also_without_controld() -> Result<()> {
    let mut cloud = Cloud::with_hosts(&[Equipment::CONTAINERS, Equipment::CONTAINERS])?;
    let web = cloud.run_container("web", 0, json!({}))?;
    let peer = cloud.run_container("peer", 1, json!({}))?;
    restart_and_check(&cloud, &web, &peer)?;
    cloud.api().wait_for_state(&web.path, "running", LIMIT)?;
    cloud.stop_controld()?;
    restart_and_check(&cloud, &web, &peer)?;
    cloud.start_controld()?;
    let shown = cloud.api().wait_for_state(&web.path, "running", LIMIT)?;
    ensure!(shown["primaryIpAddress"] == web.address.to_string(), "the address is {shown}");
    cloud.passed()
}

fn restart_and_check(cloud: &Cloud, web: &Guest, peer: &Guest) -> Result<()> {
    let host = &cloud.hosts[web.host];
    let id = host.docker_id(&web.uuid)?;
    host.docker(&["restart", "--time", "0", &id])?;
    let address = address_of(host, &id)?;
    ensure!(address == web.address, "the restart changed {} to {address}", web.address);
    host.exec(&web.uuid, &["ping", "-c", "1", "-W", "2", "peer"])?;
    let page = fetch(&cloud.hosts[peer.host], &peer.uuid, "web")?;
    ensure!(page == "web", "web answered {page}");
    Ok(())
}

#[test]
fn a_container_run_by_hand_gets_address_and_name_and_is_left_alone() -> Result<()> {
    let mut cloud = Cloud::with_hosts(&[Equipment::CONTAINERS, Equipment::CONTAINERS])?;
    let near = cloud.run_container("near", 0, json!({}))?;
    let far = cloud.run_container("far", 1, json!({}))?;

    let first = run_by_hand(&cloud.hosts[0], "first")?;
    shown(&cloud, "first", first.1)?;
    for (host, guest) in [(0, &near), (1, &far)] {
        answers_by_name(&cloud.hosts[host], &guest.uuid, "first", first.1)?;
    }
    cloud.hosts[0].kill_agentd()?;
    cloud.hosts[0].start_agentd()?;
    untouched(&cloud.hosts[0], &first.0)?;

    cloud.stop_controld()?;
    let second = run_by_hand(&cloud.hosts[0], "second")?;
    answers_by_name(&cloud.hosts[0], &near.uuid, "second", second.1)?;
    let host = &cloud.hosts[1];
    host.exec(&far.uuid, &["ping", "-c", "1", "-W", "2", &second.1.to_string()])?;
    cloud.start_controld()?;
    shown(&cloud, "second", second.1)?;
    untouched(&cloud.hosts[0], &first.0)?;

    cloud.hosts[0].docker(&["rm", "--force", "first"])?;
    tests::patience::until("the end of first in the API", LIMIT, || {
        let left = cloud.api().list("containers?name=first&removed_null=1")?;
        ensure!(left.is_empty(), "it is still shown: {left:?}");
        Ok(())
    })?;
    cloud.passed()
}

/// Docker's id, its start, and the address of a container started with plain Docker.
fn run_by_hand(host: &Host, name: &str) -> Result<((String, String), Ipv4Addr)> {
    let serve = "hostname >/www/index.html; exec httpd -f -h /www";
    let line = [
        "run",
        "-d",
        "--name",
        name,
        "--hostname",
        name,
        "--network",
        "managed",
        IMAGE,
        "sh",
        "-c",
    ];
    let id = host.docker(&[&line[..], &[serve]].concat())?;
    let address = address_of(host, &id)?;
    ensure!(address.octets()[..2] == [10, 42], "{name} got {address}");
    Ok(((id.clone(), started(host, &id)?), address))
}

fn shown(cloud: &Cloud, name: &str, address: Ipv4Addr) -> Result<()> {
    tests::patience::until(&format!("{name} in the API"), LIMIT, || {
        let found = cloud.api().list(&format!("containers?name={name}&removed_null=1"))?;
        ensure!(found.len() == 1, "it is shown {} times", found.len());
        ensure!(found[0]["state"] == "running", "it is {}", found[0]["state"]);
        ensure!(found[0]["primaryIpAddress"] == address.to_string(), "it is {}", found[0]);
        Ok(())
    })
}

fn answers_by_name(host: &Host, from: &str, name: &str, address: Ipv4Addr) -> Result<()> {
    tests::patience::until(&format!("the name {name}"), LIMIT, || {
        let found = host.exec(from, &["nslookup", name])?;
        ensure!(found.contains(&address.to_string()), "{name} is {found}");
        Ok(())
    })?;
    let page = fetch(host, from, name)?;
    ensure!(page == name, "{name} answered {page}");
    Ok(())
}

fn untouched(host: &Host, (id, start): &(String, String)) -> Result<()> {
    let now = started(host, id)?;
    ensure!(now == *start, "the container was started again: {start}, {now}");
    Ok(())
}

fn started(host: &Host, id: &str) -> Result<String> {
    host.docker(&["inspect", "--format", "{{.State.Running}} {{.State.StartedAt}}", id])
}

fn address_of(host: &Host, id: &str) -> Result<Ipv4Addr> {
    let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    Ok(host.docker(&["inspect", "--format", format, id])?.parse()?)
}

fn fetch(host: &Host, from: &str, name: &str) -> Result<String> {
    host.exec(from, &["wget", "-q", "-O", "-", &format!("http://{name}/")])
}
