//! OpenStack's documents, over HTTP and on the config drive.

use crate::instance::{Instance, Nic};
use serde_json::{Value, json};

/// The versions that are listed. All have the same documents: guests take what they know.
const VERSIONS: [&str; 9] = [
    "2012-08-10",
    "2013-04-04",
    "2013-10-17",
    "2015-10-15",
    "2016-06-30",
    "2016-10-06",
    "2017-02-22",
    "2018-08-27",
    "latest",
];
/// What OpenStack calls the zone of a cloud that has only one; guests never get another.
const ZONE: &str = "nova";

/// What is said to a path below `/openstack`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Text(String),
    Json(String),
    /// User data, unchanged.
    Bytes(Vec<u8>),
}

/// The answer to the parts of a path below `/openstack`; `None` when there is nothing.
pub(crate) fn answer(instance: &Instance, parts: &[&str]) -> Option<Answer> {
    match parts {
        [] | [""] => Some(Answer::Text(VERSIONS.join("\n"))),
        [version] | [version, ""] if VERSIONS.contains(version) => {
            Some(Answer::Text(listing(instance)))
        }
        [version, "user_data"] if VERSIONS.contains(version) => {
            instance.userdata.as_ref().map(|data| Answer::Bytes(data.bytes().to_vec()))
        }
        [version, name] if VERSIONS.contains(version) => {
            let (_, document) = documents(instance).into_iter().find(|(held, _)| held == name)?;
            Some(Answer::Json(document))
        }
        _ => None,
    }
}

fn listing(instance: &Instance) -> String {
    let mut names: Vec<_> = documents(instance).iter().map(|(name, _)| *name).collect();
    names.extend(instance.userdata.as_ref().map(|_| "user_data"));
    names.join("\n")
}

/// All documents but the user data, by file name.
pub(crate) fn documents(instance: &Instance) -> [(&'static str, String); 4] {
    [
        ("meta_data.json", meta_data(instance).to_string()),
        ("network_data.json", network_data(instance).to_string()),
        ("vendor_data.json", "{}".into()),
        ("vendor_data2.json", "{}".into()),
    ]
}

fn meta_data(instance: &Instance) -> Value {
    let keys: Vec<_> = instance.named_keys().collect();
    let by_name: serde_json::Map<_, _> =
        keys.iter().map(|(name, key)| (name.clone(), Value::from(*key))).collect();
    let listed: Vec<_> =
        keys.iter().map(|(name, key)| json!({"data": key, "name": name, "type": "ssh"})).collect();
    json!({
        "availability_zone": ZONE,
        "files": [],
        "hostname": instance.local_hostname(),
        "keys": listed,
        "launch_index": 0,
        "meta": {},
        "name": instance.label(),
        "project_id": instance.account,
        "public_keys": by_name,
        "uuid": instance.uuid,
    })
}

/// Links, networks and services, as OpenStack's `network_data.json` has them.
fn network_data(instance: &Instance) -> Value {
    let link = |nic: &Nic| {
        json!({
            "id": link_name(nic),
            "type": "phy",
            "ethernet_mac_address": nic.mac,
            "mtu": nic.mtu,
        })
    };
    let network = |(position, nic): (usize, &Nic)| network(nic, position);
    let mut resolvers: Vec<_> = instance.nics.iter().flat_map(|nic| &nic.dns).collect();
    resolvers.dedup();
    let service = |ip| json!({"type": "dns", "address": ip});
    json!({
        "links": instance.nics.iter().map(link).collect::<Vec<_>>(),
        "networks": instance.nics.iter().enumerate().map(network).collect::<Vec<_>>(),
        "services": resolvers.into_iter().map(service).collect::<Vec<_>>(),
    })
}

fn link_name(nic: &Nic) -> String {
    format!("eth{}", nic.device)
}

/// One network: to be asked for by DHCP, or told in full. Only the first interface has a default
/// route, for two would fight.
fn network(nic: &Nic, position: usize) -> Value {
    let id = format!("network{position}");
    let (link, network) = (link_name(nic), &nic.network);
    let Some(address) = nic.address.filter(|_| !nic.dhcp) else {
        return json!({"id": id, "link": link, "network_id": network, "type": "ipv4_dhcp"});
    };
    let default = json!({"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": address.gateway});
    json!({
        "id": id,
        "link": link,
        "network_id": network,
        "type": "ipv4",
        "ip_address": address.ip,
        "netmask": address.cidr.netmask(),
        "routes": if position == 0 { vec![default] } else { vec![] },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instance::tests::example;

    fn document(instance: &Instance, name: &str) -> Value {
        match answer(instance, &["latest", name]) {
            Some(Answer::Json(text)) => serde_json::from_str(&text).unwrap(),
            _ => panic!("{name} is no document"),
        }
    }

    #[test]
    fn versions_and_documents_are_listed() {
        let text = |parts: &[&str]| match answer(&example(), parts) {
            Some(Answer::Text(text)) => Some(text),
            _ => None,
        };
        assert!(text(&[]).unwrap().starts_with("2012-08-10\n"));
        assert!(text(&[""]).unwrap().ends_with("\n2018-08-27\nlatest"));
        let listing =
            "meta_data.json\nnetwork_data.json\nvendor_data.json\nvendor_data2.json\nuser_data";
        for parts in [&["2015-10-15"][..], &["latest", ""]] {
            assert_eq!(text(parts).as_deref(), Some(listing));
        }
        for parts in [&["2014-01-01"][..], &["latest", "x"], &["latest", "user_data", ""]] {
            assert!(answer(&example(), parts).is_none(), "{parts:?}");
        }
    }

    #[test]
    fn meta_data_name_the_instance() {
        let data = document(&example(), "meta_data.json");
        assert_eq!(data["uuid"], "0b9d2f6c-1111-4222-8333-000000000001");
        assert_eq!(data["hostname"], "web.stampede.internal");
        assert_eq!((&data["name"], &data["availability_zone"]), (&json!("web"), &json!("nova")));
        assert_eq!((&data["files"], &data["meta"]), (&json!([]), &json!({})));
        assert_eq!(data["public_keys"]["alice"], "ssh-ed25519 AAAA alice");
    }

    #[test]
    fn network_data_are_complete_where_there_is_no_dhcp() {
        let mut instance = example();
        let networks = document(&instance, "network_data.json")["networks"].clone();
        assert_eq!(
            (&networks[0]["type"], &networks[1]["type"]),
            (&json!("ipv4_dhcp"), &json!("ipv4_dhcp"))
        );
        instance.nics[0].dhcp = false;
        let data = document(&instance, "network_data.json");
        assert_eq!(data["links"][0]["ethernet_mac_address"], "02:00:01:00:00:05");
        assert_eq!(data["links"][0]["mtu"], 1400);
        assert_eq!(data["services"], json!([{"type": "dns", "address": "10.42.0.1"}]));
        let network = json!({
            "id": "network0", "link": "eth0", "network_id": "1n2", "type": "ipv4",
            "ip_address": "10.42.0.5", "netmask": "255.255.0.0",
            "routes": [{"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": "10.42.0.1"}],
        });
        assert_eq!(data["networks"][0], network);
    }

    #[test]
    fn user_data_are_the_very_bytes_or_missing() {
        let answered = answer(&example(), &["2012-08-10", "user_data"]);
        assert!(answered == Some(Answer::Bytes(vec![0x1f, 0x8b, 0, 0xff, b'\n'])));
        let without = Instance { userdata: None, ..example() };
        assert!(answer(&without, &["latest", "user_data"]).is_none());
        assert!(!listing(&without).contains("user_data"));
    }
}
