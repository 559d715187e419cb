//! What a new cloud comes with: the admin's account and the two networks.

use crate::allocate;
use crate::context::Context;
use crate::core::Refusal;
use crate::draft::{Draft, NewRow};
use crate::intent::access;
use crate::intent::networks::DOMAIN;
use crate::model::{Body, Network, Subnet};
use std::net::Ipv4Addr;

/// Adds what is missing; returns the number of the admin's account.
///
/// # Errors
/// When nothing is left to number a network with.
pub fn seed(draft: &mut Draft<'_>, context: &Context) -> Result<i64, Refusal> {
    let found = draft.world().with_uuid("admin").find(|row| row.account_body().is_some());
    if let Some(row) = found {
        return Ok(row.id);
    }
    let admin = draft.add(access::admin_row());
    draft.edit(admin, |row| row.account = admin);
    add_network(draft, admin, "unmanaged", "unmanaged", unmanaged());
    let (Some(vni), Some(mac_prefix)) =
        (allocate::vni(draft.world()), allocate::mac_prefix(draft.world()))
    else {
        return Err(Refusal::unavailable());
    };
    let managed = Network {
        managed: true,
        vni: Some(vni),
        mac_prefix,
        mtu: context.settings.mtu,
        default: true,
        ..unmanaged()
    };
    let network = add_network(draft, admin, "managed-docker0", "managed", managed);
    let subnet = Subnet {
        network,
        network_address: Ipv4Addr::new(10, 42, 0, 0),
        cidr_size: 16,
        start_address: Ipv4Addr::new(10, 42, 0, 2),
        end_address: Ipv4Addr::new(10, 42, 255, 250),
        gateway: Ipv4Addr::new(10, 42, 0, 1),
        is_public: true,
        active: true,
    };
    draft.add(NewRow { name: Some("managed".into()), ..NewRow::of(admin, Body::Subnet(subnet)) });
    Ok(admin)
}

fn unmanaged() -> Network {
    Network {
        managed: false,
        vni: None,
        mac_prefix: [4, 0, 0],
        mtu: 1500,
        domain: DOMAIN.into(),
        dns: Vec::new(),
        is_public: true,
        default: false,
        active: true,
    }
}

fn add_network(
    draft: &mut Draft<'_>,
    account: i64,
    uuid: &str,
    name: &str,
    network: Network,
) -> i64 {
    draft.add(NewRow {
        uuid: Some(uuid.into()),
        name: Some(name.into()),
        ..NewRow::of(account, Body::Network(network))
    })
}
