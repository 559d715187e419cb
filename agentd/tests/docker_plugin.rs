//! Docker's network driver against a real dockerd: addresses, refusals, restarts.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod docker_bed;
mod desired {
    pub use agentd::desired::Desired;
}
#[path = "../src/containers/fixture.rs"]
mod fixture;

use agentd::containers::book::Book;
use agentd::containers::network_driver::NetworkDriver;
use agentd::containers::plugin::Plugin;
use agentd::desired::Desired;
use docker_bed::{Bed, Bridge, Firewall};
use std::sync::Arc;
use tokio::sync::watch;

struct Driven {
    plugin: Option<Plugin>,
    book: Book,
    bridge: Arc<Bridge>,
    desired: watch::Sender<Arc<Desired>>,
    bed: Bed,
}

impl Driven {
    fn new(firewall: Firewall, desired: Desired) -> Self {
        let bed = Bed::new(firewall);
        let bridge = Arc::new(Bridge::new(&bed));
        let book = Book::open(&bed.data().join("docker.journal")).unwrap();
        let desired = watch::Sender::new(Arc::new(desired));
        let mut driven = Self { plugin: None, book, bridge, desired, bed };
        driven.start();
        driven
    }

    /// What a new run of agentd does: a journal read from disk, a new socket.
    fn start(&mut self) {
        self.plugin = None;
        self.book = Book::open(&self.bed.data().join("docker.journal")).unwrap();
        let book = self.book.clone();
        let driver = NetworkDriver::new(self.desired.subscribe(), book, self.bridge.clone());
        self.plugin = Some(Plugin::open(&self.bed.plugins(), driver).unwrap());
    }

    fn make_network(&self) {
        let vni = format!("vni={}", fixture::VNI);
        let create = ["network", "create", "--driver", "stampede", "--ipam-driver", "stampede"];
        let options = ["--opt", &vni, "--ipam-opt", &vni, "--subnet", "10.42.0.0/16"];
        let rest = ["--gateway", "10.42.0.1", "managed"];
        self.bed.docker(&[&create[..], &options[..], &rest[..]].concat());
    }

    fn run(&self, name: &str, more: &[&str]) {
        let start = ["run", "--detach", "--network", "managed", "--name", name];
        self.bed.docker(&[&start[..], more, &["bb:1", "sleep", "600"]].concat());
    }

    fn address(&self, container: &str) -> String {
        let template = "{{.NetworkSettings.Networks.managed.IPAddress}} \
                        {{.NetworkSettings.Networks.managed.MacAddress}}";
        self.bed.inspect(container, template)
    }
}

fn ip_mac(low: u8) -> String {
    format!("{} {}", fixture::ip(low), fixture::mac(low))
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_get_addresses_and_keep_them() {
    let mut host = Driven::new(Firewall::Default, fixture::desired(&[100, 101], &[9]));
    host.make_network();
    // Made with an address: gets it, with the MAC that goes with it, before its first process.
    host.run("pinned", &["--ip", "10.42.0.9", "--stop-timeout", "0"]);
    assert_eq!(host.address("pinned"), ip_mac(9));
    let seen = host.bed.docker(&["exec", "pinned", "ip", "addr", "show", "eth0"]);
    assert!(seen.contains("inet 10.42.0.9/16") && seen.contains("mtu 1400"), "{seen}");
    assert!(seen.contains(&fixture::mac(9).to_string()), "{seen}");
    let routes = host.bed.docker(&["exec", "pinned", "ip", "route"]);
    assert!(routes.contains("default via 10.42.0.1 dev eth0"), "{routes}");
    // Without: one of the reserve.
    host.run("anonymous", &["--stop-timeout", "0"]);
    assert_eq!(host.address("anonymous"), ip_mac(100));
    host.bed.docker(&["exec", "pinned", "ping", "-c1", "-W2", "10.42.0.100"]);
    host.bed.docker(&["exec", "anonymous", "ping", "-c1", "-W2", "10.42.0.1"]);
    // A restart by hand keeps a pinned address, also by the next run of agentd.
    host.bed.docker(&["restart", "pinned"]);
    assert_eq!(host.address("pinned"), ip_mac(9));
    host.start();
    host.bed.docker(&["restart", "pinned"]);
    assert_eq!(host.address("pinned"), ip_mac(9));
    host.bed.docker(&["exec", "pinned", "ping", "-c1", "-W2", "10.42.0.100"]);
    // Removed: nothing is left but an address that rests.
    host.bed.docker(&["rm", "--force", "pinned", "anonymous"]);
    assert!(host.bridge.ports().is_empty());
    host.bed.docker(&["network", "rm", "managed"]);
    let state = host.book.state();
    assert!(state.endpoints.is_empty() && state.networks.is_empty(), "{state:?}");
    assert!(state.taken.is_empty() && state.resting.len() == 1, "{state:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_reach_whoever_asked() {
    let host = Driven::new(Firewall::Off, fixture::desired(&[100], &[9]));
    let orphan = ["network", "create", "--driver", "stampede", "orphan"];
    let complaint = host.bed.docker_fails(&orphan);
    assert!(complaint.contains("No such") || complaint.contains("create"), "{complaint}");
    let orphan = [&orphan[..4], &["--ipam-driver", "stampede", "orphan"]].concat();
    let complaint = host.bed.docker_fails(&orphan);
    assert!(complaint.contains("create the network in Stampede instead"), "{complaint}");
    host.make_network();
    let run = |more: &[&str]| {
        let start = ["run", "--rm", "--network", "managed"];
        host.bed.docker_fails(&[&start[..], more, &["bb:1", "sleep", "600"]].concat())
    };
    let complaint = run(&["--ip", "10.42.0.77"]);
    assert!(complaint.contains("belongs neither to a container of this host"), "{complaint}");
    host.run("first", &[]);
    let complaint = run(&[]);
    assert!(complaint.contains("all 1 addresses of this host's reserve"), "{complaint}");
    let complaint = run(&["--ip", "10.42.0.100"]);
    assert!(complaint.contains("another container has it"), "{complaint}");
    host.bed.docker(&["rm", "--force", "first"]);
    host.run("second", &[]);
    assert_eq!(host.address("second"), ip_mac(100), "sooner than a refusal, a resting address");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_leaves_nothing_in_the_way() {
    let mut host = Driven::new(Firewall::Off, fixture::desired(&[100, 101], &[9]));
    host.make_network();
    host.run("pinned", &["--ip", "10.42.0.9"]);
    host.bed.kill_dockerd();
    host.start();
    host.bed.start_dockerd();
    host.bed.docker(&["start", "pinned"]);
    assert_eq!(host.address("pinned"), ip_mac(9));
    host.bed.docker(&["exec", "pinned", "ping", "-c1", "-W2", "10.42.0.1"]);
    host.bed.docker(&["rm", "--force", "pinned"]);
    assert!(host.book.state().endpoints.is_empty());
}
