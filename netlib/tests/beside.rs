//! Beside others: a container engine's firewall, foreign devices, networks of equal ranges.

#![allow(clippy::unwrap_used)] // in helpers of tests

mod lab;

use lab::{Host, two_hosts, underlay_address};
use lab::{
    Lab, OUTSIDE, VNI, attempt, configure, desired, guest_address, guest_mac, pings, run, silent,
};
use netlib::dataplane::Forwarding;
use netlib::desired::{Attach, HostNetwork, Network, Transit};
use netlib::names::device_name;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, UdpSocket};

const GUESTS: [(u8, u16); 3] = [(10, 1), (11, 1), (20, 2)];

#[tokio::test(flavor = "multi_thread")]
async fn a_dropping_forward_chain_is_found_and_cured_in_the_engine_s_own_place() {
    for variant in ["iptables-nft", "iptables-legacy"] {
        let lab = Lab::new();
        let [one, two] = two_hosts(&lab, &GUESTS).await;
        let a = lab.guest(&one, 10).await;
        let _c = lab.guest(&two, 20).await;
        assert_eq!(one.dataplane.probe_forwarding(VNI).await.unwrap(), Forwarding::Open);
        if !attempt(&one.path, &format!("{variant} -S")).status.success() {
            // A kernel without the legacy tables: nothing can be dropped there.
            assert_eq!(variant, "iptables-legacy");
            continue;
        }
        run(&one.path, &format!("{variant} -P FORWARD DROP"));
        let wanted = desired(1, &[1, 2], &GUESTS);
        assert_eq!(one.dataplane.reconcile(&wanted).await.changes, 0, "no chain of the engine");
        assert_eq!(one.dataplane.probe_forwarding(VNI).await.unwrap(), Forwarding::Blocked);
        assert!(silent(&a, OUTSIDE), "{variant} drops what we accept");
        assert!(pings(&a, guest_address(20)), "the overlay does not cross it");

        run(&one.path, &format!("{variant} -N DOCKER-USER"));
        run(&one.path, &format!("{variant} -A DOCKER-USER -j RETURN"));
        run(&one.path, &format!("{variant} -A FORWARD -j DOCKER-USER"));
        let before = run(&one.path, &format!("{variant} -S"));
        let outcome = one.dataplane.reconcile(&wanted).await;
        assert_eq!((outcome.changes, outcome.errors), (2, BTreeMap::new()), "{variant}");
        assert_eq!(one.dataplane.reconcile(&wanted).await.changes, 0);
        assert!(pings(&a, OUTSIDE), "{variant}");
        assert_eq!(one.dataplane.probe_forwarding(VNI).await.unwrap(), Forwarding::Open);

        // Our own guard stands behind the accept: the way from the host is not open to others.
        let outside = lab.path("outside");
        run(&outside, &format!("ip route add 10.42.0.0/16 via {}", underlay_address(1)));
        assert!(silent(&outside, guest_address(10)));

        // The engine starts again and makes its chain anew.
        run(&one.path, &format!("{variant} -F DOCKER-USER"));
        assert_eq!(one.dataplane.reconcile(&wanted).await.changes, 2);
        assert!(one.dataplane.clean().await.is_empty());
        let after = run(&one.path, &format!("{variant} -S"));
        assert_eq!(after, before.replace("-A DOCKER-USER -j RETURN\n", ""), "{variant}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_without_a_way_out_is_told_apart() {
    let lab = Lab::new();
    let [one, _two] = two_hosts(&lab, &GUESTS).await;
    run(&one.path, "ip route del default");
    assert_eq!(one.dataplane.probe_forwarding(VNI).await.unwrap(), Forwarding::NoRoute);
}

const SECOND: u32 = VNI + 1;

fn with_second(host: &Host) -> HostNetwork {
    let mut wanted = desired(host.number, &[1, 2], &GUESTS);
    let second = Network {
        vni: SECOND,
        root_route: false,
        transit: Transit {
            root: Ipv4Addr::new(169, 254, 64, 2),
            inside: Ipv4Addr::new(169, 254, 64, 3),
        },
        ..wanted.networks[&VNI].clone()
    };
    wanted.networks.insert(SECOND, second);
    wanted
}

/// The address and MAC that the second network's guest shares with one of the first.
async fn guest_of_second(lab: &Lab, host: &Host, last: u8) -> std::path::PathBuf {
    let attach = Attach { vni: SECOND, ..lab::attach(last) };
    let device = host.dataplane.attach_veth(&attach).await.unwrap();
    assert_eq!(device, device_name(SECOND, guest_address(last)));
    let path = lab.namespace(&format!("second{last}"));
    run(&host.path, &format!("ip link set {device} netns {} name eth0", path.display()));
    configure(&path, guest_address(last));
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn networks_of_equal_ranges_do_not_meet() {
    let lab = Lab::new();
    let [one, two] = two_hosts(&lab, &GUESTS).await;
    for host in [&one, &two] {
        let outcome = host.dataplane.reconcile(&with_second(host)).await;
        assert!(outcome.errors.is_empty() && outcome.ready.len() == 2, "{outcome:?}");
        assert_eq!(host.dataplane.reconcile(&with_second(host)).await.changes, 0);
    }
    let first = lab.guest(&one, 10).await;
    let second = guest_of_second(&lab, &one, 10).await;
    let peer = guest_of_second(&lab, &two, 20).await;
    assert!(pings(&second, guest_address(20)) && pings(&peer, guest_address(10)));
    assert!(silent(&first, guest_address(20)), "the first network's 20 is not there");
    assert!(pings(&first, OUTSIDE) && pings(&second, OUTSIDE));

    // Taking one network away leaves the other alone.
    let outcome = one.dataplane.reconcile(&desired(1, &[1, 2], &GUESTS)).await;
    assert!(outcome.errors.is_empty(), "{outcome:?}");
    assert!(pings(&first, OUTSIDE));
    assert!(!one.dataplane.namespace(SECOND).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_of_guests_that_ask_for_it_go_to_the_gateway() {
    let lab = Lab::new();
    let [one, _two] = two_hosts(&lab, &GUESTS).await;
    let mut wanted = desired(1, &[1, 2], &GUESTS);
    let network = wanted.networks.get_mut(&VNI).unwrap();
    network.local = network
        .local
        .iter()
        .map(|local| {
            let mut local = *local;
            local.intercept_dns = local.mac == guest_mac(10);
            local
        })
        .collect();
    assert_eq!(one.dataplane.reconcile(&wanted).await.changes, 1, "one transaction");
    let bind = |place: &std::path::Path, port: u16| {
        let socket = netlib::netns::enter(place, || UdpSocket::bind(("0.0.0.0", port)));
        let socket = socket.unwrap().unwrap();
        socket.set_read_timeout(Some(std::time::Duration::from_secs(2))).unwrap();
        socket
    };
    let resolver = bind(&one.dataplane.namespace(VNI), 53);
    let elsewhere = bind(&lab.path("outside"), 53);
    let mut buffer = [0; 64];
    for (last, server) in [(10, &resolver), (11, &elsewhere)] {
        let client = bind(&lab.guest(&one, last).await, 0);
        client.connect((OUTSIDE, 53)).unwrap();
        client.send(b"question").unwrap();
        let (length, from) = server.recv_from(&mut buffer).unwrap();
        server.send_to(b"answer", from).unwrap();
        assert_eq!(&buffer[..length], b"question");
        let length = client.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"answer", "from whom it was asked, for {last}");
    }
}
