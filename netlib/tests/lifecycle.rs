//! A network's life on a host: made, kept, repaired, adopted after a restart, removed.

#![allow(clippy::unwrap_used)] // in helpers of tests

mod lab;

use lab::{Host, Lab, VNI, attempt, desired, guest_address, open, pings, run, two_hosts};
use netlib::desired::HostNetwork;
use netlib::names::{device_name, transit_name};
use netlib::netns;
use std::collections::BTreeMap;
use std::path::Path;

const GUESTS: [(u8, u16); 3] = [(10, 1), (11, 1), (20, 2)];

/// Everything that could be left behind in a root namespace.
fn state(namespace: &Path) -> String {
    let commands = ["ip -br link", "ip -br addr", "ip route show table all", "nft list ruleset"];
    // Interface indices of peers and link-layer details do not matter; IPv6 is off.
    commands.map(|command| run(namespace, command)).join("--\n")
}

fn nothing(host: &Host) -> HostNetwork {
    HostNetwork { networks: BTreeMap::new(), ..desired(host.number, &[], &[]) }
}

async fn unchanged(host: &Host, desired: &HostNetwork) {
    let outcome = host.dataplane.reconcile(desired).await;
    assert_eq!((outcome.changes, outcome.errors), (0, BTreeMap::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_when_nothing_is_desired() {
    let lab = Lab::new();
    let host = lab.host(1);
    run(&host.path, "nft add table inet foreign");
    run(&host.path, "ip link add foreign0 type veth peer name foreign1");
    let before = state(&host.path);
    let wanted = desired(1, &[1, 2], &GUESTS);
    let outcome = host.dataplane.reconcile(&wanted).await;
    assert!(outcome.errors.is_empty(), "{outcome:?}");
    let guest = lab.guest(&host, 10).await;
    host.dataplane.attach_veth(&lab::attach(11)).await.unwrap();
    assert_ne!(state(&host.path), before);

    let outcome = host.dataplane.reconcile(&nothing(&host)).await;
    assert!(outcome.errors.is_empty() && outcome.changes > 0, "{outcome:?}");
    assert_eq!(state(&host.path), before);
    assert!(!netns::exists(&host.dataplane.namespace(VNI)));
    assert!(!attempt(&guest, "ip link show eth0").status.success(), "the guest's end is gone too");
    unchanged(&host, &nothing(&host)).await;

    // And back, at once: neither port nor names are still taken.
    let outcome = host.dataplane.reconcile(&wanted).await;
    assert!(outcome.ready.contains(&VNI), "{outcome:?}");
    assert!(host.dataplane.clean().await.is_empty());
    assert_eq!(state(&host.path), before);
    assert!(!host.run_dir.join("netns").exists());
    assert!(host.dataplane.clean().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_agent_adopts_what_is_there() {
    let lab = Lab::new();
    let [one, two] = two_hosts(&lab, &GUESTS).await;
    let a = lab.guest(&one, 10).await;
    let _c = lab.guest(&two, 20).await;
    let lab::Host { path, run_dir, dataplane, .. } = one;
    drop(dataplane);
    assert!(pings(&a, guest_address(20)), "traffic goes on without an agent");
    let again = open(&path, &run_dir);
    let outcome = again.reconcile(&desired(1, &[1, 2], &GUESTS)).await;
    assert_eq!((outcome.changes, outcome.errors), (0, BTreeMap::new()));
    let device = device_name(VNI, guest_address(10));
    assert_eq!(again.attached(VNI).await.unwrap().into_iter().collect::<Vec<_>>(), [device]);
    assert!(pings(&a, guest_address(20)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_break_is_repaired() {
    let lab = Lab::new();
    let [one, two] = two_hosts(&lab, &GUESTS).await;
    let a = lab.guest(&one, 10).await;
    let _c = lab.guest(&two, 20).await;
    let inside = one.dataplane.namespace(VNI);
    let wanted = desired(1, &[1, 2], &GUESTS);
    let device = device_name(VNI, guest_address(10));
    let transit = transit_name(VNI);
    let mac = lab::guest_mac(20);
    let damages = [
        (&inside, "nft flush chain bridge stampede from_ip".to_owned()),
        (&inside, "nft flush set bridge stampede guests".to_owned()),
        (&inside, "nft delete table bridge stampede".to_owned()),
        (&one.path, "nft add rule inet stampede forward drop".to_owned()),
        (&one.path, "nft delete table inet stampede".to_owned()),
        (&one.path, "nft flush ruleset".to_owned()),
        (&inside, "ip neigh flush dev br0 nud permanent".to_owned()),
        (&inside, format!("bridge fdb del {mac} dev vx0 master")),
        (&inside, format!("bridge fdb replace {mac} dev vx0 dst 203.0.113.99 self static")),
        (&inside, format!("bridge link set dev {device} learning on flood on")),
        (&inside, "bridge link set dev vx0 neigh_suppress off".to_owned()),
        (&inside, format!("ip link set {device} nomaster")),
        (&inside, "ip link set vx0 down".to_owned()),
        (&inside, "ip link del vx0".to_owned()),
        (&inside, "ip link del br0".to_owned()),
        (&inside, "ip route del default".to_owned()),
        (&inside, "ip addr flush dev br0".to_owned()),
        (&inside, "sysctl -qw net.ipv4.ip_forward=0".to_owned()),
        (&one.path, "sysctl -qw net.ipv4.ip_forward=0".to_owned()),
        (&one.path, format!("ip link del {transit}")),
        (&one.path, format!("ip addr flush dev {transit}")),
        (&one.path, format!("ip link set {transit} down")),
    ];
    for (place, damage) in damages {
        run(place, &damage);
        let outcome = one.dataplane.reconcile(&wanted).await;
        assert!(outcome.changes > 0 && outcome.errors.is_empty(), "{damage}: {outcome:?}");
        unchanged(&one, &wanted).await;
        assert!(pings(&a, guest_address(20)), "other host after {damage}");
        assert!(pings(&a, lab::OUTSIDE), "outside after {damage}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_somebody_removed_is_made_again() {
    let lab = Lab::new();
    let [one, two] = two_hosts(&lab, &GUESTS).await;
    let _c = lab.guest(&two, 20).await;
    // Its devices stay for as long as anybody has it open; so do its names and port.
    let inside = one.dataplane.namespace(VNI);
    run(&inside, "ip link del vx0");
    assert!(netns::remove(&inside).unwrap());
    let wanted = desired(1, &[1, 2], &GUESTS);
    let outcome = one.dataplane.reconcile(&wanted).await;
    assert!(outcome.errors.is_empty() && outcome.ready.contains(&VNI), "{outcome:?}");
    unchanged(&one, &wanted).await;
    let a = lab.guest(&one, 10).await;
    assert!(pings(&a, guest_address(20)) && pings(&a, lab::OUTSIDE));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_strict_about_reverse_paths_still_forwards() {
    let lab = Lab::new();
    let host = lab.host(1);
    run(&host.path, "sysctl -qw net.ipv4.conf.all.rp_filter=1");
    let mut wanted = desired(1, &[1], &GUESTS);
    wanted.networks.get_mut(&VNI).unwrap().root_route = false;
    assert!(host.dataplane.reconcile(&wanted).await.errors.is_empty());
    unchanged(&host, &wanted).await;
    let transit = transit_name(VNI);
    let setting = run(&host.path, &format!("sysctl -n net.ipv4.conf.{transit}.rp_filter"));
    assert_eq!(setting.trim(), "2", "loose beats strict");
    let a = lab.guest(&host, 10).await;
    assert!(pings(&a, lab::OUTSIDE));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_remote_endpoints_take_a_moment_and_then_nothing() {
    let lab = Lab::new();
    let host = lab.host(1);
    let mut wanted = desired(1, &[1, 2], &GUESTS);
    let network = wanted.networks.get_mut(&VNI).unwrap();
    let remote = *network.remote.first().unwrap();
    for number in 0..1000u16 {
        let [high, low] = number.to_be_bytes();
        let mut endpoint = remote;
        endpoint.ip = std::net::Ipv4Addr::new(10, 42, 100 + high, low);
        endpoint.mac.0[4..].copy_from_slice(&[100 + high, low]);
        network.remote.insert(endpoint);
    }
    let begin = std::time::Instant::now();
    let outcome = host.dataplane.reconcile(&wanted).await;
    println!("1000 remote endpoints: {} changes in {:?}", outcome.changes, begin.elapsed());
    assert!(outcome.errors.is_empty() && outcome.changes > 2000, "{outcome:?}");
    let begin = std::time::Instant::now();
    unchanged(&host, &wanted).await;
    println!("a pass that finds nothing to do: {:?}", begin.elapsed());

    // One endpoint moves: one entry is replaced.
    let network = wanted.networks.get_mut(&VNI).unwrap();
    let mut moved = network.remote.pop_last().unwrap();
    moved.vtep = lab::underlay_address(3).into();
    network.remote.insert(moved);
    assert_eq!(host.dataplane.reconcile(&wanted).await.changes, 1);
    unchanged(&host, &wanted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_route_is_named_and_left_alone() {
    let lab = Lab::new();
    let host = lab.host(1);
    run(&host.path, "ip route add 10.0.0.0/8 via 203.0.113.100");
    let wanted = desired(1, &[1, 2], &GUESTS);
    let outcome = host.dataplane.reconcile(&wanted).await;
    assert!(outcome.ready.contains(&VNI));
    let error = &outcome.errors[&Some(VNI)];
    assert!(error.contains("10.0.0.0/8") && error.contains("eth0"), "{error}");
    assert!(!run(&host.path, "ip route").contains("10.42.0.0/16"));
    run(&host.path, "ip route del 10.0.0.0/8");
    let outcome = host.dataplane.reconcile(&wanted).await;
    assert_eq!((outcome.changes, outcome.errors), (1, BTreeMap::new()));
    assert!(run(&host.path, "ip route").contains("10.42.0.0/16"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_is_no_longer_desired_loses_device_and_guards() {
    let lab = Lab::new();
    let [one, _two] = two_hosts(&lab, &GUESTS).await;
    let a = lab.guest(&one, 10).await;
    let b = lab.guest(&one, 11).await;
    assert!(pings(&b, guest_address(10)));
    let fewer = desired(1, &[1, 2], &[(11, 1), (20, 2)]);
    let outcome = one.dataplane.reconcile(&fewer).await;
    assert!(outcome.errors.is_empty() && outcome.changes > 0, "{outcome:?}");
    assert!(!attempt(&a, "ip link show eth0").status.success());
    let inside = one.dataplane.namespace(VNI);
    let left = run(&inside, "nft list table bridge stampede") + &run(&inside, "ip neigh");
    assert!(!left.contains("10.42.0.10"), "{left}");
    unchanged(&one, &fewer).await;
}
