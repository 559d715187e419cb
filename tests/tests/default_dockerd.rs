//! Beside a dockerd in default settings, which drops everything that the host forwards.

use anyhow::{Result, ensure};
use serde_json::json;
use std::net::SocketAddr;
use std::time::Duration;
use tests::cloud::Cloud;
use tests::docker::PacketFilter;
use tests::echo::Echo;
use tests::host::{Equipment, Host};
use tests::patience::until;
use tests::underlay::INTERNET;

const DEFAULT: Equipment =
    Equipment { docker: Some(PacketFilter::Default), ..Equipment::CONTAINERS };
const CONDITION: &str = "forward-blocked";
/// Longer than the reconcilers' timer: nothing tells agentd of a foreign change.
const LIMIT: Duration = Duration::from_secs(90);

#[test]
fn egress_and_neighbours_work_beside_a_dropping_dockerd_and_its_absence_is_told() -> Result<()> {
    let mut cloud = Cloud::with_hosts(&[DEFAULT, DEFAULT])?;
    for host in &cloud.hosts {
        let policy = host.node.shell("iptables -S FORWARD | head -1")?;
        ensure!(policy.trim() == "-P FORWARD DROP", "this dockerd does not drop: {policy}");
    }
    let one = cloud.run_container("one", 0, json!({}))?;
    let two = cloud.run_container("two", 1, json!({}))?;
    let host = &cloud.hosts[0];
    host.exec(&one.uuid, &["ping", "-c", "1", "-W", "2", "two"])?;
    cloud.hosts[1].exec(&two.uuid, &["ping", "-c", "1", "-W", "2", "one"])?;
    let echo = Echo::listen(&cloud.underlay.outside, SocketAddr::new(INTERNET.into(), 7000))?;
    let seen = ask_outside(host, &one.uuid, &echo)?;
    ensure!(seen == host.address.to_string(), "the outside saw {seen}");
    ensure!(!conditions(host)?.contains(CONDITION), "{CONDITION} is told although all works");

    take_our_rules_away(host)?;
    until(CONDITION, LIMIT, || {
        host.look_again()?;
        let told = conditions(host)?;
        ensure!(told.contains(CONDITION), "the conditions are {told}");
        Ok(())
    })?;
    ensure!(ask_outside(host, &one.uuid, &echo).is_err(), "nothing drops after all");

    // dockerd makes its chains anew when it starts, and ours come back with them.
    cloud.hosts[0].restart_docker()?;
    let host = &cloud.hosts[0];
    until("the end of the condition", LIMIT, || {
        host.look_again()?;
        let told = conditions(host)?;
        ensure!(!told.contains(CONDITION), "the conditions are {told}");
        Ok(())
    })?;
    cloud.hosts[0].stop_agentd()?;
    let host = &cloud.hosts[0];
    host.agentd(&["clean-host"])?;
    let rules = host.node.shell("iptables-save")?;
    ensure!(!rules.contains("stampede"), "rules of ours are left: {rules}");
    ensure!(rules.contains("DOCKER-USER"), "Docker's own chain is gone: {rules}");
    cloud.passed()
}

/// Removes the chain that is meant for others, with our rules in it, as a firewall's reload does.
fn take_our_rules_away(host: &Host) -> Result<()> {
    host.node.shell(
        "iptables -S DOCKER-USER | grep -q stampede
         iptables -D FORWARD -j DOCKER-USER
         iptables -F DOCKER-USER
         iptables -X DOCKER-USER",
    )?;
    Ok(())
}

fn conditions(host: &Host) -> Result<String> {
    Ok(host.status()?["report"]["facts"]["conditions"].to_string())
}

fn ask_outside(host: &Host, from: &str, echo: &Echo) -> Result<String> {
    let (address, port) = (echo.address().ip().to_string(), echo.address().port().to_string());
    Ok(host.exec(from, &["nc", "-w", "2", &address, &port])?.trim().to_owned())
}
