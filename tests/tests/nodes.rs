//! The harness itself: nodes are apart from each other and from this machine, and go without trace.

use std::time::Duration;
use tests::capture::{ARP, Capture, IPV4};
use tests::docker::{Docker, IMAGE, PacketFilter};
use tests::images;
use tests::libvirt::Libvirt;
use tests::node::Node;
use tests::underlay::{INTERNET, OUTSIDE, Underlay};

fn network_of_this_machine() -> anyhow::Result<String> {
    let output = std::process::Command::new("ip").args(["-o", "link"]).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn nodes_meet_on_the_underlay_only_and_go_without_trace() {
    let folder = tempfile::tempdir().unwrap();
    let before = network_of_this_machine().unwrap();
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let underlay = Underlay::start(folder.path(), folder.path()).unwrap();
    let node = Node::start("h1", &folder.path().join("h1"), folder.path()).unwrap();
    underlay.join(&node, "203.0.113.11".parse().unwrap()).unwrap();
    for target in [OUTSIDE, INTERNET] {
        node.ping(target).unwrap();
    }
    assert_eq!(node.run(&["hostname"]).unwrap().trim(), "h1");
    let devices = node.run(&["ls", "/sys/class/net"]).unwrap();
    assert_eq!(devices.split_whitespace().collect::<Vec<_>>(), ["eth0", "lo"]);
    assert_eq!(network_of_this_machine().unwrap(), before);
    assert_eq!(std::fs::read_to_string("/proc/self/mounts").unwrap(), mounts);
    drop((node, underlay));
    assert_eq!(network_of_this_machine().unwrap(), before);
    folder.close().unwrap();
}

#[test]
fn a_node_ends_with_everything_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start("h1", &folder.path().join("h1"), folder.path()).unwrap();
    let image = images::container().unwrap();
    let docker = Docker::start(&node, PacketFilter::Default, folder.path(), &image).unwrap();
    let libvirt = Libvirt::start(&node, folder.path()).unwrap();
    let forward = node.shell("iptables -S FORWARD").unwrap();
    assert!(forward.contains("-P FORWARD DROP"), "{forward}");
    node.run(&["docker", "run", "-d", "--network=none", IMAGE, "sleep", "1000"]).unwrap();
    let inside = node.run(&["sh", "-c", "ps -e -o args | grep -c '[s]leep 1000'"]).unwrap();
    assert_eq!(inside.trim(), "1");
    let group = node.control_group();
    drop(node);
    tests::patience::until("the end of dockerd", Duration::from_secs(5), || {
        anyhow::ensure!(!running_in(&group), "processes are left in {group}");
        Ok(())
    })
    .unwrap();
    drop((docker, libvirt));
    folder.close().unwrap();
}

fn running_in(group: &str) -> bool {
    std::path::Path::new("/sys/fs/cgroup/pids").join(group).exists()
}

#[test]
fn a_capture_sees_floods_inside_the_overlay() {
    let folder = tempfile::tempdir().unwrap();
    let underlay = Underlay::start(folder.path(), folder.path()).unwrap();
    let nodes: Vec<_> = (1..=2)
        .map(|number| {
            let name = format!("h{number}");
            let node = Node::start(&name, &folder.path().join(&name), folder.path()).unwrap();
            let other = 3 - number;
            underlay.join(&node, format!("203.0.113.1{number}").parse().unwrap()).unwrap();
            node.shell(&format!(
                "ip link add flood type vxlan id 7 dstport 14789 remote 203.0.113.1{} dev eth0
                 ip address add 10.9.0.{number}/24 dev flood
                 ip link set flood up",
                other
            ))
            .unwrap();
            node
        })
        .collect();
    let capture = Capture::start(underlay.switch()).unwrap();
    nodes[0].ping("10.9.0.2".parse().unwrap()).unwrap();
    let frames = capture.finish_tunnelled();
    let from_first = |frame: &&tests::capture::Tunnelled| frame.from.octets()[3] == 11;
    let arp = frames.iter().filter(from_first).find(|frame| frame.head.ether_type == ARP).unwrap();
    assert!(arp.head.is_multicast());
    assert_eq!(arp.to, "203.0.113.12".parse::<std::net::Ipv4Addr>().unwrap());
    assert!(frames.iter().any(|frame| frame.head.ether_type == IPV4));
}
