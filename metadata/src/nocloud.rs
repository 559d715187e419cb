//! cloud-init's NoCloud seed: `meta-data`, `user-data` and `network-config`.
//!
//! The files are read as YAML; JSON is YAML, and there is nothing to quote wrongly in it.

use crate::instance::{Instance, Nic};
use serde_json::{Map, Value, json};

/// All files but the user data, by name.
pub(crate) fn documents(instance: &Instance) -> [(&'static str, String); 2] {
    [
        ("meta-data", meta_data(instance).to_string()),
        ("network-config", network_config(instance).to_string()),
    ]
}

fn meta_data(instance: &Instance) -> Value {
    let keys: Vec<_> = instance.named_keys().map(|(_, key)| key).collect();
    json!({
        "instance-id": instance.instance_id(),
        "local-hostname": instance.local_hostname(),
        "public-keys": keys,
    })
}

/// The interfaces in version 2 of cloud-init's network configuration.
fn network_config(instance: &Instance) -> Value {
    let interface = |(position, nic): (usize, &Nic)| {
        (format!("eth{}", nic.device), ethernet(nic, position == 0))
    };
    let interfaces: Map<_, _> = instance.nics.iter().enumerate().map(interface).collect();
    json!({"version": 2, "ethernets": interfaces})
}

/// One interface. Only the first has a default route, for two would fight.
fn ethernet(nic: &Nic, is_first: bool) -> Value {
    let mut value = json!({"match": {"macaddress": nic.mac}});
    if let Some(mtu) = nic.mtu {
        value["mtu"] = mtu.into();
    }
    match nic.address.filter(|_| !nic.dhcp) {
        None => value["dhcp4"] = true.into(),
        Some(address) => {
            value["addresses"] = json!([format!("{}/{}", address.ip, address.cidr.prefix_len())]);
            value["nameservers"] = json!({"addresses": nic.dns});
            if is_first {
                value["gateway4"] = json!(address.gateway);
            }
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instance::tests::example;

    #[test]
    fn the_seed_names_the_instance_and_its_interfaces() {
        let data = meta_data(&example());
        assert_eq!(data["instance-id"], "i-1i12");
        assert_eq!(data["public-keys"][1], "ssh-rsa BBBB bob");
        let config = network_config(&example());
        let first =
            json!({"match": {"macaddress": "02:00:01:00:00:05"}, "mtu": 1400, "dhcp4": true});
        assert_eq!(config["ethernets"]["eth0"], first);
        assert_eq!(config["ethernets"]["eth1"]["dhcp4"], true);
    }

    #[test]
    fn an_interface_without_dhcp_is_told_everything() {
        let mut nic = example().nics.remove(0);
        nic.dhcp = false;
        let value = ethernet(&nic, true);
        assert_eq!(value["addresses"], json!(["10.42.0.5/16"]));
        assert_eq!(value["gateway4"], "10.42.0.1");
        assert_eq!(value["nameservers"]["addresses"], json!(["10.42.0.1"]));
        assert_eq!(value.get("dhcp4"), None);
    }
}
