//! EC2's tree: versions, `meta-data`, `user-data` and the instance identity document.

use crate::instance::{Instance, Nic};
use crate::tree::Folder;
use serde_json::{Value, json};

/// The versions that the root lists: those of 2014, then what today's guests ask for.
const VERSIONS: [&str; 17] = [
    "1.0",
    "2007-01-19",
    "2007-03-01",
    "2007-08-29",
    "2007-10-10",
    "2007-12-15",
    "2008-02-01",
    "2008-09-01",
    "2009-04-04",
    "2011-01-01",
    "2011-05-01",
    "2012-01-12",
    "2014-02-25",
    "2016-09-02",
    "2018-09-24",
    "2021-03-23",
    "latest",
];
/// Any date from this one on is taken for a version.
const FIRST_OPEN_VERSION: &str = "2009-04-04";
/// The root of each version. `meta-data` and `user-data` are listed without a slash, as they
/// always were; user data are listed even where there are none.
const VERSION_ROOT: &str = "dynamic\nmeta-data\nuser-data";
const UNKNOWN: &str = "(unknown)";

/// What the tree says to a path.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Text(String),
    /// User data, unchanged.
    Bytes(Vec<u8>),
}

/// One version per line.
pub(crate) fn versions() -> String {
    VERSIONS.join("\n")
}

/// Whether `text` names a version of the tree.
pub(crate) fn is_version(text: &str) -> bool {
    VERSIONS.contains(&text) || (is_date(text) && text >= FIRST_OPEN_VERSION)
}

fn is_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    let fits = |(index, byte): (usize, &u8)| match index {
        4 | 7 => *byte == b'-',
        _ => byte.is_ascii_digit(),
    };
    bytes.len() == 10 && bytes.iter().enumerate().all(fits)
}

/// The answer to the parts of a path below a version; `None` when there is nothing.
pub(crate) fn answer(instance: &Instance, parts: &[&str]) -> Option<Answer> {
    match parts {
        [] | [""] => Some(Answer::Text(VERSION_ROOT.into())),
        ["user-data"] => {
            instance.userdata.as_ref().map(|data| Answer::Bytes(data.bytes().to_vec()))
        }
        ["meta-data", rest @ ..] => meta_data(instance).get(rest).map(Answer::Text),
        ["dynamic", rest @ ..] => dynamic(instance).get(rest).map(Answer::Text),
        _ => None,
    }
}

fn dynamic(instance: &Instance) -> Folder {
    let mut folder = Folder::default();
    folder.set("instance-identity/document", format!("{:#}", identity(instance)));
    folder
}

/// The identity document (unsigned): cloud-init takes the instance's id from it.
fn identity(instance: &Instance) -> Value {
    let address = instance.primary().and_then(|nic| nic.address);
    json!({
        "accountId": instance.account,
        "architecture": architecture(),
        "availabilityZone": zone(instance),
        "imageId": instance.image,
        "instanceId": instance.instance_id(),
        "instanceType": instance.instance_type(),
        "privateIp": address.map(|address| address.ip.to_string()),
        "region": zone(instance),
        "version": "2017-09-30",
    })
}

/// EC2's word for this processor.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "aarch64" => "arm64",
        other => other,
    }
}

fn zone(instance: &Instance) -> &str {
    if instance.zone.is_empty() { "unknown" } else { &instance.zone }
}

/// The tree below `meta-data`.
pub(crate) fn meta_data(instance: &Instance) -> Folder {
    let mut tree = Folder::default();
    for (path, value) in [
        ("ami-id", instance.image.as_str()),
        ("ami-launch-index", "0"),
        ("ami-manifest-path", UNKNOWN),
        ("instance-action", "none"),
        ("instance-id", &instance.instance_id()),
        ("instance-type", &instance.instance_type()),
        ("kernel-id", &instance.id),
        ("placement/availability-zone", zone(instance)),
        ("profile", "default-paravirtual"),
        ("reservation-id", &instance.id),
        ("services/domain", "amazonaws.com"),
        ("hostname", &instance.local_hostname()),
        ("local-hostname", &instance.local_hostname()),
    ] {
        tree.set(path, value);
    }
    set_disks(&mut tree, &instance.disks);
    set_keys(&mut tree, instance);
    if let Some(nic) = instance.primary() {
        set_primary(&mut tree, instance, nic);
    }
    for nic in instance.nics.iter().filter(|nic| !nic.mac.is_empty()) {
        set_nic(&mut tree, instance, nic);
    }
    tree
}

fn set_disks(tree: &mut Folder, disks: &[u8]) {
    for disk in disks {
        let letter = char::from(b'a' + disk % 26);
        if *disk == 0 {
            tree.set("block-device-mapping/ami", format!("/dev/sd{letter}"));
            tree.set("block-device-mapping/root", format!("/dev/sd{letter}1"));
        } else {
            let number = u32::from(*disk) + 1;
            tree.set(&format!("block-device-mapping/ebs{number}"), format!("sd{letter}"));
        }
    }
}

/// Keys are listed as `0=name` and asked for by number.
fn set_keys(tree: &mut Folder, instance: &Instance) {
    let mut keys = Folder::default();
    for (number, (name, key)) in instance.named_keys().enumerate() {
        let mut folder = Folder::default();
        folder.set("openssh-key", key);
        keys.put(&number.to_string(), format!("{number}={name}"), folder);
    }
    if keys != Folder::default() {
        tree.put("public-keys", "public-keys/", keys);
    }
}

fn set_primary(tree: &mut Folder, instance: &Instance, nic: &Nic) {
    if !nic.mac.is_empty() {
        tree.set("mac", &*nic.mac);
    }
    if let Some(address) = nic.address {
        tree.set("local-ipv4", address.ip.to_string());
    }
    if let Some(ip) = nic.public_ip {
        tree.set("public-ipv4", ip.to_string());
        tree.set("public-hostname", instance.public_hostname(ip));
    }
}

/// What is told of one interface, by its Ethernet address.
fn set_nic(tree: &mut Folder, instance: &Instance, nic: &Nic) {
    let mut set = |key: &str, value: &str| {
        tree.set(&format!("network/interfaces/macs/{}/{key}", nic.mac), value);
    };
    set("device-number", &nic.device.to_string());
    set("mac", &nic.mac);
    set("owner-id", &instance.account);
    set("local-hostname", &instance.nic_hostname(Some(nic)));
    set("vpc-id", &nic.network);
    set("security-group-ids", "");
    set("security-groups", "");
    if let Some(subnet) = &nic.subnet {
        set("subnet-id", subnet);
    }
    if let Some(address) = nic.address {
        let cidr = address.cidr.to_string();
        set("local-ipv4s", &address.ip.to_string());
        set("subnet-ipv4-cidr-block", &cidr);
        set("vpc-ipv4-cidr-block", &cidr);
        if let Some(public) = nic.public_ip {
            set(&format!("ipv4-associations/{public}"), &address.ip.to_string());
        }
    }
    if let Some(public) = nic.public_ip {
        set("public-ipv4s", &public.to_string());
        set("public-hostname", &instance.public_hostname(public));
    }
}

#[cfg(test)]
mod tests;
