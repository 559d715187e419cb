//! Docker's network driver on the real data plane: guards before devices, and nothing left behind.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod docker_bed;
mod desired {
    pub use agentd::desired::Desired;
}
#[path = "../src/containers/fixture.rs"]
mod fixture;

use agentd::config::Config;
use agentd::containers::{Containers, KernelAttacher, clean};
use agentd::desired::Desired;
use agentd::networks::{Kernel, Networks, Ready, Transits};
use agentd::reconcile::{Reconciler, Status, Wake};
use api::item::Overlay;
use api::report::Phase;
use docker_bed::{Bed, Firewall};
use netlib::dataplane::Dataplane;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

struct Host {
    dataplane: Arc<Dataplane>,
    networks: Networks,
    containers: Option<Containers>,
    ready: Ready,
    wake: Wake,
    config: Config,
    bed: Bed,
}

impl Host {
    fn new(desired: &watch::Sender<Arc<Desired>>) -> Self {
        let bed = Bed::new(Firewall::Default);
        bed.run("ip", &["addr", "add", "192.0.2.77/32", "dev", "lo"]);
        let config = Config {
            data: bed.data(),
            run_dir: bed.data().join("run"),
            docker: bed.socket(),
            docker_plugins: bed.plugins(),
            ..Config::default()
        };
        let handle = tokio::runtime::Handle::current();
        let open = || {
            let _entered = handle.enter();
            Dataplane::open(&config.run_dir).unwrap()
        };
        let dataplane = Arc::new(netlib::netns::enter(&bed.netns(), open).unwrap());
        std::fs::create_dir_all(&config.data).unwrap();
        let (sender, ready) = Ready::channel();
        let transits = Transits::open(&config.data).unwrap();
        let driver = Arc::new(Kernel(dataplane.clone()));
        let networks = Networks::new(driver, transits, vec![Overlay::Vxlan], sender);
        let wake = Wake::default();
        let attacher = Arc::new(KernelAttacher::new(dataplane.clone(), ready.clone()));
        let containers =
            Containers::open(&config, attacher, desired.subscribe(), wake.clone()).unwrap();
        Self { dataplane, networks, containers: Some(containers), ready, wake, config, bed }
    }

    async fn pass(&mut self, desired: &watch::Sender<Arc<Desired>>) -> Status {
        let desired = desired.borrow().clone();
        let status = self.networks.reconcile(&desired).await;
        assert!(status.errors.is_empty(), "{status:?}");
        self.containers.as_mut().unwrap().reconcile(&desired).await
    }

    async fn until(
        &mut self,
        desired: &watch::Sender<Arc<Desired>>,
        done: impl Fn(&Status) -> bool,
    ) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        loop {
            let status = self.pass(desired).await;
            if done(&status) {
                return;
            }
            let woken = tokio::time::timeout_at(deadline, self.wake.woken()).await;
            assert!(woken.is_ok(), "{status:#?}\n{}", self.bed.log());
        }
    }
}

fn wish() -> Desired {
    let mut desired = fixture::desired(&[100, 101], &[9, 10]);
    desired.host.as_mut().unwrap().address = Some("192.0.2.77".parse().unwrap());
    desired
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_talk_on_the_real_data_plane() {
    let desired = watch::Sender::new(Arc::new(wish()));
    let mut host = Host::new(&desired);
    let run = |status: &Status| {
        let running = status.instances.values().filter(|told| told.phase == Phase::Running);
        running.count() == 2
    };
    host.until(&desired, run).await;
    let names = [9, 10].map(|low| format!("stampede-{}", fixture::uuid(low)));
    let exec =
        |name: &str, command: &[&str]| host.bed.docker(&[&["exec", name][..], command].concat());
    // A neighbour, the gateway, and a hand-run container; each answers without a broadcast.
    exec(&names[0], &["ping", "-c1", "-W2", "10.42.0.10"]);
    exec(&names[1], &["ping", "-c1", "-W2", "10.42.0.1"]);
    let start = ["run", "--detach", "--network", "managed", "--name", "hand"];
    host.bed.docker(&[&start[..], &["bb:1", "sleep", "99"]].concat());
    exec("hand", &["ping", "-c1", "-W2", "10.42.0.9"]);
    host.bed.docker(&["restart", "--time", "0", &names[0]]);
    let exec =
        |name: &str, command: &[&str]| host.bed.docker(&[&["exec", name][..], command].concat());
    exec(&names[1], &["ping", "-c1", "-W2", "10.42.0.9"]);
    // Another look changes neither network nor containers.
    host.until(&desired, |status| status.changes == 0).await;
    let quiet = host.networks.reconcile(&desired.borrow().clone()).await;
    assert_eq!(quiet.changes, 0, "{quiet:?}");
    // Cleaned: no port, no container, no Docker network of ours.
    host.bed.docker(&["rm", "--force", "hand"]);
    host.containers = None;
    let attacher = Arc::new(KernelAttacher::new(host.dataplane.clone(), host.ready.clone()));
    let failures = clean(&host.config, attacher).await;
    assert!(failures.is_empty(), "{failures:?}");
    assert_eq!(host.dataplane.attached(fixture::VNI).await.unwrap().len(), 0);
    let failures = host.dataplane.clean().await;
    assert!(failures.is_empty(), "{failures:?}");
    assert_eq!(host.bed.docker(&["ps", "--all", "--quiet"]), "");
    let links = host.bed.run("ip", &["-o", "link"]);
    assert!(!links.contains("stn") && !links.contains("stt"), "{links}");
}
