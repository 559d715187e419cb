//! Containers as the snapshot wants them, with a real dockerd: made, restarted, adopted, cleaned.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod docker_bed;
mod desired {
    pub use agentd::desired::Desired;
}
#[path = "../src/containers/fixture.rs"]
mod fixture;

use agentd::config::Config;
use agentd::containers::{Containers, clean, probe};
use agentd::desired::Desired;
use agentd::reconcile::{Reconciler, Status, Wake};
use api::item::{Retained, Want};
use api::report::{Adopted, ErrorKind, Phase};
use docker_bed::{Bed, Bridge, Firewall};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

struct Host {
    containers: Option<Containers>,
    adopted: watch::Receiver<Vec<Adopted>>,
    wake: Wake,
    desired: watch::Sender<Arc<Desired>>,
    config: Config,
    bridge: Arc<Bridge>,
    bed: Bed,
}

impl Host {
    fn new(firewall: Firewall) -> Self {
        let bed = Bed::new(firewall);
        let config = Config {
            data: bed.data(),
            docker: bed.socket(),
            docker_plugins: bed.plugins(),
            ..Config::default()
        };
        let bridge = Arc::new(Bridge::new(&bed));
        let desired = watch::Sender::new(Arc::new(Desired::default()));
        let (_, adopted) = watch::channel(Vec::new());
        let wake = Wake::default();
        let mut host = Self { containers: None, adopted, wake, desired, config, bridge, bed };
        host.start();
        host
    }

    /// What a new run of agentd does.
    fn start(&mut self) {
        self.containers = None;
        self.wake = Wake::default();
        let subscribed = self.desired.subscribe();
        let opened =
            Containers::open(&self.config, self.bridge.clone(), subscribed, self.wake.clone());
        let containers = opened.unwrap();
        self.adopted = containers.adoptions();
        self.containers = Some(containers);
    }

    fn wish(&self, change: impl FnOnce(&mut Desired)) {
        let mut desired = (**self.desired.borrow()).clone();
        change(&mut desired);
        self.desired.send_replace(Arc::new(desired));
    }

    async fn pass(&mut self) -> Status {
        let desired = self.desired.borrow().clone();
        self.containers.as_mut().unwrap().reconcile(&desired).await
    }

    /// Passes, each when something woke the reconciler, until `done`.
    async fn until(&mut self, what: &str, done: impl Fn(&Status) -> bool) -> Status {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        loop {
            let status = self.pass().await;
            if done(&status) {
                return status;
            }
            let pause = status.retry_after.unwrap_or(Duration::from_secs(60));
            let pause = deadline.min(tokio::time::Instant::now() + pause);
            let _ = tokio::time::timeout_at(pause, self.wake.woken()).await;
            let now = tokio::time::Instant::now();
            assert!(now < deadline, "waiting for {what}: {status:#?}\n{}", self.bed.log());
        }
    }

    async fn until_phase(&mut self, low: u8, phase: Phase) -> Status {
        let uuid = fixture::uuid(low);
        let told = move |status: &Status| status.instances.get(&uuid).map(|told| told.phase);
        self.until(&format!("{phase:?}"), |status| told(status) == Some(phase)).await
    }

    /// Passes until one changes nothing.
    async fn until_quiet(&mut self) {
        self.until("quiet", |status| status.changes == 0 && status.retry_after.is_none()).await;
    }

    fn name(low: u8) -> String {
        format!("stampede-{}", fixture::uuid(low))
    }

