//! Small snapshots for tests.

use crate::desired::Desired;
use api::item::{Attachment, Container, Endpoint, Granted, Guest, Host, Network, Nic, Overlay};
use api::item::{Reserve, Restart, Want};
use api::mac::Mac;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

pub const VNI: u32 = 0x0080_0000;

pub fn ip(low: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 42, 0, low)
}

pub fn mac(low: u8) -> Mac {
    Mac([2, 0, 1, 42, 0, low])
}

pub fn uuid(low: u8) -> String {
    format!("00000000-0000-4000-8000-0000000000{low:02x}")
}

/// The default network, a reserve and one container for each of `containers`.
pub fn desired(reserve: &[u8], containers: &[u8]) -> Desired {
    let mut desired = Desired { host: Some(host()), ..Desired::default() };
    desired.networks.insert(VNI, network());
    let addresses = reserve.iter().map(|low| Granted { ip: ip(*low), mac: mac(*low) }).collect();
    desired.reserves.insert(VNI, Reserve { vni: VNI, addresses });
    for low in reserve.iter().chain(containers) {
        let (ip, mac) = (ip(*low), mac(*low));
        let endpoint = Endpoint { vni: VNI, ip, mac, host: 1, seq: 1, names: Vec::new() };
        desired.endpoints.insert((VNI, ip), endpoint);
    }
    for low in containers {
        desired.containers.insert(uuid(*low), container(*low));
    }
    desired
}

pub fn host() -> Host {
    Host {
        id: "1h1".into(),
        uuid: "host".into(),
        number: 1,
        overlay: Overlay::Vxlan,
        address: None,
        fenced: false,
    }
}

pub fn network() -> Network {
    Network {
        vni: VNI,
        id: "1n1".into(),
        uuid: "managed-docker0".into(),
        name: "managed".into(),
        docker: "managed".into(),
        cidr: "10.42.0.0/16".parse().unwrap(),
        gateway: ip(1),
        mtu: 1400,
        domain: "stampede.internal".into(),
        dns: Vec::new(),
        default: true,
        intercept_dns: true,
    }
}

pub fn container(low: u8) -> Container {
    let attachment = Attachment::Managed { vni: VNI, ip: ip(low), mac: mac(low) };
    Container {
        guest: Guest {
            id: format!("1i{low}"),
            uuid: uuid(low),
            name: Some(format!("c{low}")),
            hostname: format!("c{low}"),
            domain: "stampede.internal".into(),
            want: Want::Running,
            epoch: 1,
            stop_timeout: 1,
            nics: vec![Nic { id: "1n7".into(), device: 0, attachment }],
            public_keys: BTreeMap::new(),
            userdata: None,
            image: "docker:bb:1".into(),
            memory_mb: None,
            vcpu: None,
            restart: Restart::Stop,
            account: "a".into(),
        },
        reference: "bb:1".into(),
        command: vec!["sleep".into(), "600".into()],
        entry_point: Vec::new(),
        environment: BTreeMap::new(),
        directory: None,
        user: None,
        labels: BTreeMap::new(),
        volumes: Vec::new(),
        privileged: false,
        cpu_shares: None,
        dns_search: Vec::new(),
    }
}
