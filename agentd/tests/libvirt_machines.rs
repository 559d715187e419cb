//! Machines as a whole on a private host: networks and services on the real kernel, domains in a
//! real libvirtd, guests that are emulated.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on must stop")]
#![allow(dead_code, reason = "each test file uses a part of what they share")]

mod private_host;

use agentd::config::{Config, VirtType};
use agentd::desired::Desired;
use agentd::machines::{self, HostPorts, Machines};
use agentd::networks::{Kernel, Networks, Ready, Transits};
use agentd::reconcile::{Reconciler, Status, Wake};
use agentd::services::Services;
use api::derive::guest_mac;
use api::item::{
    Attachment, DiskImage, Endpoint, Guest, Host, Machine, Network, Nic, Overlay, Presentation,
    Retained, Want,
};
use api::report::{ErrorKind, Instance, Phase};
use netlib::dataplane::Dataplane;
use netlib::names::device_name;
use private_host::{PrivateHost, await_line, guest_image, has_link, on_private_host, run};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

const VNI: u32 = 0x0080_0000;
const IP: Ipv4Addr = Ipv4Addr::new(10, 42, 0, 7);
const UUID: &str = "6f0c1f62-30c5-4f5c-9d10-b3b1a5a7d3c1";
/// A guest boots within seconds; other tests may run at the same time.
const BOOT: Duration = Duration::from_secs(180);

/// A private host with the reconcilers of its networks and machines.
struct Bed {
    host: PrivateHost,
    config: Config,
    ports: Arc<HostPorts>,
    networks: Networks,
    services: Services,
    machines: Machines,
    wake: Wake,
}

impl Bed {
    fn new(host: PrivateHost) -> Self {
        run(&["ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0peer"]);
        run(&["ip", "addr", "add", "192.0.2.1/24", "dev", "eth0"]);
        run(&["ip", "link", "set", "eth0", "up"]);
        run(&["ip", "link", "set", "eth0peer", "up"]);
        let data = host.folder().join("data");
        std::fs::create_dir(&data).unwrap();
        let config = Config {
            run_dir: host.run_dir(),
            libvirt: host.uri(),
            virt_type: VirtType::Qemu,
            allow: ["file-images".to_owned()].into(),
            data,
            ..Config::default()
        };
        let dataplane = Arc::new(Dataplane::open(&config.run_dir).unwrap());
        let driver = Arc::new(Kernel(dataplane.clone()));
        let (sender, ready) = Ready::channel();
        let (_, adoptions) = watch::channel(Vec::new());
        let transits = Transits::open(&config.data).unwrap();
        let networks = Networks::new(driver.clone(), transits, vec![Overlay::Vxlan], sender);
        let services = Services::new(driver, ready.clone(), adoptions);
        let ports = Arc::new(HostPorts::new(dataplane, ready));
        let wake = Wake::default();
        let machines = Machines::open(&config, ports.clone(), wake.clone()).unwrap();
        Self { host, config, ports, networks, services, machines, wake }
    }

    /// A new agent on the same host.
    fn restart(&mut self) {
        self.wake = Wake::default();
        let machines = Machines::open(&self.config, self.ports.clone(), self.wake.clone());
        self.machines = machines.unwrap();
    }

    async fn pass(&mut self, desired: &Arc<Desired>) -> Status {
        let networks = self.networks.reconcile(desired).await;
        assert!(networks.errors.is_empty(), "{networks:?}");
        let services = self.services.reconcile(desired).await;
        assert!(services.errors.is_empty(), "{services:?}");
        self.machines.reconcile(desired).await
    }

    /// Passes as the loop makes them, until `done` is content with the report on the machine.
    async fn settle(
        &mut self,
        desired: &Arc<Desired>,
        done: impl Fn(Option<&Instance>) -> bool,
    ) -> Status {
        let passes = async {
            loop {
                let status = self.pass(desired).await;
                if done(status.instances.get(UUID)) {
                    return status;
                }
                let pause = status.retry_after.unwrap_or(Duration::from_secs(60));
                let _ = tokio::time::timeout(pause, self.wake.woken()).await;
            }
        };
        tokio::time::timeout(BOOT, passes).await.expect("the machine gets where it should")
    }

