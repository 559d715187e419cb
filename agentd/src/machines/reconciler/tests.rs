//! Passes over simulated machines: no libvirt, no disks, only records on a real file system.

use super::*;
use crate::machines::driver::End;
use crate::machines::ports::SimulatedPorts;
use crate::machines::simulated::Simulated;
use crate::machines::store::Store;
use api::item::{DiskImage, Guest, Presentation, Restart, Retained, Want};
use api::report::Phase;
use proptest::prelude::*;

const UUID: &str = "6f0c1f62-30c5-4f5c-9d10-b3b1a5a7d3c1";

struct Bed {
    folder: tempfile::TempDir,
    driver: Arc<Simulated>,
    machines: Machines,
    wake: Wake,
}

impl Bed {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let wake = Wake::default();
        let driver = Arc::new(Simulated::new(wake.clone()));
        let machines = machines(&folder, &driver, &wake);
        Self { folder, driver, machines, wake }
    }

    /// Another agent's life on the same host.
    fn restart(&mut self) {
        self.machines = machines(&self.folder, &self.driver, &self.wake);
    }

    /// Passes until none of them begins or leaves anything.
    async fn settle(&mut self, desired: &Arc<Desired>) -> Status {
        loop {
            let status = self.machines.reconcile(desired).await;
            if self.machines.jobs.is_idle() {
                return status;
            }
            self.wake.woken().await;
        }
    }
}

fn machines(folder: &tempfile::TempDir, driver: &Arc<Simulated>, wake: &Wake) -> Machines {
    let tools = Tools {
        driver: driver.clone(),
        ports: Arc::new(SimulatedPorts),
        images: None,
        store: Store::new(folder.path()),
        storage: folder.path().into(),
        virt_type: crate::config::VirtType::Qemu,
    };
    Machines::new(tools, wake.clone())
}

fn machine(epoch: u64, want: Want, restart: Restart) -> Machine {
    let mut guest: Guest = serde_json::from_value(serde_json::json!({
        "id": "1i1", "uuid": UUID, "name": null, "hostname": "one", "domain": "d",
        "want": "running", "epoch": epoch, "image": "small",
    }))
    .unwrap();
    (guest.want, guest.restart) = (want, restart);
    let disk = DiskImage { uuid: "small".into(), url: String::new(), checksum: None };
    Machine { guest, disk, presentation: Presentation::None }
}

fn with(machine: Option<Machine>) -> Arc<Desired> {
    let machines = machine.map(|machine| (UUID.to_owned(), machine)).into_iter().collect();
    Arc::new(Desired { machines, ..Desired::default() })
}

fn retained() -> Arc<Desired> {
    let retained = [(UUID.to_owned(), Retained { uuid: UUID.into() })].into();
    Arc::new(Desired { retained, ..Desired::default() })
}

fn phase(status: &Status) -> Option<(Phase, u64)> {
    status.instances.get(UUID).map(|instance| (instance.phase, instance.epoch))
}

#[tokio::test]
async fn the_policy_decides_after_an_end() {
    let mut bed = Bed::new();
    let once = with(Some(machine(1, Want::Running, Restart::Stop)));
    assert_eq!(phase(&bed.settle(&once).await), Some((Phase::Running, 1)));
    bed.driver.end(UUID, End::Crashed);
    let status = bed.settle(&once).await;
    assert_eq!(status.instances[UUID].exit, Some(1));
    assert_eq!(phase(&status), Some((Phase::Exited, 1)));
    bed.restart();
    assert_eq!(phase(&bed.settle(&once).await), Some((Phase::Exited, 1)), "not a second time");

    let always = with(Some(machine(1, Want::Running, Restart::Always)));
    let status = bed.settle(&always).await;
    tokio::time::sleep(status.retry_after.expect("a pause before it is started again")).await;
    assert_eq!(phase(&bed.settle(&always).await), Some((Phase::Running, 1)));
}

#[tokio::test]
async fn an_item_that_cannot_be_read_costs_no_disk() {
    let mut bed = Bed::new();
    bed.settle(&with(Some(machine(1, Want::Running, Restart::Stop)))).await;
    let mut unread = Desired::default();
    let error = ItemError { kind: ErrorKind::Unsupported, message: "new field".into() };
    unread.unread.insert(format!("machine/{UUID}"), error);
    bed.settle(&Arc::new(unread)).await;
    assert!(bed.driver.observe_now().domains.contains_key(UUID));
    bed.settle(&with(None)).await;
    assert!(bed.driver.observe_now().domains.is_empty());
}

#[tokio::test]
async fn a_retained_container_is_none_of_ours() {
    let mut bed = Bed::new();
    assert_eq!(bed.settle(&retained()).await, Status::default());
}

fn wishes() -> impl Strategy<Value = Vec<Option<(u64, bool)>>> {
    proptest::collection::vec(proptest::option::of((1..4u64, any::<bool>())), 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn whatever_is_wished_a_second_pass_changes_nothing(wishes in wishes(), crash: bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut bed = Bed::new();
            let mut highest = 0;
            for wish in wishes {
                let wanted = wish.map(|(epoch, runs)| {
                    highest = highest.max(epoch);
                    machine(highest, if runs { Want::Running } else { Want::Stopped }, Restart::Stop)
                });
                if wanted.is_none() {
                    highest = 0;
                }
                let desired = with(wanted);
                // A pass that is broken off in the middle by the agent's end.
                if crash {
                    bed.machines.reconcile(&desired).await;
                    bed.restart();
                }
                bed.settle(&desired).await;
                let status = bed.settle(&desired).await;
                assert_eq!(status.changes, 0);
                let runs = bed.driver.observe_now().domains.contains_key(UUID);
                match wish {
                    None => assert!(!runs && phase(&status).is_none()),
                    Some((_, false)) => assert!(!runs),
                    Some((_, true)) => assert!(runs || phase(&status).unwrap().0 == Phase::Exited),
                }
            }
        });
    }
}
