//! The planner against its own model: whatever is there, one plan leads to what is wanted, and the
//! next plan is empty.

#![allow(clippy::unwrap_used)] // in helpers of tests

use ipnet::Ipv4Net;
use netlib::dataplane::facts::{Facts, Kind, Link, Port, Route, Side, Step};
use netlib::dataplane::plan::plan;
use netlib::dataplane::wanted::{self, Surroundings};
use netlib::desired::{Local, Network, Remote, Transit, Underlay};
use netlib::mac::Mac;
use netlib::names::device_name;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

const VNI: u32 = 0x80_0001;

fn ip(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 42, 0, last)
}

fn mac(last: u8) -> Mac {
    Mac([2, 0, 1, 42, 0, last])
}

fn vtep(host: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(203, 0, 113, host))
}

prop_compose! {
    /// A network with a few endpoints; small ranges, so that two of them often meet.
    fn network()(
        local in prop::collection::btree_set(2u8..8, 0..5),
        remote in prop::collection::btree_map(2u8..12, 1u8..4, 0..6),
        members in prop::collection::btree_set(1u8..5, 0..4),
        host in 1u8..3,
        mtu in prop_oneof![Just(1360u32), Just(1400)],
        transit in 0u8..3,
        root_route in any::<bool>(),
    ) -> Network {
        Network {
            vni: VNI,
            cidr: Ipv4Net::new(ip(0), 24).unwrap(),
            gateway: ip(1),
            gateway_mac: Mac([6, 0x53, 0, 0, 0, 1]),
            mtu,
            router_ip: Ipv4Addr::new(198, 18, 0, host),
            router_mac: Mac([6, 0x53, 1, 0, 0, host]),
            transit: Transit {
                root: Ipv4Addr::new(169, 254, 64, transit * 2),
                inside: Ipv4Addr::new(169, 254, 64, transit * 2 + 1),
            },
            root_route,
            intercept_dns: false,
            local: local
                .into_iter()
                .map(|last| Local { ip: ip(last), mac: mac(last), intercept_dns: false })
                .collect(),
            remote: remote
                .into_iter()
                .map(|(last, on)| Remote { ip: ip(last), mac: mac(last), vtep: vtep(on) })
                .collect(),
            members: members
                .into_iter()
                .map(|on| Remote {
                    ip: Ipv4Addr::new(198, 18, 0, 10 + on),
                    mac: Mac([6, 0x53, 1, 0, 0, 10 + on]),
                    vtep: vtep(on),
                })
                .collect(),
        }
    }
}

