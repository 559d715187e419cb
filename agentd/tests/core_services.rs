//! Networks and services of one host on the real kernel: a guest gets its address, names and
//! metadata from its own host.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on must stop")]
#![allow(dead_code, reason = "each test file uses a part of what they share")]

mod core_fixture;

use agentd::desired::Desired;
use agentd::networks::{Kernel, Networks, Ready, Transits};
use agentd::reconcile::{Reconciler, Status};
use agentd::services::Services;
use api::derive::guest_mac;
use api::item::{
    Attachment, DiskImage, Guest, Machine, Meaning, Nic, Overlay, Presentation, Restart, Want,
};
use api::report::Adopted;
use api::snapshot::Snapshot;
use core_fixture::{GATEWAY, VNI, endpoint, host, network};
use netlib::dataplane::Dataplane;
use netlib::desired::Attach;
use netlib::netns;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::sync::watch;

const GUEST: Ipv4Addr = Ipv4Addr::new(10, 42, 0, 7);
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 42, 0, 8);

/// A host that is a namespace, with its network reconcilers.
struct Bed {
    folder: TempDir,
    root: PathBuf,
    dataplane: Arc<Dataplane>,
    networks: Networks,
    services: Services,
    adopted: watch::Sender<Vec<Adopted>>,
}

impl Bed {
    fn new() -> Self {
        assert!(nix::unistd::geteuid().is_root(), "this test needs root");
        let folder = tempfile::Builder::new().prefix("stampede-services-").tempdir().unwrap();
        let root = folder.path().join("ns/root");
        assert!(netns::create(&root).unwrap());
        let run_dir = folder.path().join("run");
        let runtime = tokio::runtime::Handle::current();
        let dataplane = netns::enter(&root, || {
            let _entered = runtime.enter();
            Dataplane::open(&run_dir)
        });
        let dataplane = Arc::new(dataplane.unwrap().unwrap());
        run(&root, "ip link set lo up");
        run(&root, "ip link add eth0 type veth peer name eth0peer");
        run(&root, "ip addr add 192.0.2.1/24 dev eth0");
        run(&root, "ip link set eth0 up");
        run(&root, "ip link set eth0peer up");
        let driver = Arc::new(Kernel(dataplane.clone()));
        let (sender, ready) = Ready::channel();
        let (adopted, adoptions) = watch::channel(Vec::new());
        let transits = Transits::open(folder.path()).unwrap();
        let networks = Networks::new(driver.clone(), transits, vec![Overlay::Vxlan], sender);
        let services = Services::new(driver, ready, adoptions);
        Self { folder, root, dataplane, networks, services, adopted }
    }

    async fn reconcile(&mut self, desired: &Arc<Desired>) -> (Status, Status) {
        let networks = self.networks.reconcile(desired).await;
        (networks, self.services.reconcile(desired).await)
    }

    /// A guest with the device of `ip`, without an address.
    async fn guest(&self, ip: Ipv4Addr) -> PathBuf {
        let mac = netlib::mac::Mac(guest_mac([2, 0, 1], ip).0);
        let attach = Attach { vni: VNI, ip, mac, mtu: 1400 };
        let device = self.dataplane.attach_veth(&attach).await.unwrap();
        let path = self.folder.path().join("ns").join(format!("guest-{ip}"));
        assert!(netns::create(&path).unwrap());
        run(&path, "ip link set lo up");
        run(&self.root, &format!("ip link set {device} netns {} name eth0", path.display()));
        run(&path, "ip link set eth0 up");
        path
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        for folder in ["ns", "run/netns"] {
            let entries = std::fs::read_dir(self.folder.path().join(folder));
            for entry in entries.into_iter().flatten().flatten() {
                let _ = netns::remove(&entry.path());
            }
        }
    }
}

/// Runs a command inside a namespace; what it prints, if it succeeds.
fn attempt(namespace: &Path, line: &str) -> Result<String, String> {
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().unwrap());
    let output = netns::enter(namespace, || command.args(words).output()).unwrap().unwrap();
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(format!(
            "{line}: {:?} {}{}",
            output.status,
            text(&output.stdout),
            text(&output.stderr)
        )),
    }
}

fn run(namespace: &Path, line: &str) -> String {
    attempt(namespace, line).unwrap()
}

fn desired(meanings: &[Meaning]) -> Arc<Desired> {
    let mut snapshot = Snapshot { store: "s.1".into(), generation: 1, ..Snapshot::default() };
    for (number, meaning) in (1..).zip(meanings) {
        let item = meaning.write(number).unwrap().unwrap();
        snapshot.items.insert(item.key.clone(), item);
    }
    Arc::new(Desired::read(&snapshot))
}

fn machine() -> Meaning {
    let mac = guest_mac([2, 0, 1], GUEST);
    let attachment = Attachment::Managed { vni: VNI, ip: GUEST, mac };
    let guest = Guest {
        id: "1i7".into(),
        uuid: "uuid-7".into(),
        name: None,
        hostname: "web".into(),
        domain: "stampede.internal".into(),
        want: Want::Running,
        epoch: 1,
        stop_timeout: 1,
        nics: vec![Nic { id: "1ni1".into(), device: 0, attachment }],
        public_keys: BTreeMap::new(),
        userdata: None,
        image: "tiny".into(),
        memory_mb: Some(128),
        vcpu: None,
        restart: Restart::Stop,
        account: "admin".into(),
    };
    let disk = DiskImage { uuid: "i".into(), url: "http://i".into(), checksum: None };
    Meaning::Machine(Box::new(Machine { guest, disk, presentation: Presentation::None }))
}

