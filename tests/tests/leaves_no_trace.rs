//! Delete and purge of everything returns a host to what it was, and `clean-host` to what it was
//! before agentd came; what others made stays.

use anyhow::{Result, ensure};
use serde_json::json;
use tests::cloud::Cloud;
use tests::docker::IMAGE;
use tests::host::Equipment;
use tests::patience::until;
use tests::traces::{differences, look};

const LIMIT: std::time::Duration = std::time::Duration::from_secs(30);
/// agentd's ledger and journals grow and shrink as they like; disks are counted one by one.
const LIVE: &[&str] = &["disks", "processes"];

#[test]
fn a_host_returns_to_what_it_was() -> Result<()> {
    let mut cloud = Cloud::start()?;
    cloud.register_machine_image()?;
    let token = cloud.token(&[])?;
    let host = cloud.equip_host(Equipment::BOTH)?;
    host.docker(&["run", "-d", "--name", "foreign", "--network", "none", IMAGE, "sleep", "1d"])?;
    host.docker(&["volume", "create", "foreign"])?;
    host.node
        .shell("nft add table inet foreign; ip link add foreign type veth peer name foreign2")?;
    let before = look(&host.node)?;
    host.give_token(&token)?;
    host.start_agentd()?;
    until("the default network in Docker", LIMIT, || {
        cloud.hosts[0].docker(&["network", "inspect", "managed"])
    })?;
    until("the default network in the kernel", LIMIT, || {
        let status = cloud.hosts[0].status()?;
        let settled = |one: &serde_json::Value| {
            one["errors"] == 0 && one["generation"] == status["generation"]
        };
        let all = status["reconcilers"].as_array().is_some_and(|all| all.iter().all(settled));
        ensure!(all, "agentd is not done: {status}");
        Ok(())
    })?;
    let idle = until("an end of the kernel's own address checks", LIMIT, || {
        let idle = look(&cloud.hosts[0].node)?;
        ensure!(!idle["addresses"].contains("tentative"), "an address is still being checked");
        Ok(idle)
    })?;

    let container = cloud.run_container("one", 0, json!({}))?;
    let machine = cloud.run_machine("vm", 0, json!({}))?;
    // A system that is up ends when it is asked to; one that still boots is waited for in vain.
    cloud.hosts[0].told(&machine.uuid, "ready")?;
    let busy = look(&cloud.hosts[0].node)?;
    ensure!(busy["domains"].contains(&machine.uuid), "libvirt shows no machine: {busy:?}");
    cloud.purge(&container)?;
    cloud.purge(&machine)?;
    until("the traces' end", LIMIT, || {
        let left = differences(&idle, &look(&cloud.hosts[0].node)?, LIVE);
        ensure!(left.is_empty(), "there is left:\n{left}");
        Ok(())
    })?;
    let disks = look(&cloud.hosts[0].node)?["disks"].clone();
    for uuid in [&container.uuid, &machine.uuid] {
        ensure!(!disks.contains(uuid), "files of {uuid} are left: {disks}");
    }

    cloud.hosts[0].stop_agentd()?;
    cloud.hosts[0].agentd(&["clean-host", "--data-too"])?;
    let left = differences(&before, &look(&cloud.hosts[0].node)?, &[]);
    ensure!(left.is_empty(), "clean-host left:\n{left}");
    cloud.passed()
}
