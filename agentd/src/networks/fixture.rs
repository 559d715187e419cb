//! A small desired state for tests: one network, a guest and a reserve here, two hosts elsewhere.

use crate::desired::Desired;
use api::item::{
    Attachment, Endpoint, Granted, Guest, Host, Member, Network, Nic, Overlay, Reserve, Restart,
    Want,
};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// The network's number.
pub const VNI: u32 = 0x0080_0000;
/// A guest on this host.
pub const GUEST: Ipv4Addr = Ipv4Addr::new(10, 42, 0, 5);
/// An address of this host's reserve.
pub const RESERVED: Ipv4Addr = Ipv4Addr::new(10, 42, 0, 6);

fn endpoint(ip: Ipv4Addr, host: u16, name: Option<&str>) -> ((u32, Ipv4Addr), Endpoint) {
    let mac = api::derive::guest_mac([2, 0, 1], ip);
    let names = name.into_iter().map(Into::into).collect();
    ((VNI, ip), Endpoint { vni: VNI, ip, mac, host, seq: 1, names })
}

/// What host 1 should be.
pub fn desired() -> Desired {
    let host = Host {
        id: "1h1".into(),
        uuid: "host-1".into(),
        number: 1,
        overlay: Overlay::Vxlan,
        address: "192.0.2.1".parse().ok(),
        fenced: false,
    };
    let network = Network {
        vni: VNI,
        id: "1n1".into(),
        uuid: "managed-docker0".into(),
        name: "managed".into(),
        docker: "managed".into(),
        cidr: "10.42.0.0/16".parse().unwrap(),
        gateway: Ipv4Addr::new(10, 42, 0, 1),
        mtu: 1400,
        domain: "stampede.internal".into(),
        dns: Vec::new(),
        default: true,
        intercept_dns: true,
    };
    let granted = Granted { ip: RESERVED, mac: api::derive::guest_mac([2, 0, 1], RESERVED) };
    Desired {
        generation: 1,
        host: Some(host),
        networks: [(VNI, network)].into(),
        members: vec![Member { vni: VNI, host: 2, address: "192.0.2.2".parse().unwrap() }],
        endpoints: [
            endpoint(GUEST, 1, Some("web")),
            endpoint(RESERVED, 1, None),
            endpoint(Ipv4Addr::new(10, 42, 0, 9), 2, Some("db")),
            endpoint(Ipv4Addr::new(10, 42, 0, 10), 3, Some("later")),
        ]
        .into(),
        reserves: [(VNI, Reserve { vni: VNI, addresses: vec![granted] })].into(),
        ..Desired::default()
    }
}

/// A running guest with the address [`GUEST`].
pub fn guest(id: &str) -> Guest {
    let mac = api::derive::guest_mac([2, 0, 1], GUEST);
    let attachment = Attachment::Managed { vni: VNI, ip: GUEST, mac };
    Guest {
        id: id.into(),
        uuid: format!("uuid-{id}"),
        name: Some("web".into()),
        hostname: "web".into(),
        domain: "stampede.internal".into(),
        want: Want::Running,
        epoch: 1,
        stop_timeout: 1,
        nics: vec![Nic { id: "1ni1".into(), device: 0, attachment }],
        public_keys: BTreeMap::new(),
        userdata: None,
        image: "busybox".into(),
        memory_mb: Some(128),
        vcpu: None,
        restart: Restart::Stop,
        account: "admin".into(),
    }
}
