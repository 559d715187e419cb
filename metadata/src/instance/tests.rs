use super::*;

/// An instance with everything.
pub(crate) fn example() -> Instance {
    Instance {
        id: "1i12".into(),
        uuid: "0b9d2f6c-1111-4222-8333-000000000001".into(),
        hostname: "web".into(),
        domain: "stampede.internal".into(),
        image: "ubuntu-24.04".into(),
        offering: None,
        memory_mb: Some(256),
        vcpu: Some(2),
        public_keys: BTreeMap::from([
            ("alice".into(), "ssh-ed25519 AAAA alice".into()),
            ("bob".into(), "ssh-rsa BBBB bob".into()),
        ]),
        userdata: Some(UserData::new(vec![0x1f, 0x8b, 0, 0xff, b'\n'])),
        nics: vec![
            Nic {
                device: 0,
                mac: "02:00:01:00:00:05".into(),
                network: "1n2".into(),
                subnet: Some("1s3".into()),
                mtu: Some(1400),
                dns: vec![Ipv4Addr::new(10, 42, 0, 1).into()],
                address: Some(Address {
                    ip: Ipv4Addr::new(10, 42, 0, 5),
                    cidr: "10.42.0.0/16".parse().unwrap(),
                    gateway: Ipv4Addr::new(10, 42, 0, 1),
                }),
                public_ip: Some(Ipv4Addr::new(203, 0, 113, 9)),
                dhcp: true,
            },
            Nic {
                device: 1,
                mac: "52:54:00:00:00:07".into(),
                network: "1n1".into(),
                subnet: None,
                mtu: None,
                dns: vec![],
                address: None,
                public_ip: None,
                dhcp: true,
            },
        ],
        disks: vec![0, 1],
        account: "1a5".into(),
        zone: "rack-7".into(),
        token_required: false,
    }
}

#[test]
fn the_type_follows_from_memory_and_processors() {
    let kind = |memory_mb, vcpu| Instance { memory_mb, vcpu, ..example() }.instance_type();
    assert_eq!(kind(None, None), "64mb-1cpu");
    assert_eq!(kind(Some(1023), Some(2)), "1023mb-2cpu");
    assert_eq!(kind(Some(1024), Some(1)), "1.0gb-1cpu");
    assert_eq!(kind(Some(1536), Some(4)), "1.5gb-4cpu");
    assert_eq!(kind(Some(65536), Some(64)), "64.0gb-64cpu");
    let named = Instance { offering: Some("m1.small".into()), ..example() };
    assert_eq!(named.instance_type(), "m1.small");
}

#[test]
fn names_that_are_missing_are_made_up() {
    let mut instance = Instance { hostname: String::new(), domain: String::new(), ..example() };
    assert_eq!(instance.local_hostname(), "ip-10-42-0-5.compute.internal");
    let public = instance.public_hostname(Ipv4Addr::new(203, 0, 113, 9));
    assert_eq!(public, "ip-203-0-113-9.compute.localdomain");
    instance.nics.clear();
    assert_eq!(instance.label(), "i-1i12");
    instance.public_keys = BTreeMap::from([(String::new(), "ssh-rsa CCCC".into())]);
    assert_eq!(instance.named_keys().next(), Some(("sshkey0".into(), "ssh-rsa CCCC")));
}
