use super::super::fixture;
use super::*;
use api::item::{Nic, Want};
use api::secret::Secret;

fn creation(change: impl FnOnce(&mut Container)) -> Result<Creation, CreationError> {
    let mut desired = fixture::desired(&[], &[9]);
    let container = desired.containers.get_mut(&fixture::uuid(9)).unwrap();
    change(container);
    let container = container.clone();
    Creation::of(&container, &desired, &BTreeSet::new())
}

#[test]
fn a_container_is_pinned_and_resolves_by_its_network() {
    let made = creation(|container| {
        container.environment.insert("A".into(), Secret::new("b=c".into()));
        container.guest.memory_mb = Some(64);
        container.guest.vcpu = Some(2);
        container.dns_search = vec!["example.org".into()];
    })
    .unwrap();
    let pin = Pin { network: "managed".into(), ip: fixture::ip(9), mac: fixture::mac(9) };
    assert_eq!(made.network, Attached::Managed(vec![pin]));
    assert_eq!(made.dns, [IpAddr::V4(fixture::ip(1))]);
    assert_eq!(made.dns_search, ["stampede.internal", "example.org"]);
    assert_eq!(made.environment[0].expose(), "A=b=c");
    assert_eq!((made.memory, made.nano_cpus), (Some(64 << 20), Some(2_000_000_000)));
    assert_eq!(made.name, format!("stampede-{}", fixture::uuid(9)));
    assert_eq!(made.labels[INSTANCE_LABEL], fixture::uuid(9));
}

#[test]
fn an_unmanaged_container_is_docker_s_own_affair() {
    let unmanaged = Attachment::Unmanaged { unmanaged: true };
    let nic = |device| Nic { id: "1n9".into(), device, attachment: unmanaged.clone() };
    let made = creation(|container| container.guest.nics = vec![nic(0)]).unwrap();
    assert_eq!(made.network, Attached::DefaultBridge);
    assert!(made.dns.is_empty() && made.dns_search.is_empty());
    let mixed = creation(|container| container.guest.nics.push(nic(1)));
    assert!(matches!(mixed, Err(CreationError::MixedNetworks)));
}

#[test]
fn what_reaches_into_the_host_is_refused() {
    let privileged = creation(|container| container.privileged = true);
    assert!(matches!(privileged, Err(CreationError::PrivilegedNotAllowed)));
    let volume = creation(|container| container.volumes = vec!["/etc:/host".into()]);
    assert!(matches!(volume, Err(CreationError::Volume(VolumeError::NotAllowed(_)))));
    let label = creation(|container| {
        container.labels.insert(INSTANCE_LABEL.into(), "another".into());
    });
    assert!(matches!(label, Err(CreationError::OurLabel(_))));
    let variable = creation(|container| {
        container.environment.insert("A=B".into(), Secret::default());
    });
    assert!(matches!(variable, Err(CreationError::VariableName(_))));
}

#[test]
fn a_specification_holds_what_cannot_change() {
    let container = fixture::container(9);
    let changed = |change: fn(&mut Container)| {
        let mut other = container.clone();
        change(&mut other);
        specification(&other) != specification(&container)
    };
    assert!(!changed(|container| container.guest.epoch = 7));
    assert!(!changed(|container| container.guest.want = Want::Stopped));
    assert!(!changed(|container| container.guest.name = Some("other".into())));
    assert!(changed(|container| container.reference = "bb:2".into()));
    assert!(changed(|container| container.command.clear()));
    assert!(changed(|container| container.guest.nics.clear()));
}
