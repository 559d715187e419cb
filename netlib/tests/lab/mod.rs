//! Hosts and guests made of network namespaces, joined by an underlay that is a bridge in a
//! namespace of its own. Everything is removed on drop, also after a panic.

// Each test file uses a part of this.
#![allow(dead_code)]
// A helper that fails fails its test.
#![allow(clippy::unwrap_used)]

pub mod frames;

use ipnet::Ipv4Net;
use netlib::dataplane::Dataplane;
use netlib::desired::{Attach, HostNetwork, Local, Network, Remote, Transit, Underlay};
use netlib::mac::Mac;
use netlib::netns;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

pub const VNI: u32 = 0x80_0001;
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 42, 0, 1);
pub const MTU: u32 = 1400;
pub const PORT: u16 = 14789;
/// The outside world's address on the underlay.
pub const OUTSIDE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 100);

/// Owns the namespaces of one test.
pub struct Lab {
    folder: tempfile::TempDir,
}

/// A host: a namespace that plays a root namespace, and its data plane.
pub struct Host {
    pub number: u16,
    pub path: PathBuf,
    pub run_dir: PathBuf,
    pub dataplane: Dataplane,
}

impl Lab {
    /// Makes the underlay and, on it, the outside world.
    pub fn new() -> Self {
        assert!(nix::unistd::geteuid().is_root(), "tests of the data plane need root");
        let lab = Self { folder: tempfile::Builder::new().prefix("netlib-").tempdir().unwrap() };
        let underlay = lab.namespace("underlay");
        run(&underlay, "ip link add br0 type bridge mcast_snooping 0");
        run(&underlay, "ip link set br0 up");
        let outside = lab.namespace("outside");
        lab.connect(&outside, "outside", OUTSIDE);
        lab
    }

    /// Where a namespace of this lab is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("ns").join(name)
    }

    /// Makes a namespace without IPv6.
    pub fn namespace(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        assert!(netns::create(&path).unwrap());
        run(&path, "ip link set lo up");
        run(
            &path,
            "sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1",
        );
        path
    }

    fn connect(&self, namespace: &Path, name: &str, address: Ipv4Addr) {
        let underlay = self.path("underlay");
        let peer = format!("p-{name}");
        run(
            namespace,
            &format!("ip link add eth0 type veth peer name {peer} netns {}", underlay.display()),
        );
        run(&underlay, &format!("ip link set {peer} master br0 up"));
        run(namespace, &format!("ip addr add {address}/24 dev eth0"));
        run(namespace, "ip link set eth0 up");
    }

    /// Makes a host of a number.
    pub fn host(&self, number: u16) -> Host {
        let name = format!("host{number}");
        let path = self.namespace(&name);
        self.connect(&path, &name, underlay_address(number));
        run(&path, &format!("ip route add default via {OUTSIDE}"));
        let run_dir = self.folder.path().join(&name);
        let dataplane = open(&path, &run_dir);
        Host { number, path, run_dir, dataplane }
    }

    /// Makes a guest on a host: its device attached, moved into a namespace and configured.
    pub async fn guest(&self, host: &Host, last: u8) -> PathBuf {
        let attach = attach(last);
        let device = host.dataplane.attach_veth(&attach).await.unwrap();
        let path = self.namespace(&format!("guest{last}"));
        run(&host.path, &format!("ip link set {device} netns {} name eth0", path.display()));
        configure(&path, attach.ip);
        path
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let mut folders = vec![self.folder.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                    _ if netns::exists(&entry.path()) => {
                        let _ = netns::remove(&entry.path());
                    }
                    _ => {}
                }
            }
        }
    }
}

/// Opens the data plane of the namespace at `path`.
pub fn open(path: &Path, run_dir: &Path) -> Dataplane {
    let runtime = tokio::runtime::Handle::current();
    netns::enter(path, || {
        let _entered = runtime.enter();
        Dataplane::open(run_dir)
    })
    .unwrap()
    .unwrap()
}

/// Gives a guest's `eth0` its address and default route, and sees that the bridge has noticed it.
pub fn configure(guest: &Path, ip: Ipv4Addr) {
    run(guest, "ip link set eth0 up");
    run(guest, &format!("ip addr add {ip}/16 dev eth0"));
    run(guest, &format!("ip route add default via {GATEWAY}"));
    assert!(pings(guest, GATEWAY), "the gateway of {}", guest.display());
}

