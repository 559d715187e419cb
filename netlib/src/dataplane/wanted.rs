//! Compiles what is desired of a network into the facts and rules that the kernel should hold.

use super::facts::{Facts, Kind, Link, Port, Route, Side};
use crate::desired::{Network, Underlay};
use crate::names::{self, BRIDGE, UPLINK, VXLAN};
use crate::nft::Ruleset;
use crate::nft::ruleset::Family;
use ipnet::Ipv4Net;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

/// Where metadata is served. RFC 3927 link-local, as on EC2.
pub const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
/// Router addresses of all hosts; RFC 2544 benchmarking range, never seen outside.
pub const ROUTERS: (Ipv4Addr, u8) = (Ipv4Addr::new(198, 18, 0, 0), 16);
/// Addresses that guests' links point at.
pub const LINKS: &str = "198.19.0.0/16";
/// Transits' addresses come from here.
pub const TRANSITS: &str = "169.254.64.0/18";

/// What compiling needs to know of the host besides what is desired.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Names of the guests' devices that are in the namespace; agents attach them one by one.
    pub devices: BTreeSet<String>,
    /// Settings that this kernel has; those of absent modules cannot be wanted.
    pub settings: BTreeSet<(Side, String)>,
    /// Whether the host demands that senders be reachable the way they come (`rp_filter` 1).
    pub strict_reverse_path: bool,
}

/// A guest's port: nothing is learnt or flooded, and ARP is answered by the bridge itself. Without
/// `proxy_arp` the bridge would answer for remote guests only.
pub const GUEST_PORT: Port =
    Port { learning: false, flood: [false; 3], proxy_arp: true, neighbour_suppression: false };
const OVERLAY_PORT: Port =
    Port { learning: false, flood: [false; 3], proxy_arp: false, neighbour_suppression: true };

/// Switches IPv6 off for devices to come; there only where the kernel has IPv6.
const IPV6_OFF: &str = "net/ipv6/conf/default/disable_ipv6";

/// Settings of a network's namespace. A new namespace inherits its settings from whoever was
/// first, so that each one we lean on is written. Names of absent modules are passed over.
const SETTINGS: [(&str, &str); 13] = [
    ("net/ipv4/ip_forward", "1"),
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/default/rp_filter", "0"),
    ("net/ipv4/conf/all/send_redirects", "0"),
    ("net/ipv4/conf/default/send_redirects", "0"),
    ("net/ipv4/conf/all/accept_redirects", "0"),
    ("net/ipv4/conf/default/accept_redirects", "0"),
    ("net/ipv6/conf/all/disable_ipv6", "1"),
    (IPV6_OFF, "1"),
    ("net/netfilter/nf_conntrack_tcp_loose", "1"),
    // 1 in every namespace where br_netfilter is loaded, also when Docker loads it later.
    ("net/bridge/bridge-nf-call-iptables", "0"),
    ("net/bridge/bridge-nf-call-ip6tables", "0"),
    ("net/bridge/bridge-nf-call-arptables", "0"),
];

/// All settings that a network may want, whether this kernel has them or not.
#[must_use]
pub fn settings(vni: u32, strict_reverse_path: bool) -> BTreeMap<(Side, String), String> {
    let transit = names::transit_name(vni);
    let reverse_path = if strict_reverse_path {
        // The stricter of `all` and the device counts, except that 2 (loose) beats 1 (strict).
        "2"
    } else {
        "0"
    };
    let root = [
        ("ipv4", "route_localnet", "1"),
        ("ipv4", "rp_filter", reverse_path),
        // Else the device gives itself an address some seconds after it came up.
        ("ipv6", "disable_ipv6", "1"),
    ];
    SETTINGS
        .iter()
        .map(|(name, value)| ((Side::Inside, (*name).to_owned()), (*value).to_owned()))
        .chain(root.iter().map(|(family, name, value)| {
            ((Side::Root, format!("net/{family}/conf/{transit}/{name}")), (*value).to_owned())
        }))
        .collect()
}