fn whole() -> Arc<Desired> {
    let endpoints = [endpoint(GUEST, "web"), endpoint(OTHER, "db")];
    let mut meanings = vec![host("192.0.2.1"), network(), machine()];
    meanings.extend(endpoints);
    desired(&meanings)
}

/// What a DHCP client was told, as busybox's udhcpc gives it to its script.
fn lease(bed: &Bed, guest: &Path) -> BTreeMap<String, String> {
    let (script, told) = (bed.folder.path().join("script"), bed.folder.path().join("told"));
    std::fs::write(&script, format!("#!/bin/sh\nset >{}\n", told.display())).unwrap();
    run(guest, &format!("chmod 755 {}", script.display()));
    run(guest, &format!("busybox udhcpc -i eth0 -n -q -f -O mtu -s {}", script.display()));
    let text = std::fs::read_to_string(told).unwrap();
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs.map(|(key, value)| (key.into(), value.trim_matches('\'').into())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_gets_address_names_and_metadata_from_its_host() {
    let mut bed = Bed::new();
    let wish = whole();
    let (networks, services) = bed.reconcile(&wish).await;
    assert_eq!((networks.errors.len(), services.errors.len()), (0, 0), "{networks:?} {services:?}");
    assert!(networks.changes > 0 && services.changes == 1);
    let guest = bed.guest(GUEST).await;
    let lease = lease(&bed, &guest);
    assert_eq!(lease["ip"], GUEST.to_string());
    assert_eq!((lease["mtu"].as_str(), lease["router"].as_str()), ("1400", "10.42.0.1"));
    assert_eq!((lease["dns"].as_str(), lease["hostname"].as_str()), ("10.42.0.1", "web"));
    run(&guest, &format!("ip addr add {GUEST}/16 dev eth0"));
    run(&guest, &format!("ip route add default via {GATEWAY}"));
    let answer = run(&guest, "busybox nslookup db.stampede.internal 10.42.0.1");
    assert!(answer.contains("10.42.0.8"), "{answer}");
    let unknown = attempt(&guest, "busybox nslookup nobody.stampede.internal 10.42.0.1");
    assert!(unknown.is_err(), "{unknown:?}");
    let path = "http://169.254.169.254/latest/meta-data";
    let fetch = |key: &str| run(&guest, &format!("curl -sf --max-time 5 {path}/{key}"));
    assert_eq!(fetch("instance-id").trim(), "i-1i7");
    assert_eq!(fetch("local-ipv4").trim(), GUEST.to_string());
    let (networks, services) = bed.reconcile(&wish).await;
    assert_eq!((networks.changes, services.changes), (0, 0), "{networks:?} {services:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_by_hand_has_a_name_while_it_runs() {
    let mut bed = Bed::new();
    let wish = whole();
    bed.reconcile(&wish).await;
    let guest = bed.guest(GUEST).await;
    run(&guest, &format!("ip addr add {GUEST}/16 dev eth0"));
    let ask = |name: &str| {
        attempt(&guest, &format!("busybox nslookup {name}.stampede.internal 10.42.0.1"))
    };
    assert!(ask("hand").is_err());
    let adopted = Adopted {
        docker_id: "d".into(),
        name: "hand".into(),
        image: "busybox".into(),
        vni: VNI,
        ip: Ipv4Addr::new(10, 42, 0, 99),
        mac: guest_mac([2, 0, 1], Ipv4Addr::new(10, 42, 0, 99)),
        running: true,
    };
    bed.adopted.send_replace(vec![adopted]);
    let (_, services) = bed.reconcile(&wish).await;
    assert_eq!(services.changes, 0, "a view is swapped, no server is restarted");
    assert!(ask("hand").unwrap().contains("10.42.0.99"));
    bed.adopted.send_replace(Vec::new());
    bed.reconcile(&wish).await;
    assert!(ask("hand").is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_wished_for_leaves_nothing() {
    let mut bed = Bed::new();
    let links = |bed: &Bed| run(&bed.root, "ip -o link").lines().count();
    let before = (links(&bed), run(&bed.root, "nft list tables"));
    bed.reconcile(&whole()).await;
    assert!(links(&bed) > before.0);
    let (networks, services) = bed.reconcile(&desired(&[host("192.0.2.1")])).await;
    assert_eq!((networks.errors.len(), services.changes), (0, 1), "{networks:?}");
    assert_eq!((links(&bed), run(&bed.root, "nft list tables")), before);
    assert!(!bed.dataplane.namespace(VNI).exists());
    let (networks, services) = bed.reconcile(&desired(&[host("192.0.2.1")])).await;
    assert_eq!((networks.changes, services.changes), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_somebody_removed_comes_back_with_its_services() {
    let mut bed = Bed::new();
    let wish = whole();
    bed.reconcile(&wish).await;
    assert!(netns::remove(&bed.dataplane.namespace(VNI)).unwrap());
    // The servers' sockets keep the old namespace and its VXLAN device alive until they end, and
    // the kernel takes it away in its own time, without telling.
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let (networks, services) = bed.reconcile(&wish).await;
        if networks.changes + services.changes == 0 && networks.errors.is_empty() {
            break;
        }
        assert!(Instant::now() < deadline, "{networks:?} {services:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let guest = bed.guest(GUEST).await;
    assert_eq!(lease(&bed, &guest)["ip"], GUEST.to_string());
}