/// Runs a command inside a namespace.
pub fn attempt(namespace: &Path, command: &str) -> Output {
    let mut words = command.split_whitespace();
    let mut command = Command::new(words.next().unwrap());
    command.args(words);
    netns::enter(namespace, || command.output()).unwrap().unwrap()
}

/// Runs a command inside a namespace that must succeed; returns what it prints.
pub fn run(namespace: &Path, command: &str) -> String {
    let output = attempt(namespace, command);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// Whether an address answers a ping from a namespace. The kernel takes its time to tell a bridge
/// that a veth's other end is up, longer on a busy machine; what comes before that is lost.
pub fn pings(namespace: &Path, to: Ipv4Addr) -> bool {
    (0..5).any(|_| !silent(namespace, to))
}

/// Whether an address does not answer a ping within a second.
pub fn silent(namespace: &Path, to: Ipv4Addr) -> bool {
    !attempt(namespace, &format!("busybox ping -c1 -W1 {to}")).status.success()
}

pub fn underlay_address(host: u16) -> Ipv4Addr {
    Ipv4Addr::new(203, 0, 113, 10 + u8::try_from(host).unwrap())
}

pub fn guest_address(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 42, 0, last)
}

pub fn guest_mac(last: u8) -> Mac {
    Mac([0x02, 0x00, 0x01, 42, 0, last])
}

pub fn attach(last: u8) -> Attach {
    Attach { vni: VNI, ip: guest_address(last), mac: guest_mac(last), mtu: MTU }
}

fn router(host: u16) -> (Ipv4Addr, Mac) {
    let low = u8::try_from(host).unwrap();
    (Ipv4Addr::new(198, 18, 0, low), Mac([0x06, 0x53, 0x01, 0, 0, low]))
}

/// What one host should be: `guests` are pairs of last octet and host number.
pub fn desired(host: u16, hosts: &[u16], guests: &[(u8, u16)]) -> HostNetwork {
    let (router_ip, router_mac) = router(host);
    let others = guests.iter().filter(|(_, on)| *on != host);
    let network = Network {
        vni: VNI,
        cidr: Ipv4Net::new(Ipv4Addr::new(10, 42, 0, 0), 16).unwrap(),
        gateway: GATEWAY,
        gateway_mac: Mac([0x06, 0x53, 0, 0x80, 0, 1]),
        mtu: MTU,
        router_ip,
        router_mac,
        transit: Transit {
            root: Ipv4Addr::new(169, 254, 64, 0),
            inside: Ipv4Addr::new(169, 254, 64, 1),
        },
        root_route: true,
        intercept_dns: true,
        local: guests
            .iter()
            .filter(|(_, on)| *on == host)
            .map(|(last, _)| Local {
                ip: guest_address(*last),
                mac: guest_mac(*last),
                intercept_dns: false,
            })
            .collect(),
        remote: others
            .map(|(last, on)| Remote {
                ip: guest_address(*last),
                mac: guest_mac(*last),
                vtep: underlay_address(*on).into(),
            })
            .collect(),
        members: hosts
            .iter()
            .filter(|on| **on != host)
            .map(|on| {
                let (ip, mac) = router(*on);
                Remote { ip, mac, vtep: underlay_address(*on).into() }
            })
            .collect::<BTreeSet<Remote>>(),
    };
    HostNetwork {
        number: host,
        underlay: Underlay { local: underlay_address(host).into(), vxlan_port: PORT },
        networks: BTreeMap::from([(VNI, network)]),
    }
}

/// Two hosts, wholly in place, that know of each other's guests.
pub async fn two_hosts(lab: &Lab, guests: &[(u8, u16)]) -> [Host; 2] {
    let hosts = [lab.host(1), lab.host(2)];
    for host in &hosts {
        let outcome = host.dataplane.reconcile(&desired(host.number, &[1, 2], guests)).await;
        assert!(outcome.errors.is_empty(), "{outcome:?}");
        assert!(outcome.ready.contains(&VNI) && outcome.changes > 0, "{outcome:?}");
    }
    hosts
}