    fn started_at(&self, container: &str) -> String {
        self.bed.inspect(container, "{{.Id}} {{.State.StartedAt}}")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_follow_the_snapshot() {
    let mut host = Host::new(Firewall::Default);
    assert!(probe(&host.bed.socket()).await.unwrap().starts_with(char::is_numeric));
    let before = host.bed.docker(&["network", "ls", "--format", "{{.Name}}"]);
    host.wish(|desired| *desired = fixture::desired(&[100, 101], &[9]));
    host.wish(|desired| {
        let container = desired.containers.get_mut(&fixture::uuid(9)).unwrap();
        container.volumes = vec!["data:/data".into()];
        container.environment.insert("A".into(), api::secret::Secret::new("b c".into()));
    });
    host.until_phase(9, Phase::Running).await;
    let ours = Host::name(9);
    let exec = |command: &str| host.bed.docker(&["exec", &ours, "sh", "-c", command]);
    let address = exec("ip addr show eth0");
    assert!(address.contains("inet 10.42.0.9/16"), "{address}");
    assert!(address.contains(&fixture::mac(9).to_string()), "{address}");
    assert_eq!(exec("echo $A; hostname").lines().collect::<Vec<_>>(), ["b c", "c9"]);
    let resolver = host.bed.inspect(&ours, "{{.HostConfig.Dns}} {{.HostConfig.DnsSearch}}");
    assert_eq!(resolver, "[10.42.0.1] [stampede.internal]");
    assert_eq!(host.bed.inspect(&ours, "{{.HostConfig.SecurityOpt}}"), "[no-new-privileges]");
    // A second look, and a new run of agentd, change nothing.
    let running = host.started_at(&ours);
    host.until_quiet().await;
    host.start();
    host.until_quiet().await;
    assert_eq!(host.started_at(&ours), running);
    // A restart by hand keeps the address; agentd lets it be.
    let restart = ["restart", "--time", "0", &ours];
    let mut restarting = host.bed.docker_started(&restart);
    // Not for a moment it is told to have ended: the cloud would stop it then.
    while restarting.try_wait().unwrap().is_none() {
        let _ = tokio::time::timeout(Duration::from_millis(20), host.wake.woken()).await;
        let told = host.pass().await.instances[&fixture::uuid(9)].clone();
        assert_eq!((told.phase, told.epoch), (Phase::Running, 1));
    }
    host.until_quiet().await;
    let address = host.bed.docker(&["exec", &ours, "ip", "addr", "show", "eth0"]);
    assert!(address.contains("inet 10.42.0.9/16"), "{address}");
    // A restart through the cloud is a new epoch.
    let running = host.started_at(&ours);
    let set = |epoch, want| {
        move |desired: &mut Desired| {
            let guest = &mut desired.containers.get_mut(&fixture::uuid(9)).unwrap().guest;
            (guest.epoch, guest.want) = (epoch, want);
        }
    };
    host.wish(set(2, Want::Running));
    host.until("epoch 2", |status| {
        let told = &status.instances[&fixture::uuid(9)];
        (told.phase, told.epoch) == (Phase::Running, 2)
    })
    .await;
    assert_ne!(host.started_at(&ours), running);
    // Stopped, retained, purged: nothing is left.
    host.wish(set(2, Want::Stopped));
    host.until_phase(9, Phase::Exited).await;
    assert!(host.bridge.ports().is_empty());
    host.wish(|desired| {
        desired.containers.clear();
        desired.retained.insert(fixture::uuid(9), Retained { uuid: fixture::uuid(9) });
    });
    host.until_phase(9, Phase::Retained).await;
    host.wish(|desired| {
        *desired = Desired { host: desired.host.take(), ..Desired::default() };
    });
    host.until("nothing", |status| status.instances.is_empty() && status.changes == 0).await;
    host.until_quiet().await;
    assert_eq!(host.bed.docker(&["ps", "--all", "--quiet"]), "");
    assert_eq!(host.bed.docker(&["volume", "ls", "--quiet"]), "");
    assert_eq!(host.bed.docker(&["network", "ls", "--format", "{{.Name}}"]), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_and_a_failure_are_told() {
    let mut host = Host::new(Firewall::Off);
    host.wish(|desired| *desired = fixture::desired(&[], &[9, 10]));
    let command = |low, command: &'static [&'static str]| {
        move |desired: &mut Desired| {
            let container = desired.containers.get_mut(&fixture::uuid(low)).unwrap();
            container.command = command.iter().map(ToString::to_string).collect();
        }
    };
    host.wish(command(9, &["sh", "-c", "exit 5"]));
    host.wish(command(10, &["no-such-program"]));
    let status = host.until_phase(9, Phase::Exited).await;
    let told = &status.instances[&fixture::uuid(9)];
    assert_eq!((told.epoch, told.exit), (1, Some(5)));
    let status = host.until_phase(10, Phase::Failed).await;
    let told = &status.instances[&fixture::uuid(10)];
    assert_eq!((told.epoch, told.error), (1, Some(ErrorKind::Invalid)));
    assert!(told.message.as_ref().unwrap().contains("no-such-program"), "{told:?}");
    assert_eq!(status.errors.len(), 1);
    let ended = host.started_at(&Host::name(9));
    host.until_quiet().await;
    assert_eq!(host.started_at(&Host::name(9)), ended, "an epoch that ended stays down");
}

#[tokio::test(flavor = "multi_thread")]
async fn hand_run_containers_are_told_of_and_left_alone() {
    let mut host = Host::new(Firewall::Off);
    host.wish(|desired| *desired = fixture::desired(&[100, 101], &[9]));
    host.until_phase(9, Phase::Running).await;
    let run = ["run", "--detach", "--network", "managed", "--name", "hand", "bb:1", "sleep", "99"];
    host.bed.docker(&run);
    let adopted = host.adopted.clone();
    let is_told = |running| {
        let adopted = adopted.clone();
        move |_: &Status| {
            let told = adopted.borrow().first().map(|told| (told.name.clone(), told.running));
            told == Some(("hand".into(), running))
        }
    };
    host.until("adoption", is_told(true)).await;
    let told = host.adopted.borrow()[0].clone();
    assert_eq!((told.ip, told.mac), (fixture::ip(100), fixture::mac(100)));
    assert_eq!((told.vni, told.image.as_str()), (fixture::VNI, "bb:1"));
    let running = host.started_at("hand");
    host.until_quiet().await;
    assert_eq!(host.started_at("hand"), running);
    host.bed.docker(&["stop", "--time", "0", "hand"]);
    host.until("the stop", is_told(false)).await;
    assert_eq!(host.adopted.borrow()[0].ip, fixture::ip(100));
    host.bed.docker(&["start", "hand"]);
    host.until("the start", is_told(true)).await;
    assert_eq!(host.adopted.borrow()[0].ip, fixture::ip(101), "the first one rests");
    // Not ours to remove, so its network stays and says why.
    host.wish(|desired| *desired = Desired { host: desired.host.take(), ..Desired::default() });
    let key = format!("network/{}/docker", fixture::VNI);
    let held = |status: &Status| status.errors.contains_key(&key) && status.instances.is_empty();
    let status = host.until("the refusal", held).await;
    assert_eq!(status.errors[&key].kind, ErrorKind::ConflictWithForeign);
    assert!(status.errors[&key].message.contains("hand"), "{status:?}");
    host.bed.docker(&["rm", "--force", "hand"]);
    host.until("the removal", |status| status.errors.is_empty() && status.changes == 0).await;
    assert!(host.adopted.borrow().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn cleaning_takes_ours_and_nothing_else() {
    let mut host = Host::new(Firewall::Off);
    host.bed.docker(&["network", "create", "--driver", "bridge", "theirs"]);
    host.bed.docker(&["volume", "create", "theirs"]);
    let run = |name: &str, network: &str| {
        let start = ["run", "--detach", "--network", network, "--name", name];
        host.bed.docker(&[&start[..], &["bb:1", "sleep", "99"]].concat());
    };
    run("theirs", "none");
    let list = |bed: &Bed| {
        [&["ps", "-aq"][..], &["network", "ls", "-q"], &["volume", "ls", "-q"]]
            .map(|list| bed.docker(list))
    };
    let before = list(&host.bed);
    host.wish(|desired| *desired = fixture::desired(&[100], &[9]));
    host.wish(|desired| {
        let container = desired.containers.get_mut(&fixture::uuid(9)).unwrap();
        container.volumes = vec!["data:/data".into()];
    });
    host.until_phase(9, Phase::Running).await;
    let start = ["run", "--detach", "--network", "managed", "--name", "hand"];
    host.bed.docker(&[&start[..], &["bb:1", "sleep", "99"]].concat());
    host.containers = None;
    let failures = clean(&host.config, host.bridge.clone()).await;
    assert_eq!(failures.len(), 1, "{failures:?}");
    assert!(failures[0].to_string().contains("started by hand are on it: hand"), "{failures:?}");
    // While nobody answers as the driver Docker cannot let go of a port.
    host.start();
    host.bed.docker(&["rm", "--force", "hand"]);
    host.containers = None;
    let failures = clean(&host.config, host.bridge.clone()).await;
    assert!(failures.is_empty(), "{failures:?}");
    assert_eq!(list(&host.bed), before);
    assert!(host.bridge.ports().is_empty());
    assert_eq!(std::fs::read_dir(host.bed.plugins()).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_come_back_with_dockerd() {
    let mut host = Host::new(Firewall::Off);
    host.wish(|desired| *desired = fixture::desired(&[], &[9]));
    host.until_phase(9, Phase::Running).await;
    let running = host.started_at(&Host::name(9));
    host.bed.kill_dockerd();
    let gone = |status: &Status| status.conditions.contains_key("docker-unreachable");
    let status = host.until("the loss", gone).await;
    let told = &status.instances[&fixture::uuid(9)];
    assert_eq!(told.phase, Phase::Running, "what was seen last is told: {told:?}");
    host.bed.start_dockerd();
    let back = |status: &Status| {
        let told = &status.instances[&fixture::uuid(9)];
        status.conditions.is_empty() && told.phase == Phase::Running && told.epoch == 1
    };
    host.until("the return", back).await;
    host.until_quiet().await;
    assert_ne!(host.started_at(&Host::name(9)), running);
}