/// Things that nobody wants: left by a crash, by hand, or by another version.
#[derive(Clone, Debug)]
enum Stale {
    Device(u8),
    Flags(u8),
    Address(u8),
    Route(u8),
    Neighbour(u8),
    Forwarding(u8),
    Tunnel(u8),
    Setting(u8),
    Gone(&'static str),
}

fn stale() -> impl Strategy<Value = Stale> {
    prop_oneof![
        (2u8..12).prop_map(Stale::Device),
        (2u8..8).prop_map(Stale::Flags),
        any::<u8>().prop_map(Stale::Address),
        any::<u8>().prop_map(Stale::Route),
        any::<u8>().prop_map(Stale::Neighbour),
        any::<u8>().prop_map(Stale::Forwarding),
        any::<u8>().prop_map(Stale::Tunnel),
        any::<u8>().prop_map(Stale::Setting),
        prop_oneof![Just("br0"), Just("vx0"), Just("up0")].prop_map(Stale::Gone),
    ]
}

fn spoil(facts: &mut Facts, stale: &Stale) {
    let flooding =
        Port { learning: true, flood: [true; 3], proxy_arp: false, neighbour_suppression: false };
    let guest = Link { kind: Kind::Guest, mac: None, mtu: 1500, port: Some(flooding), up: true };
    match stale {
        Stale::Device(last) | Stale::Flags(last) => {
            facts.links.insert((Side::Inside, device_name(VNI, ip(*last))), guest);
        }
        Stale::Address(last) => {
            let net = Ipv4Net::new(Ipv4Addr::new(192, 0, 2, *last), 24).unwrap();
            facts.addresses.insert((Side::Inside, "br0".into(), net));
        }
        Stale::Route(last) => {
            let destination = Ipv4Net::new(Ipv4Addr::new(192, 0, *last, 0), 24).unwrap();
            let device = "br0".into();
            let (side, gateway, source) = (Side::Inside, None, None);
            facts.routes.insert(Route { side, destination, device, gateway, source });
        }
        Stale::Neighbour(last) => {
            facts.neighbours.insert(ip(*last), mac(0));
        }
        Stale::Forwarding(last) => {
            facts.forwarding.insert(mac(*last), "vx0".into());
        }
        Stale::Tunnel(last) => {
            facts.tunnels.insert(mac(*last), vtep(99));
        }
        Stale::Setting(which) => {
            let count = facts.settings.len().max(1);
            if let Some(value) = facts.settings.values_mut().nth(usize::from(*which) % count) {
                *value = "7".into();
            }
        }
        Stale::Gone(device) => facts.apply(&Step::RemoveLink(Side::Inside, (*device).into())),
    }
}

/// What the agent would want, seeing what is there.
fn wanted(network: &Network, there: &Facts) -> Facts {
    let underlay = Underlay { local: vtep(1), vxlan_port: 14789 };
    let devices: BTreeSet<String> = there.links.keys().map(|(_, name)| name.clone()).collect();
    let settings = wanted::settings(VNI, false).into_keys().collect();
    let around = Surroundings { devices, settings, strict_reverse_path: false };
    wanted::facts(network, &underlay, &around)
}

fn carry_out(network: &Network, there: &mut Facts) -> Vec<Step> {
    let steps = plan(&wanted(network, there), there);
    steps.iter().for_each(|step| there.apply(step));
    steps
}

proptest! {
    #[test]
    fn the_second_plan_is_empty(
        first in network(),
        second in network(),
        spoilt in prop::collection::vec(stale(), 0..6),
    ) {
        let mut there = Facts::default();
        carry_out(&first, &mut there);
        prop_assert_eq!(carry_out(&first, &mut there), vec![]);
        spoilt.iter().for_each(|stale| spoil(&mut there, stale));
        carry_out(&second, &mut there);
        prop_assert_eq!(carry_out(&second, &mut there), vec![]);
        // Nothing of the first network or of the spoilt remains.
        let fresh = wanted(&second, &there);
        prop_assert_eq!(&there.routes, &fresh.routes);
        prop_assert_eq!(&there.addresses, &fresh.addresses);
        prop_assert_eq!(&there.neighbours, &fresh.neighbours);
        prop_assert_eq!(&there.forwarding, &fresh.forwarding);
        prop_assert_eq!(&there.tunnels, &fresh.tunnels);
        let names = |facts: &Facts| facts.links.keys().cloned().collect::<Vec<_>>();
        prop_assert_eq!(names(&there), names(&fresh));
    }

    #[test]
    fn no_device_comes_up_before_its_flags_and_entries_come_last(network in network()) {
        let steps = plan(&wanted(&network, &Facts::default()), &Facts::default());
        let first_entry = steps.iter().position(Step::is_entry).unwrap_or(steps.len());
        prop_assert!(steps[first_entry..].iter().all(Step::is_entry));
        let made = steps.iter().position(|step| matches!(step, Step::AddLink(..)));
        let inside = |step: &Step| matches!(step, Step::Set(Side::Inside, ..));
        let settings = steps.iter().rposition(inside);
        prop_assert!(settings < made, "settings stand before devices");
    }
}

#[test]
fn a_moved_endpoint_is_one_replaced_entry() {
    let underlay = Underlay { local: vtep(1), vxlan_port: 14789 };
    let settings = wanted::settings(VNI, false).into_keys().collect();
    let around = Surroundings { settings, ..Surroundings::default() };
    let endpoint = |host| Remote { ip: ip(9), mac: mac(9), vtep: vtep(host) };
    let mut network = Network {
        vni: VNI,
        cidr: Ipv4Net::new(ip(0), 24).unwrap(),
        gateway: ip(1),
        gateway_mac: Mac([6, 0x53, 0, 0, 0, 1]),
        mtu: 1400,
        router_ip: Ipv4Addr::new(198, 18, 0, 1),
        router_mac: Mac([6, 0x53, 1, 0, 0, 1]),
        transit: Transit {
            root: Ipv4Addr::new(169, 254, 64, 0),
            inside: Ipv4Addr::new(169, 254, 64, 1),
        },
        root_route: false,
        intercept_dns: false,
        local: BTreeSet::new(),
        remote: BTreeSet::from([endpoint(2)]),
        members: BTreeSet::new(),
    };
    let before = wanted::facts(&network, &underlay, &around);
    network.remote = BTreeSet::from([endpoint(3)]);
    let after = wanted::facts(&network, &underlay, &around);
    assert_eq!(plan(&after, &before), [Step::SetTunnel(mac(9), vtep(3))]);
}
