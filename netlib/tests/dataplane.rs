//! Two hosts and their guests, proven by packets.

mod lab;

use lab::{GATEWAY, Lab, OUTSIDE, VNI, desired, guest_address, pings, silent, two_hosts};
use netlib::desired::Remote;
use std::net::Ipv6Addr;

const GUESTS: [(u8, u16); 3] = [(10, 1), (11, 1), (20, 2)];

#[tokio::test(flavor = "multi_thread")]
async fn guests_reach_each_other_their_gateway_and_the_outside() {
    let lab = Lab::new();
    let [one, two] = two_hosts(&lab, &GUESTS).await;
    let a = lab.guest(&one, 10).await;
    let b = lab.guest(&one, 11).await;
    let c = lab.guest(&two, 20).await;
    for (from, to) in [(&a, 11), (&b, 10), (&a, 20), (&c, 10)] {
        assert!(pings(from, guest_address(to)), "{} to {to}", from.display());
    }
    for guest in [&a, &c] {
        assert!(pings(guest, GATEWAY), "gateway from {}", guest.display());
        assert!(pings(guest, OUTSIDE), "outside from {}", guest.display());
    }
    assert!(pings(&one.path, guest_address(10)), "host to its guest");
    assert!(pings(&one.path, guest_address(20)), "host to another host's guest");
    assert!(silent(&a, lab::underlay_address(1)), "guest to its own host");

    for host in [&one, &two] {
        let outcome = host.dataplane.reconcile(&desired(host.number, &[1, 2], &GUESTS)).await;
        assert_eq!((outcome.changes, &outcome.errors), (0, &Default::default()));
        assert!(outcome.ready.contains(&VNI));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_underlay_may_change_to_ipv6_under_running_guests() {
    let lab = Lab::new();
    let hosts = two_hosts(&lab, &GUESTS).await;
    let a = lab.guest(&hosts[0], 10).await;
    let _c = lab.guest(&hosts[1], 20).await;
    let address = |host: u16| Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, host);
    for host in &hosts {
        lab::run(&host.path, "sysctl -qw net.ipv6.conf.eth0.disable_ipv6=0");
        let own = address(host.number);
        lab::run(&host.path, &format!("ip addr add {own}/64 dev eth0 nodad"));
    }
    for host in &hosts {
        let mut wanted = desired(host.number, &[1, 2], &GUESTS);
        wanted.underlay.local = address(host.number).into();
        let other = address(3 - host.number).into();
        let network = wanted.networks.get_mut(&VNI).unwrap();
        let moved = |remote: &Remote| Remote { vtep: other, ..*remote };
        network.remote = network.remote.iter().map(moved).collect();
        network.members = network.members.iter().map(moved).collect();
        let outcome = host.dataplane.reconcile(&wanted).await;
        assert!(outcome.errors.is_empty() && outcome.changes > 0, "{outcome:?}");
        assert_eq!(host.dataplane.reconcile(&wanted).await.changes, 0);
    }
    assert!(pings(&a, guest_address(20)));
}
