//! Networks and subnets.

use crate::allocate;
use crate::context::Context;
use crate::core::{Caller, Refusal};
use crate::draft::Draft;
use crate::intent::input::{Input, find, may_change};
use crate::model::{Body, Network, Subnet};
use crate::world::World;
use ipnet::Ipv4Net;
use std::net::Ipv4Addr;

/// The DNS domain of a network that names none.
pub(super) const DOMAIN: &str = "stampede.internal";

/// Creates a managed network; returns its number.
///
/// # Errors
/// When the uuid exists or nothing is left to number it with.
pub fn create_network(
    draft: &mut Draft<'_>,
    context: &Context,
    caller: &Caller,
    input: &Input,
) -> Result<i64, Refusal> {
    let used_up = |what: &str| Refusal {
        status: 409,
        code: "Exhausted",
        field: None,
        message: format!("all {what} are in use: remove networks"),
    };
    let vni = allocate::vni(draft.world()).ok_or_else(|| used_up("network identifiers"))?;
    let mac_prefix =
        allocate::mac_prefix(draft.world()).ok_or_else(|| used_up("prefixes of MAC addresses"))?;
    let network = Network {
        managed: true,
        vni: Some(vni),
        mac_prefix,
        mtu: context.settings.mtu,
        domain: input.text("domain").unwrap_or_else(|| DOMAIN.into()),
        dns: Vec::new(),
        is_public: false,
        default: false,
        active: true,
    };
    let row = input.new_row(draft, caller, Body::Network(network))?;
    Ok(draft.add(row))
}

/// Creates a network's subnet; returns its number.
///
/// # Errors
/// When the addresses do not fit each other, or the network cannot take a subnet.
pub fn create_subnet(
    draft: &mut Draft<'_>,
    caller: &Caller,
    input: &Input,
) -> Result<i64, Refusal> {
    let network = network_of_subnet(draft.world(), caller, input)?;
    let subnet = range(network, input)?;
    let row = input.new_row(draft, caller, Body::Subnet(subnet))?;
    Ok(draft.add(row))
}

fn network_of_subnet(world: &World, caller: &Caller, input: &Input) -> Result<i64, Refusal> {
    let id = input.text("networkId").unwrap_or_default();
    let row = find(world, caller, "network", "networkId", &id)?;
    let refuse = |message: String| Err(Refusal::reference("networkId", message));
    if !may_change(caller, row) {
        return refuse(format!("network {id} belongs to another account: create one of your own"));
    }
    if !row.network().is_some_and(|network| network.managed) {
        return refuse(format!("network {id} is not managed: create a network first"));
    }
    if let Some(subnet) = world.subnets_of(row.id).next() {
        let other = subnet.public_id();
        return refuse(format!(
            "network {id} has its subnet already, {other}: create another network for another range"
        ));
    }
    Ok(row.id)
}

/// The range as given, with what was left out: gateway the second address, start the third, end the
/// sixth from the end.
fn range(network: i64, input: &Input) -> Result<Subnet, Refusal> {
    let network_address = address(input, "networkAddress")?.ok_or_else(|| {
        Refusal::invalid("MissingRequired", "networkAddress", "for instance 192.168.10.0")
    })?;
    let cidr_size: u8 = input.number("cidrSize").unwrap_or(24);
    let range = Ipv4Net::new(network_address, cidr_size)
        .ok()
        .filter(|_| (8..=28).contains(&cidr_size))
        .ok_or_else(|| {
            Refusal::invalid("InvalidFormat", "cidrSize", "the prefix length must be from 8 to 28")
        })?;
    let first = u32::from(range.network());
    let last = u32::from(range.broadcast());
    let gateway = address(input, "gateway")?.unwrap_or(Ipv4Addr::from(first + 1));
    let start = address(input, "startAddress")?.unwrap_or(Ipv4Addr::from(first + 2));
    let end = address(input, "endAddress")?.unwrap_or(Ipv4Addr::from(last - 5));
    for (field, ip) in [("gateway", gateway), ("startAddress", start), ("endAddress", end)] {
        if !range.contains(&ip) || ip == range.network() || ip == range.broadcast() {
            let message = format!("{ip} is no address for guests in {}", range.trunc());
            return Err(Refusal::invalid("InvalidFormat", field, message));
        }
    }
    if start > end {
        let message = format!("{end} comes before the start address {start}: swap them");
        return Err(Refusal::invalid("InvalidFormat", "endAddress", message));
    }
    check_reserved(&range)?;
    Ok(Subnet {
        network,
        network_address,
        cidr_size,
        start_address: start,
        end_address: end,
        gateway,
        is_public: false,
        active: true,
    })
}