/// The facts that a network wants.
#[must_use]
pub fn facts(network: &Network, underlay: &Underlay, around: &Surroundings) -> Facts {
    let mut facts = Facts {
        settings: settings(network.vni, around.strict_reverse_path),
        addresses: addresses(network),
        routes: routes(network),
        ..Facts::default()
    };
    // Devices' settings come with them; the others are there or never will be.
    let has_ipv6 = around.settings.contains(&(Side::Inside, IPV6_OFF.to_owned()));
    facts.settings.retain(|key, _| match key.0 {
        Side::Root => has_ipv6 || key.1.starts_with("net/ipv4/"),
        Side::Inside => around.settings.contains(key),
    });
    for (side, name, link) in links(network, underlay) {
        facts.links.insert((side, name.into()), link);
    }
    facts.links.insert((Side::Root, names::transit_name(network.vni)), transit(network));
    for remote in network.remote.iter().chain(&network.members) {
        facts.neighbours.insert(remote.ip, remote.mac);
        facts.forwarding.insert(remote.mac, VXLAN.into());
        facts.tunnels.insert(remote.mac, remote.vtep);
    }
    // An endpoint that is said to be both here and elsewhere is here.
    for local in &network.local {
        facts.neighbours.insert(local.ip, local.mac);
        facts.tunnels.remove(&local.mac);
        facts.forwarding.remove(&local.mac);
        let device = names::device_name(network.vni, local.ip);
        if around.devices.contains(&device) {
            facts.forwarding.insert(local.mac, device.clone());
            facts.links.insert((Side::Inside, device), guest(network.mtu));
        }
    }
    facts
}

/// A guest's device on the bridge.
#[must_use]
pub fn guest(mtu: u32) -> Link {
    Link { kind: Kind::Guest, mac: None, mtu, port: Some(GUEST_PORT), up: true }
}

fn transit(network: &Network) -> Link {
    Link { kind: Kind::Transit, mac: None, mtu: network.mtu, port: None, up: true }
}

fn links(network: &Network, underlay: &Underlay) -> [(Side, &'static str, Link); 4] {
    let bridge = Link {
        kind: Kind::Bridge { multicast_snooping: false },
        mac: Some(network.gateway_mac),
        mtu: network.mtu,
        port: None,
        up: true,
    };
    let vxlan = Link {
        kind: Kind::Vxlan {
            vni: network.vni,
            local: underlay.local,
            port: underlay.vxlan_port,
            learning: false,
        },
        // Frames for this address reach the namespace's own stack. It cannot be the gateway's: the
        // device drops frames that come from its own address, and routed frames come from there.
        mac: Some(network.router_mac),
        mtu: network.mtu,
        port: Some(OVERLAY_PORT),
        up: true,
    };
    let loopback = Link { kind: Kind::Loopback, mac: None, mtu: 65536, port: None, up: true };
    [
        (Side::Inside, "lo", loopback),
        (Side::Inside, BRIDGE, bridge),
        (Side::Inside, VXLAN, vxlan),
        (Side::Inside, UPLINK, transit(network)),
    ]
}

fn net(address: Ipv4Addr, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(address, prefix)
}

fn addresses(network: &Network) -> BTreeSet<(Side, String, Ipv4Net)> {
    let bridge = |address| (Side::Inside, BRIDGE.to_owned(), address);
    BTreeSet::from([
        bridge(net(network.gateway, network.cidr.prefix_len())),
        bridge(net(METADATA, 32)),
        bridge(net(network.router_ip, 32)),
        (Side::Inside, UPLINK.into(), net(network.transit.inside, 31)),
        (Side::Root, names::transit_name(network.vni), net(network.transit.root, 31)),
    ])
}

fn routes(network: &Network) -> BTreeSet<Route> {
    let outwards = Route {
        side: Side::Inside,
        destination: Ipv4Net::default(),
        device: UPLINK.into(),
        gateway: Some(network.transit.root),
        source: None,
    };
    let routers = Route {
        side: Side::Inside,
        destination: net(ROUTERS.0, ROUTERS.1),
        device: BRIDGE.into(),
        gateway: None,
        source: Some(network.router_ip),
    };
    let from_root = network.root_route.then(|| Route {
        side: Side::Root,
        destination: network.cidr.trunc(),
        device: names::transit_name(network.vni),
        gateway: Some(network.transit.inside),
        source: None,
    });
    [outwards, routers].into_iter().chain(from_root).collect()
}

/// The rules that a network's namespace wants. The members of an endpoint's guards do not wait for
/// its device: the name is known before.
#[must_use]
pub fn rules(network: &Network) -> Ruleset {
    let mut rules = Ruleset::network(&[
        ("gateway", network.gateway.to_string()),
        ("gateway_mac", network.gateway_mac.to_string()),
        ("router", network.router_ip.to_string()),
        ("inside", network.transit.inside.to_string()),
        ("transits", TRANSITS.into()),
        ("links", LINKS.into()),
        ("metadata", METADATA.to_string()),
    ]);
    for local in &network.local {
        let device = names::device_name(network.vni, local.ip);
        rules.add(Family::Bridge, "guests", format!("{device} . {} . {}", local.mac, local.ip));
        rules.add(Family::Bridge, "macs", format!("{device} . {}", local.mac));
        if network.intercept_dns && local.intercept_dns {
            rules.add(Family::Inet, "intercept", local.ip.to_string());
        }
    }
    rules
}
