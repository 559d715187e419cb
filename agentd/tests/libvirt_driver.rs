//! The libvirt driver against a real libvirtd with emulated guests.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on must stop")]
#![allow(dead_code, reason = "each test file uses a part of what they share")]

mod private_host;

use agentd::machines::domain_xml::{self, Accelerator, Surroundings};
use agentd::machines::driver::{DomainState, Driver, DriverError, End, Label};
use agentd::machines::libvirt::Libvirt;
use agentd::reconcile::Wake;
use api::item::{DiskImage, Guest, Machine, Want};
use private_host::{PrivateHost, await_line, guest_image, on_private_host, run};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

const UUID: &str = "6f0c1f62-30c5-4f5c-9d10-b3b1a5a7d3c1";

fn machine() -> Machine {
    let guest: Guest = serde_json::from_value(serde_json::json!({
        "id": "1i1", "uuid": UUID, "name": "one", "hostname": "one", "domain": "stampede.internal",
        "want": "running", "epoch": 3, "image": "small", "memoryMb": 160,
    }))
    .unwrap();
    assert_eq!(guest.want, Want::Running);
    let disk = DiskImage { uuid: "small".into(), url: String::new(), checksum: None };
    Machine { guest, disk, presentation: Default::default() }
}

fn label(storage: &Path) -> Label {
    Label { storage: storage.display().to_string(), epoch: 3, stop_timeout: 30 }
}

fn xml(host: &PrivateHost, storage: &Path) -> String {
    let base = guest_image();
    let disk = host.folder().join("disk.qcow2");
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    if !disk.exists() {
        run(&[
            "qemu-img",
            "create",
            "-q",
            "-f",
            "qcow2",
            "-b",
            &text(&base),
            "-F",
            "qcow2",
            &text(&disk),
        ]);
    }
    let around = Surroundings {
        accelerator: Accelerator::Emulation,
        label: &label(storage),
        disk: &disk,
        base: (&base, "qcow2"),
        drive: None,
        log: host.folder().join("serial.log"),
        networks: &BTreeMap::new(),
    };
    domain_xml::domain(&machine(), &around)
}

#[test]
fn a_domain_boots_from_its_disk_and_ends_at_the_power_button() {
    on_private_host(|host| async move {
        let storage = host.folder().join("storage");
        let wake = Wake::default();
        let driver = Libvirt::new(&host.uri(), &storage, wake.clone());
        assert!(driver.version().await.unwrap().starts_with("libvirt "));

        driver.create(UUID, &label(&storage), &xml(&host, &storage)).await.unwrap();
        let seen = driver.observe().await.unwrap();
        assert_eq!(seen.domains[UUID].state, DomainState::Paused, "before its first instruction");
        assert_eq!(seen.domains[UUID].label.epoch, 3);
        driver.resume(UUID).await.unwrap();
        let serial = host.folder().join("serial.log");
        await_line(&serial, "STAMPEDE-GUEST ready=", Duration::from_secs(120)).await;

        // A new driver finds the same domain; another agent's driver does not see it.
        let id = host.virsh(&["domid", UUID]);
        let again = Libvirt::new(&host.uri(), &storage, wake.clone());
        assert_eq!(again.observe().await.unwrap().domains[UUID].state, DomainState::Running);
        again.create(UUID, &label(&storage), &xml(&host, &storage)).await.unwrap();
        assert_eq!(host.virsh(&["domid", UUID]), id);
        let other = Libvirt::new(&host.uri(), Path::new("/elsewhere"), wake.clone());
        assert!(other.observe().await.unwrap().domains.is_empty());
        assert!(matches!(other.destroy(UUID).await, Err(DriverError::Foreign { .. })));

        driver.shutdown(UUID).await.unwrap();
        let end = tokio::time::timeout(Duration::from_secs(60), async {
            loop {
                wake.woken().await;
                if let Some(end) = driver.observe().await.unwrap().ended.get(UUID) {
                    return *end;
                }
            }
        });
        assert_eq!(end.await.unwrap(), End::ShutDown);
        assert!(driver.observe().await.unwrap().domains.is_empty());
        assert!(!driver.destroy(UUID).await.unwrap());
    });
}
