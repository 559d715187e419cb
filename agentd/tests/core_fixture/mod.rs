//! Items of a small cloud: host 1 and its default network.

use api::derive::guest_mac;
use api::item::{Endpoint, Host, Meaning, Network, Overlay};
use std::net::Ipv4Addr;

/// The default network.
pub const VNI: u32 = 0x0080_0000;
/// Its gateway.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 42, 0, 1);

pub fn host(address: &str) -> Meaning {
    Meaning::Host(Host {
        id: "1h1".into(),
        uuid: "host-uuid".into(),
        number: 1,
        overlay: Overlay::Vxlan,
        address: address.parse().ok(),
        fenced: false,
    })
}

pub fn network() -> Meaning {
    Meaning::Network(Network {
        vni: VNI,
        id: "1n1".into(),
        uuid: "managed-docker0".into(),
        name: "managed".into(),
        docker: "managed".into(),
        cidr: "10.42.0.0/16".parse().unwrap(),
        gateway: GATEWAY,
        mtu: 1400,
        domain: "stampede.internal".into(),
        dns: Vec::new(),
        default: true,
        intercept_dns: true,
    })
}

/// An endpoint on host 1, with or without a name.
pub fn endpoint(ip: Ipv4Addr, name: &str) -> Meaning {
    let names = if name.is_empty() { Vec::new() } else { vec![name.into()] };
    let mac = guest_mac([2, 0, 1], ip);
    Meaning::Endpoint(Endpoint { vni: VNI, ip, mac, host: 1, seq: 1, names })
}