    fn folder(&self) -> PathBuf {
        self.config.storage().join("machines").join(UUID)
    }

    async fn line(&self, key: &str) -> String {
        let text = format!("STAMPEDE-GUEST {key}=");
        let line = await_line(&self.folder().join("serial.log"), &text, BOOT).await;
        line[text.len()..].into()
    }

    /// Runs a command inside the network's namespace; what it prints, if it succeeds.
    fn inside(&self, command: &[&str]) -> Option<String> {
        let namespace = self.config.run_dir.join("netns").join(VNI.to_string());
        let net = format!("--net={}", namespace.display());
        let output = Command::new("nsenter").arg(net).args(command).output().unwrap();
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn has_port(&self) -> bool {
        let name = device_name(VNI, IP);
        self.inside(&["ip", "link", "show", &name]).is_some() || has_link(&name)
    }

    fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder()).into_iter().flatten().flatten();
        let mut names: Vec<_> =
            entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn phase(wanted: Phase, epoch: u64) -> impl Fn(Option<&Instance>) -> bool {
    move |seen| seen.is_some_and(|seen| seen.phase == wanted && seen.epoch == epoch)
}

fn machine(epoch: u64, want: Want) -> Machine {
    let mut guest: Guest = serde_json::from_value(serde_json::json!({
        "id": "1i7", "uuid": UUID, "name": "one", "hostname": "one", "domain": "stampede.internal",
        "want": "running", "epoch": epoch, "image": "small", "memoryMb": 160,
        "publicKeys": {"mine": "ssh-ed25519 AAAA mine"},
    }))
    .unwrap();
    guest.want = want;
    let attachment = Attachment::Managed { vni: VNI, ip: IP, mac: guest_mac([2, 0, 1], IP) };
    guest.nics = vec![Nic { id: "1ni1".into(), device: 0, attachment }];
    let url = format!("file://{}", guest_image().display());
    let disk = DiskImage { uuid: "small".into(), url, checksum: None };
    Machine { guest, disk, presentation: Presentation::ConfigDrive }
}

fn empty() -> Desired {
    let host = Host {
        id: "1h1".into(),
        uuid: "host-uuid".into(),
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
        mtu: 1360,
        domain: "stampede.internal".into(),
        dns: Vec::new(),
        default: true,
        intercept_dns: true,
    };
    Desired { host: Some(host), networks: [(VNI, network)].into(), ..Desired::default() }
}

fn with(machine: Machine) -> Arc<Desired> {
    let mut desired = empty();
    let names = vec!["one".into()];
    let mac = guest_mac([2, 0, 1], IP);
    let endpoint = Endpoint { vni: VNI, ip: IP, mac, host: 1, seq: 1, names };
    desired.endpoints.insert((VNI, IP), endpoint);
    desired.machines.insert(UUID.into(), machine);
    Arc::new(desired)
}

#[test]
fn a_machine_lives_its_life() {
    on_private_host(|host| async move {
        let mut bed = Bed::new(host);
        let running = with(machine(1, Want::Running));
        bed.settle(&running, phase(Phase::Running, 1)).await;

        // What its own host tells it, and that it can be reached.
        assert_eq!(bed.line("dhcp-ip").await, format!("{IP}/16"));
        assert_eq!(bed.line("dhcp-dns").await, "10.42.0.1");
        assert_eq!(bed.line("mtu-eth0").await, "1360");
        assert!(bed.line("drive-meta-data").await.contains(UUID));
        assert_eq!(bed.line("instance-id").await, "i-1i7");
        assert_eq!(bed.line("hostname").await, "one.stampede.internal");
        assert_eq!(bed.line("local-ipv4").await, IP.to_string());
        assert!(bed.line("public-keys").await.starts_with("0=mine"));
        bed.line("ready").await;
        let page = bed.inside(&["busybox", "wget", "-q", "-O", "-", &format!("http://{IP}/")]);
        assert_eq!(page.as_deref().map(str::trim), Some("one"));

        // Looked at again, also by a new agent, nothing changes.
        bed.pass(&running).await;
        let id = bed.host.virsh(&["domid", UUID]);
        assert_eq!(bed.pass(&running).await.changes, 0);
        bed.restart();
        let status = bed.settle(&running, phase(Phase::Running, 1)).await;
        assert_eq!((status.changes, bed.pass(&running).await.changes), (0, 0));
        assert_eq!(bed.host.virsh(&["domid", UUID]), id);

        // Stopped by its power button; its disk stays.
        let stopped = with(machine(1, Want::Stopped));
        let status = bed.settle(&stopped, phase(Phase::Exited, 1)).await;
        assert_eq!(status.instances[UUID].exit, Some(0));
        bed.line("power").await;
        assert!(!bed.has_port());
        assert_eq!(bed.pass(&stopped).await.changes, 0);

        // The epoch is over: only the next one starts.
        bed.settle(&running, phase(Phase::Exited, 1)).await;
        let second = with(machine(2, Want::Running));
        bed.settle(&second, phase(Phase::Running, 2)).await;

        // Retained, only its disk is kept; purged, nothing.
        let mut retained = empty();
        retained.retained.insert(UUID.into(), Retained { uuid: UUID.into() });
        let retained = Arc::new(retained);
        bed.settle(&retained, |seen| seen.is_some_and(|seen| seen.phase == Phase::Retained)).await;
        while bed.pass(&retained).await != bed.pass(&retained).await || bed.files().len() > 3 {
            bed.wake.woken().await;
        }
        assert_eq!(bed.files(), ["disk.qcow2", "record.json", "serial.log"]);
        let nothing = Arc::new(empty());
        bed.settle(&nothing, |seen| seen.is_none()).await;
        assert!(!bed.folder().exists() && !bed.has_port());
        assert_eq!(bed.host.virsh(&["list", "--all", "--name"]).trim(), "");
        assert_eq!(bed.pass(&nothing).await, Status::default());
    });
}

#[test]
fn what_is_not_ours_is_left_alone() {
    on_private_host(|host| async move {
        let mut bed = Bed::new(host);
        let foreign = format!(
            "<domain type='qemu'><name>theirs</name><uuid>{UUID}</uuid>\
             <memory unit='MiB'>64</memory><os><type machine='q35'>hvm</type></os></domain>"
        );
        let file = bed.host.folder().join("theirs.xml");
        std::fs::write(&file, foreign).unwrap();
        bed.host.virsh(&["create", "--paused", file.to_str().unwrap()]);

        let wanted = with(machine(1, Want::Running));
        let refused = |seen: Option<&Instance>| seen.is_some_and(|seen| seen.error.is_some());
        let status = bed.settle(&wanted, refused).await;
        assert_eq!(status.instances[UUID].error, Some(ErrorKind::ConflictWithForeign));
        assert!(!bed.has_port(), "what was begun is undone");

        let failures = machines::clean(&bed.config, bed.ports.as_ref()).await;
        assert!(failures.is_empty(), "{failures:?}");
        assert!(!bed.config.storage().join("images").exists());
        assert_eq!(bed.host.virsh(&["list", "--name"]).trim(), "theirs");
    });
}

#[test]
fn cleaning_takes_machines_away_without_an_agent() {
    on_private_host(|host| async move {
        let mut bed = Bed::new(host);
        let running = with(machine(1, Want::Running));
        bed.settle(&running, phase(Phase::Running, 1)).await;
        let failures = machines::clean(&bed.config, bed.ports.as_ref()).await;
        assert!(failures.is_empty(), "{failures:?}");
        assert!(!bed.folder().exists() && !bed.has_port());
        assert_eq!(bed.host.virsh(&["list", "--all", "--name"]).trim(), "");
    });
}

#[test]
fn a_guest_that_ends_by_itself_stays_ended() {
    on_private_host(|host| async move {
        let mut bed = Bed::new(host);
        let mut machine = machine(1, Want::Running);
        // "#!/bin/sh\npoweroff -f\n"
        let script = "IyEvYmluL3NoCnBvd2Vyb2ZmIC1mCg==";
        machine.guest.userdata = Some(api::secret::Secret::new(script.into()));
        let wanted = with(machine);
        let status = bed.settle(&wanted, phase(Phase::Exited, 1)).await;
        assert_eq!(status.instances[UUID].exit, Some(0));
        bed.restart();
        let status = bed.settle(&wanted, phase(Phase::Exited, 1)).await;
        assert_eq!((status.changes, status.errors.len()), (0, 0));
    });
}
