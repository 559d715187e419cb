//! What a guest is told about itself: its item and its networks, as the metadata crate wants them.

use crate::desired::Desired;
use api::item::{Attachment, Guest, Nic};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// User data that are not base64.
#[derive(Debug, thiserror::Error)]
#[error("the user data of instance {uuid} are not base64")]
pub struct UserDataError {
    uuid: String,
    #[source]
    source: base64::DecodeError,
}

/// The metadata of a guest with these disks, by their device numbers.
///
/// # Errors
/// When its user data cannot be read.
pub fn instance(
    guest: &Guest,
    disks: Vec<u8>,
    desired: &Desired,
) -> Result<metadata::Instance, UserDataError> {
    let userdata = guest.userdata.as_ref().map(|text| STANDARD.decode(text.expose()));
    let userdata = userdata
        .transpose()
        .map_err(|source| UserDataError { uuid: guest.uuid.clone(), source })?;
    Ok(metadata::Instance {
        id: guest.id.clone(),
        uuid: guest.uuid.clone(),
        hostname: guest.hostname.clone(),
        domain: guest.domain.clone(),
        image: guest.image.clone(),
        offering: None,
        memory_mb: guest.memory_mb,
        vcpu: guest.vcpu,
        public_keys: guest.public_keys.clone(),
        userdata: userdata.map(metadata::UserData::new),
        nics: guest.nics.iter().map(|nic| interface(nic, desired)).collect(),
        disks,
        account: guest.account.clone(),
        zone: String::new(),
        token_required: false,
    })
}

fn interface(nic: &Nic, desired: &Desired) -> metadata::Nic {
    let Attachment::Managed { vni, ip, mac } = &nic.attachment else {
        return metadata::Nic {
            device: nic.device,
            mac: String::new(),
            network: String::new(),
            subnet: None,
            mtu: None,
            dns: Vec::new(),
            address: None,
            public_ip: None,
            dhcp: true,
        };
    };
    let network = desired.networks.get(vni);
    let address = network.map(|network| metadata::Address {
        ip: *ip,
        cidr: network.cidr,
        gateway: network.gateway,
    });
    metadata::Nic {
        device: nic.device,
        mac: mac.to_string(),
        network: network.map(|network| network.id.clone()).unwrap_or_default(),
        subnet: None,
        mtu: network.map(|network| network.mtu),
        dns: network.map(|network| vec![network.gateway.into()]).unwrap_or_default(),
        address,
        public_ip: None,
        dhcp: true,
    }
}
