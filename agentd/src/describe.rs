//! An instance as its metadata tell it: one description for the service and for config drives.

use crate::desired::Desired;
use crate::machines::domain_xml::unmanaged_mac;
use api::item::{Attachment, Guest, Nic};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use metadata::{Address, Instance, UserData};
use std::net::IpAddr;

/// The root disk's number; containers have no disks.
const ROOT_DISK: u8 = 0;

/// The description of a container.
#[must_use]
pub fn container(guest: &Guest, desired: &Desired) -> Instance {
    instance(guest, desired, Vec::new())
}

/// The description of a machine.
#[must_use]
pub fn machine(guest: &Guest, desired: &Desired) -> Instance {
    instance(guest, desired, vec![ROOT_DISK])
}

fn instance(guest: &Guest, desired: &Desired, disks: Vec<u8>) -> Instance {
    let is_machine = !disks.is_empty();
    Instance {
        id: guest.id.clone(),
        uuid: guest.uuid.clone(),
        hostname: guest.hostname.clone(),
        domain: guest.domain.clone(),
        image: guest.image.clone(),
        offering: None,
        memory_mb: guest.memory_mb,
        vcpu: guest.vcpu,
        public_keys: guest.public_keys.clone(),
        userdata: user_data(guest),
        nics: guest.nics.iter().map(|nic| interface(guest, nic, desired, is_machine)).collect(),
        disks,
        account: guest.account.clone(),
        zone: desired.host.as_ref().map(|host| host.id.clone()).unwrap_or_default(),
        token_required: false,
    }
}

/// controld refuses user data that are not base64 at the door, so whoever sees them missing here
/// has a ledger that was made by hand.
fn user_data(guest: &Guest) -> Option<UserData> {
    let text = guest.userdata.as_ref()?;
    match STANDARD.decode(text.expose()) {
        Ok(bytes) => Some(UserData::new(bytes)),
        Err(error) => {
            tracing::error!(instance = guest.uuid, "user data are not base64: {error}");
            None
        }
    }
}

fn interface(guest: &Guest, nic: &Nic, desired: &Desired, is_machine: bool) -> metadata::Nic {
    // What Docker gives a container on its own bridge is nobody's business here.
    let unmanaged = is_machine.then(|| unmanaged_mac(&guest.uuid, nic.device));
    let mut described = metadata::Nic {
        device: nic.device,
        mac: unmanaged.unwrap_or_default(),
        network: String::new(),
        subnet: None,
        mtu: None,
        dns: Vec::new(),
        address: None,
        public_ip: None,
        dhcp: is_machine,
    };
    if let Attachment::Managed { vni, ip, mac } = nic.attachment {
        described.mac = mac.to_string();
        if let Some(network) = desired.networks.get(&vni) {
            described.network = network.id.clone();
            described.mtu = Some(network.mtu);
            described.dns = vec![IpAddr::V4(network.gateway)];
            described.address = Some(Address { ip, cidr: network.cidr, gateway: network.gateway });
        }
    }
    described
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::networks::fixture::{GUEST, VNI, desired, guest};

    #[test]
    fn tells_address_network_and_user_data() {
        let desired = desired();
        let mut guest = guest("1i5");
        guest.userdata = Some(api::secret::Secret::new("AP8K".into()));
        let told = machine(&guest, &desired);
        assert_eq!(told.userdata.unwrap().bytes(), [0, 255, 10]);
        assert_eq!(told.nics[0].address.unwrap().ip, GUEST);
        assert_eq!(told.nics[0].network, desired.networks[&VNI].id);
        assert!(told.nics[0].dhcp && !container(&guest, &desired).nics[0].dhcp);
        // Config drives match interfaces by address: it must be the one that libvirt is given.
        guest.nics[0].attachment = Attachment::Unmanaged { unmanaged: true };
        assert_eq!(machine(&guest, &desired).nics[0].mac, unmanaged_mac(&guest.uuid, 0));
        assert_eq!(container(&guest, &desired).nics[0].mac, "");
    }
}
