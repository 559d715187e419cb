use super::*;
use crate::instance::tests::example;

fn get(path: &str) -> Option<String> {
    let parts: Vec<&str> = path.split('/').collect();
    match answer(&example(), &parts)? {
        Answer::Text(text) => Some(text),
        Answer::Bytes(_) => Some("bytes".into()),
    }
}

#[test]
fn versions_are_the_listed_ones_and_any_later_date() {
    for version in ["1.0", "2007-01-19", "2009-04-04", "2021-03-23", "2030-01-01", "latest"] {
        assert!(is_version(version), "{version}");
    }
    for other in ["2.0", "2007-01-20", "2009-04-03", "2021-3-23", "2021_03_23", "", "LATEST"] {
        assert!(!is_version(other), "{other}");
    }
    assert!(versions().starts_with("1.0\n2007-01-19\n"));
    assert!(versions().ends_with("\nlatest"));
}

#[test]
fn every_key_is_there() {
    for (path, value) in [
        ("ami-id", "ubuntu-24.04"),
        ("ami-launch-index", "0"),
        ("ami-manifest-path", "(unknown)"),
        ("block-device-mapping/ami", "/dev/sda"),
        ("block-device-mapping/root", "/dev/sda1"),
        ("block-device-mapping/ebs2", "sdb"),
        ("hostname", "web.stampede.internal"),
        ("instance-action", "none"),
        ("instance-id", "i-1i12"),
        ("instance-type", "256mb-2cpu"),
        ("kernel-id", "1i12"),
        ("local-hostname", "web.stampede.internal"),
        ("local-ipv4", "10.42.0.5"),
        ("mac", "02:00:01:00:00:05"),
        ("placement/availability-zone", "rack-7"),
        ("profile", "default-paravirtual"),
        ("public-hostname", "web.stampede.internal"),
        ("public-ipv4", "203.0.113.9"),
        ("public-keys/0/openssh-key", "ssh-ed25519 AAAA alice"),
        ("public-keys/1/openssh-key", "ssh-rsa BBBB bob"),
        ("reservation-id", "1i12"),
        ("services/domain", "amazonaws.com"),
    ] {
        assert_eq!(get(&format!("meta-data/{path}")).as_deref(), Some(value), "{path}");
    }
}

#[test]
fn every_interface_is_told_by_its_ethernet_address() {
    let macs = "meta-data/network/interfaces/macs";
    assert_eq!(get(macs).as_deref(), Some("02:00:01:00:00:05/\n52:54:00:00:00:07/"));
    for (key, value) in [
        ("device-number", "0"),
        ("mac", "02:00:01:00:00:05"),
        ("owner-id", "1a5"),
        ("local-hostname", "web.stampede.internal"),
        ("local-ipv4s", "10.42.0.5"),
        ("public-hostname", "web.stampede.internal"),
        ("public-ipv4s", "203.0.113.9"),
        ("ipv4-associations/203.0.113.9", "10.42.0.5"),
        ("subnet-id", "1s3"),
        ("subnet-ipv4-cidr-block", "10.42.0.0/16"),
        ("vpc-id", "1n2"),
        ("vpc-ipv4-cidr-block", "10.42.0.0/16"),
        ("security-group-ids", ""),
        ("security-groups", ""),
    ] {
        let path = format!("{macs}/02:00:01:00:00:05/{key}");
        assert_eq!(get(&path).as_deref(), Some(value), "{key}");
    }
    assert_eq!(get(&format!("{macs}/52:54:00:00:00:07/local-ipv4s")), None);
}

#[test]
fn folders_list_what_they_hold() {
    assert_eq!(get("").as_deref(), Some("dynamic\nmeta-data\nuser-data"));
    assert_eq!(get("meta-data/public-keys/").as_deref(), Some("0=alice\n1=bob"));
    assert_eq!(get("meta-data/public-keys/0/").as_deref(), Some("openssh-key"));
    assert_eq!(get("meta-data/block-device-mapping").as_deref(), Some("ami\nebs2\nroot"));
    let all = get("meta-data/").unwrap();
    for entry in ["public-keys/", "network/", "placement/", "instance-id"] {
        assert!(all.lines().any(|line| line == entry), "{entry}");
    }
    assert_eq!(get("dynamic/instance-identity/").as_deref(), Some("document"));
    for unknown in ["meta-data/instance-id/", "nothing", "user-data/", "meta-data//mac"] {
        assert_eq!(get(unknown), None, "{unknown}");
    }
}

/// Guests walk the tree as cloud-init does: what ends in a slash is a folder, the rest a leaf.
#[test]
fn a_walk_over_all_listed_entries_finds_each() {
    fn walk(folder: &str, leaves: &mut Vec<String>) {
        for line in get(folder).unwrap().lines() {
            let path = format!("{folder}{line}");
            match line.split_once('=') {
                Some((number, _)) => walk(&format!("{folder}{number}/"), leaves),
                None if line.ends_with('/') => walk(&path, leaves),
                None => {
                    assert!(get(&path).is_some(), "{path}");
                    leaves.push(path);
                }
            }
        }
    }
    let mut leaves = Vec::new();
    walk("meta-data/", &mut leaves);
    assert!(leaves.len() > 35, "{leaves:?}");
}

#[test]
fn user_data_are_the_very_bytes_or_missing() {
    assert!(
        answer(&example(), &["user-data"]) == Some(Answer::Bytes(vec![0x1f, 0x8b, 0, 0xff, b'\n']))
    );
    let without = Instance { userdata: None, ..example() };
    assert!(answer(&without, &["user-data"]).is_none());
}

#[test]
fn the_identity_document_names_the_instance() {
    let document = get("dynamic/instance-identity/document").unwrap();
    let document: Value = serde_json::from_str(&document).unwrap();
    assert_eq!(document["instanceId"], "i-1i12");
    assert_eq!(document["privateIp"], "10.42.0.5");
    assert_eq!(document["accountId"], "1a5");
}

#[test]
fn a_bare_instance_has_no_empty_folders() {
    let bare =
        Instance { nics: vec![], disks: vec![], public_keys: Default::default(), ..example() };
    let listing = meta_data(&bare).get(&[]).unwrap();
    for folder in ["public-keys/", "network/", "block-device-mapping/", "mac"] {
        assert!(!listing.lines().any(|line| line == folder), "{folder}");
    }
}

#[test]
fn an_interface_whose_address_nobody_knows_is_not_listed() {
    let mut instance = example();
    for nic in &mut instance.nics {
        nic.mac.clear();
    }
    let tree = meta_data(&instance);
    assert_eq!(tree.get(&["network"]), None);
    assert_eq!(tree.get(&["mac"]), None);
    assert_eq!(tree.get(&["local-ipv4"]).as_deref(), Some("10.42.0.5"));
}
