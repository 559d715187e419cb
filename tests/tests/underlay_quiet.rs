//! Nothing is flooded: no ARP, unknown unicast or broadcast of a guest crosses the underlay.

use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use tests::capture::{Address, Capture, IPV4, Tunnelled};
use tests::cloud::Cloud;
use tests::guest::Guest;
use tests::host::{Equipment, Host};

#[test]
fn only_frames_to_a_known_guest_cross_the_underlay_and_only_to_its_host() -> Result<()> {
    let cloud = Cloud::with_hosts(&[Equipment::CONTAINERS, Equipment::CONTAINERS])?;
    let one = cloud.run_container("one", 0, json!({}))?;
    let two = cloud.run_container("two", 1, json!({}))?;
    let owners = owners(&cloud, &[&one, &two])?;

    let capture = Capture::start(cloud.underlay.switch())?;
    let host = &cloud.hosts[0];
    for target in ["two", &two.address.to_string()] {
        host.exec(&one.uuid, &["ping", "-c", "2", "-W", "2", target])?;
    }
    host.node.ping(two.address).context("the host cannot reach a guest of another host")?;
    make_noise(host, &one)?;
    // The last word, so that the capture is known to have lasted until here.
    host.exec(&one.uuid, &["wget", "-q", "-O", "-", "http://two/"])?;
    let frames = capture.finish_tunnelled();

    ensure!(frames.len() >= 10, "only {} frames crossed the underlay", frames.len());
    for frame in &frames {
        let fault = fault(frame, &owners);
        ensure!(fault.is_none(), "{}: {:?}", fault.unwrap_or_default(), frame);
    }
    cloud.passed()
}

/// Sends what a careless guest sends, none of which has anybody to receive it.
fn make_noise(host: &Host, guest: &Guest) -> Result<()> {
    let pid = host.docker(&["inspect", "-f", "{{.State.Pid}}", &host.docker_id(&guest.uuid)?])?;
    let inside = |script: &str| {
        host.node.shell(&format!("nsenter --target {pid} --net -- bash -c '{script}' || true"))
    };
    // ARP for nobody; a request that names all as its target; a gratuitous one.
    inside("busybox ping -c 1 -W 1 10.42.77.77")?;
    inside("busybox arping -c 2 -w 2 -I eth0 10.42.77.78")?;
    inside(&format!("busybox arping -c 1 -U -I eth0 {}", guest.address))?;
    // Unknown unicast.
    inside("ip neighbour replace 10.42.77.79 lladdr 02:00:00:77:77:79 nud permanent dev eth0")?;
    inside("busybox ping -c 2 -W 1 10.42.77.79")?;
    inside("ip neighbour del 10.42.77.79 dev eth0")?;
    // Broadcast and multicast.
    inside("echo all | busybox nc -u -w 1 255.255.255.255 9")?;
    inside("busybox ping -c 1 -W 1 10.42.255.255")?;
    inside("ip route replace 224.0.0.0/4 dev eth0; busybox ping -c 1 -W 1 224.0.0.251")?;
    Ok(())
}

/// Which host may be sent frames for an Ethernet address: those of guests and the hosts' own.
fn owners(cloud: &Cloud, guests: &[&Guest]) -> Result<BTreeMap<Address, Ipv4Addr>> {
    let mut owners = BTreeMap::new();
    for (number, host) in (1..).zip(&cloud.hosts) {
        owners.insert(api::derive::router_mac(number).0, host.address);
    }
    for guest in guests {
        let host = &cloud.hosts[guest.host];
        let text = host.exec(&guest.uuid, &["cat", "/sys/class/net/eth0/address"])?;
        let address: api::mac::Mac = text.trim().parse()?;
        owners.insert(address.0, host.address);
    }
    Ok(owners)
}

fn fault(frame: &Tunnelled, owners: &BTreeMap<Address, Ipv4Addr>) -> Option<&'static str> {
    if frame.head.ether_type != IPV4 {
        return Some("something other than IPv4 crossed");
    }
    if frame.head.is_multicast() {
        return Some("a broadcast or multicast crossed");
    }
    match owners.get(&frame.head.destination) {
        None => Some("a frame to an unknown address crossed"),
        Some(owner) if *owner != frame.to => Some("a frame went to a host that does not own it"),
        Some(_) => None,
    }
}
