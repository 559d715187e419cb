//! Machines and the XML they become, compared as a whole with files beside this one. To accept a
//! change on purpose, run the tests with `UPDATE_GOLDEN=1` and look at the difference.

use super::*;
use api::item::{DiskImage, Guest};
use std::net::Ipv4Addr;

fn machine(presentation: Presentation) -> Machine {
    let mut guest: Guest = serde_json::from_value(serde_json::json!({
        "id": "1i1", "uuid": "ec2c1f62-30c5-4f5c-9d10-b3b1a5a7d3c1", "name": "<&'\">",
        "hostname": "one", "domain": "stampede.internal", "want": "running", "epoch": 3,
        "image": "small", "memoryMb": 512, "vcpu": 2,
    }))
    .unwrap();
    let ip = Ipv4Addr::new(10, 42, 0, 7);
    let mac = "02:00:01:2a:00:07".parse().unwrap();
    let attachments =
        [Attachment::Managed { vni: 7, ip, mac }, Attachment::Unmanaged { unmanaged: true }];
    let nics = attachments.into_iter().zip(0..);
    guest.nics = nics
        .map(|(attachment, device)| Nic { id: format!("1ni{device}"), device, attachment })
        .collect();
    let disk = DiskImage { uuid: "small".into(), url: String::new(), checksum: None };
    Machine { guest, disk, presentation }
}

fn networks() -> BTreeMap<u32, Network> {
    let network = serde_json::from_value(serde_json::json!({
        "vni": 7, "id": "1n1", "uuid": "n", "name": "n", "docker": "n", "cidr": "10.42.0.0/16",
        "gateway": "10.42.0.1", "mtu": 1360, "domain": "stampede.internal",
    }));
    [(7, network.unwrap())].into()
}

fn xml(presentation: Presentation, accelerator: Accelerator, drive: Option<&Path>) -> String {
    let machine = machine(presentation);
    let label = Label { storage: "/var/lib/<a>".into(), epoch: 3, stop_timeout: 30 };
    let around = Surroundings {
        accelerator,
        label: &label,
        disk: Path::new("/storage/machines/u/disk.qcow2"),
        base: (Path::new("/storage/images/it's.raw"), "raw"),
        drive,
        log: "/storage/machines/u/serial.log".into(),
        networks: &networks(),
    };
    domain(&machine, &around)
}

fn compare(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/machines/domain_xml").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "{}", path.display());
}

#[test]
fn emulated_with_a_config_drive() {
    let drive = Some(Path::new("/storage/machines/u/config.img"));
    let text = xml(Presentation::ConfigDrive, Accelerator::Emulation, drive);
    compare("emulated.xml", &text);
}

#[test]
fn virtualized_as_in_ec2() {
    compare("ec2.xml", &xml(Presentation::Ec2, Accelerator::Kvm, None));
}

#[test]
fn nothing_is_claimed_unless_asked_for() {
    let text = xml(Presentation::None, Accelerator::Kvm, None);
    assert!(!text.contains("smbios") && !text.contains("vdb"));
}