/// Ranges that the data plane or the Internet's rules keep for themselves.
fn check_reserved(range: &Ipv4Net) -> Result<(), Refusal> {
    const RESERVED: [([u8; 4], u8, &str); 6] = [
        ([0, 0, 0, 0], 8, "means this network"),
        ([127, 0, 0, 0], 8, "is each host's own"),
        ([169, 254, 0, 0], 16, "is link-local, metadata among it"),
        ([198, 18, 0, 0], 15, "holds the addresses of hosts and links inside networks"),
        ([224, 0, 0, 0], 4, "is multicast"),
        ([240, 0, 0, 0], 4, "is reserved"),
    ];
    for (address, size, why) in RESERVED {
        let Ok(reserved) = Ipv4Net::new(address.into(), size) else { continue };
        if reserved.contains(&range.network()) || range.contains(&reserved.network()) {
            let range = range.trunc();
            let message = format!("{range} overlaps {reserved}, which {why}: use a private range");
            return Err(Refusal::invalid("InvalidFormat", "networkAddress", message));
        }
    }
    Ok(())
}

fn address(input: &Input, field: &str) -> Result<Option<Ipv4Addr>, Refusal> {
    let Some(text) = input.text(field) else { return Ok(None) };
    text.parse().map(Some).map_err(|_| {
        let message = format!("{text:?} is no IPv4 address: write it as 192.168.10.0");
        Refusal::invalid("InvalidFormat", field, message)
    })
}

/// Removes a network with its subnet, or a subnet, if nobody uses it.
///
/// # Errors
/// When it is in use, or is one that the cloud came with.
pub fn remove(draft: &mut Draft<'_>, id: i64) -> Result<(), Refusal> {
    let world = draft.world();
    let Some(row) = world.row(id).cloned() else { return Err(Refusal::not_found("network")) };
    let network = match &row.body {
        Body::Subnet(subnet) => subnet.network,
        _ => id,
    };
    let seeded = |uuid: &str| matches!(uuid, "unmanaged" | "managed-docker0");
    if world.row(network).is_some_and(|row| seeded(&row.uuid)) {
        return Err(Refusal::conflict(format!(
            "{} belongs to the cloud and stays",
            row.public_id()
        )));
    }
    let addresses: Vec<i64> = world
        .presence()
        .pool(network)
        .map(|pool| pool.ips.values().copied().collect())
        .unwrap_or_default();
    let held = |id: &i64| world.row(*id).and_then(|row| row.address()?.nic).is_some();
    if addresses.iter().any(held) || is_used(world, network) {
        return Err(Refusal::conflict(format!(
            "{} is in use: remove and purge the instances on it first",
            row.public_id()
        )));
    }
    let mut gone: Vec<i64> = world.subnets_of(network).map(|row| row.id).collect();
    gone.extend((network == id).then_some(network));
    // What is left are addresses that rest; nobody can get them any more.
    addresses.into_iter().for_each(|address| draft.delete(address));
    let now = draft.now();
    for id in gone {
        draft.edit(id, |row| row.removed = Some(now));
    }
    Ok(())
}

/// Switches a network or a subnet on or off for new instances.
///
/// # Errors
/// When there is no such action.
pub fn switch(draft: &mut Draft<'_>, id: i64, action: &str) -> Result<(), Refusal> {
    let on = match action {
        "activate" => true,
        "deactivate" => false,
        other => return Err(Refusal::no_action(other)),
    };
    draft.edit(id, |row| match &mut row.body {
        Body::Network(network) => network.active = on,
        Body::Subnet(subnet) => subnet.active = on,
        _ => {}
    });
    Ok(())
}

/// Whether an instance that is not purged has an interface on a network.
fn is_used(world: &World, network: i64) -> bool {
    world.of_kind("nic").filter_map(|row| row.nic()).filter(|nic| nic.network == network).any(
        |nic| {
            let instance = world.row(nic.instance).and_then(|row| row.instance());
            instance.is_some_and(|instance| instance.want != crate::model::Want::Purged)
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn given(fields: serde_json::Value) -> Result<Subnet, Refusal> {
        range(1, &Input::from(fields.as_object().cloned().unwrap_or_default()))
    }

    #[test]
    fn what_is_left_out_follows_from_address_and_prefix() {
        let subnet = given(json!({"networkAddress": "192.168.3.42"})).unwrap();
        assert_eq!(subnet.network_address.to_string(), "192.168.3.42");
        assert_eq!(subnet.gateway.to_string(), "192.168.3.1");
        assert_eq!(subnet.start_address.to_string(), "192.168.3.2");
        assert_eq!(subnet.end_address.to_string(), "192.168.3.250");
    }

    #[test]
    fn refuses_what_does_not_fit_with_the_field() {
        for (fields, field) in [
            (json!({"networkAddress": "192.168.210"}), "networkAddress"),
            (json!({"networkAddress": "127.0.0.0"}), "networkAddress"),
            (json!({"networkAddress": "169.254.0.0", "cidrSize": 16}), "networkAddress"),
            (json!({"networkAddress": "10.0.0.0", "cidrSize": 29}), "cidrSize"),
            (json!({"networkAddress": "10.0.0.0", "gateway": "10.0.1.1"}), "gateway"),
            (json!({"networkAddress": "10.0.0.0", "endAddress": "10.0.0.1"}), "endAddress"),
        ] {
            assert_eq!(
                given(fields.clone()).unwrap_err().field.as_deref(),
                Some(field),
                "{fields}"
            );
        }
    }
}
