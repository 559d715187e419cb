//! The whole way of a request on real parts: two hosts, a container on each and a machine on one,
//! all made by REST, all on one network.

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tests::cloud::Cloud;
use tests::guest::{Guest, values};
use tests::host::Equipment;

const GATEWAY: &str = "10.42.0.1";
/// The default network's MTU without encryption; what an echo request may carry is 28 bytes less.
const MTU: &str = "1400";
const FULL_ECHO: &str = "1372";

/// What the machine does as soon as it is up, told on its console line by line.
const MACHINE_SCRIPT: &str = r#"#!/bin/sh
for name in one two; do
    echo "resolved $name $(nslookup $name | tail -n +3 | sed -n 's/^Address[^:]*: *//p')"
    ping -c 1 -W 2 -s 1372 $name >/dev/null && echo "pinged $name"
    echo "fetched $name $(wget -q -O - http://$name/)"
done
"#;

#[test]
fn containers_and_a_machine_on_two_hosts_reach_each_other_by_name() -> Result<()> {
    let cloud = Cloud::with_hosts(&[Equipment::BOTH, Equipment::CONTAINERS])?;
    cloud.register_machine_image()?;
    let one = cloud.run_container("one", 0, json!({}))?;
    let two = cloud.run_container("two", 1, json!({}))?;
    let machine = cloud.run_machine("vm", 0, json!({"userdata": MACHINE_SCRIPT}))?;

    the_machine_was_told_its_place(&cloud, &machine)?;
    the_machine_reaches(&cloud, &machine, &[&one, &two])?;
    the_container_reaches(&cloud, &one, &[&two, &machine])?;
    the_container_reaches(&cloud, &two, &[&one, &machine])?;
    for container in [&one, &two] {
        the_container_reads_its_metadata(&cloud, container)?;
    }
    cloud.passed()
}

/// Address, resolver, MTU and name by DHCP from its own host, and the same in its metadata.
fn the_machine_was_told_its_place(cloud: &Cloud, machine: &Guest) -> Result<()> {
    let host = &cloud.hosts[machine.host];
    let told = |key: &str| host.told(&machine.uuid, key);
    let address = machine.address.to_string();
    ensure!(told("ready")?.parse::<f64>().is_ok(), "the machine is not ready");
    ensure!(told("dhcp-ip")?.split('/').next() == Some(&address), "DHCP gave another address");
    for (key, expected) in [
        ("dhcp-mtu", MTU),
        ("mtu-eth0", MTU),
        ("dhcp-dns", GATEWAY),
        ("dhcp-domain", "stampede.internal"),
        ("dhcp-hostname", "vm"),
        ("local-ipv4", &address),
    ] {
        let value = told(key)?;
        ensure!(value == expected, "{key} is {value}, not {expected}");
    }
    let id = machine.path.rsplit('/').next().context("a path has a last part")?;
    let told_id = told("instance-id")?;
    ensure!(told_id.ends_with(id), "instance-id is {told_id}, the resource is {id}");
    ensure!(told("drive-meta-data")?.contains(&machine.uuid), "the drive is another machine's");
    ensure!(
        told("user-data-sha256")? == told("drive-user-data-sha256")?,
        "service and drive tell different user data"
    );
    Ok(())
}

fn the_machine_reaches(cloud: &Cloud, machine: &Guest, others: &[&Guest]) -> Result<()> {
    let host = &cloud.hosts[machine.host];
    tests::patience::until("the machine's script", std::time::Duration::from_secs(60), || {
        let console = host.console(&machine.uuid)?;
        ensure!(values(&console, "script").any(|line| line.starts_with("exit")), "it still runs");
        Ok(())
    })?;
    let console = host.console(&machine.uuid)?;
    let said: Vec<_> = values(&console, "script").collect();
    for other in others {
        let name = &other.name;
        for line in [
            format!("resolved {name} {}", other.address),
            format!("pinged {name}"),
            format!("fetched {name} {name}"),
        ] {
            ensure!(said.contains(&line.as_str()), "the machine did not say {line:?}: {said:?}");
        }
    }
    Ok(())
}

fn the_container_reaches(cloud: &Cloud, container: &Guest, others: &[&Guest]) -> Result<()> {
    let host = &cloud.hosts[container.host];
    let mtu = host.exec(&container.uuid, &["cat", "/sys/class/net/eth0/mtu"])?;
    ensure!(mtu == MTU, "{} has MTU {mtu}", container.name);
    for other in others {
        let found = host.exec(&container.uuid, &["nslookup", &other.name])?;
        ensure!(found.contains(&other.address.to_string()), "{} is not {found}", other.name);
        host.exec(&container.uuid, &["ping", "-c", "1", "-W", "2", "-s", FULL_ECHO, &other.name])?;
        let url = format!("http://{}/", other.name);
        let page = host.exec(&container.uuid, &["wget", "-q", "-O", "-", &url])?;
        ensure!(page == other.name, "{} answered {page}", other.name);
    }
    Ok(())
}

fn the_container_reads_its_metadata(cloud: &Cloud, container: &Guest) -> Result<()> {
    let host = &cloud.hosts[container.host];
    let read = |key: &str| {
        let url = format!("http://169.254.169.254/latest/meta-data/{key}");
        host.exec(&container.uuid, &["wget", "-q", "-O", "-", &url])
    };
    let address = read("local-ipv4")?;
    ensure!(address == container.address.to_string(), "local-ipv4 is {address}");
    let id = read("instance-id")?;
    let expected = container.path.rsplit('/').next().context("a path has a last part")?;
    ensure!(id.ends_with(expected), "instance-id is {id}, the resource is {expected}");
    Ok(())
}
