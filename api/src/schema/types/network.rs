//! Networks, their address ranges, and who has which address.

use super::super::field::{Default, FieldType, array, boolean, int, reference, string};
use super::super::format::Format;
use super::super::resource::{Action, Link, Type};
use super::super::validate::{Code, FieldError};
use serde_json::{Map, Value};
use std::net::Ipv4Addr;

const SWITCHABLE: &[Action] = &[Action::plain("activate"), Action::plain("deactivate")];

/// Where instances are attached.
pub(super) static NETWORK: Type = Type::new("network", "networks")
    .writable()
    .fields(&[
        boolean("isPublic").about("Whether all accounts may use it"),
        string("domain")
            .create()
            .nullable()
            .format(Format::Domain)
            .about("The DNS domain of its instances"),
        string("macPrefix").nullable(),
        int("mtu").nullable().about("In bytes; fixed when the network is made"),
        int("vni").nullable().about("Its VXLAN network identifier"),
    ])
    .links(&[
        Link::many("subnets", "subnet", "networkId"),
        Link::many("nics", "nic", "networkId"),
        Link::many("ipAddresses", "ipAddress", "networkId"),
    ])
    .actions(SWITCHABLE);

/// A network that Stampede runs itself, the same on every host.
pub(super) static HOST_ONLY_NETWORK: Type =
    Type::new("hostOnlyNetwork", "hostOnlyNetworks").below(&NETWORK).writable();

/// A network's address range.
pub(super) static SUBNET: Type = Type::new("subnet", "subnets")
    .writable()
    .fields(&[
        reference("networkId", "network").required(),
        string("networkAddress")
            .required()
            .format(Format::Ipv4)
            .about("Any address of the range, for instance 192.168.10.0"),
        int("cidrSize").create().between(8, 28).default(Default::Int(24)).about("Prefix length"),
        string("startAddress")
            .create()
            .nullable()
            .format(Format::Ipv4)
            .about("The first address handed out; else the third of the range"),
        string("endAddress")
            .create()
            .nullable()
            .format(Format::Ipv4)
            .about("The last address handed out; else the sixth from the end"),
        string("gateway")
            .create()
            .nullable()
            .format(Format::Ipv4)
            .about("The gateway's address; else the second of the range"),
        boolean("isPublic"),
    ])
    .links(&[
        Link::one("network", "network", "networkId"),
        Link::many("ipAddresses", "ipAddress", "subnetId"),
    ])
    .actions(SWITCHABLE)
    .rules(&[range_fits]);

/// An address of a subnet that somebody has.
pub(super) static IP_ADDRESS: Type = Type::new("ipAddress", "ipAddresses")
    .fields(&[
        string("address").nullable(),
        reference("networkId", "network").nullable(),
        reference("subnetId", "subnet").nullable(),
        reference("nicId", "nic").nullable(),
        reference("instanceId", "instance").nullable(),
        reference("hostId", "host")
            .nullable()
            .about("The host of an address that is kept in reserve"),
        string("hostname").nullable(),
        string("role").nullable().about("primary, secondary or reserve"),
        boolean("isPublic"),
    ])
    .links(&[
        Link::one("network", "network", "networkId"),
        Link::one("subnet", "subnet", "subnetId"),
        Link::list("nics", "nic", "nicId"),
    ]);

/// A network interface of an instance.
pub(super) static NIC: Type = Type::new("nic", "nics")
    .fields(&[
        reference("instanceId", "instance").nullable(),
        reference("networkId", "network").nullable(),
        reference("subnetId", "subnet").nullable(),
        int("deviceNumber").nullable(),
        string("macAddress").nullable(),
    ])
    .links(&[
        Link::one("instance", "instance", "instanceId"),
        Link::one("network", "network", "networkId"),
        Link::one("subnet", "subnet", "subnetId"),
        Link::many("ipAddresses", "ipAddress", "nicId"),
    ]);

/// What instances take to name several networks or subnets.
pub(super) const fn references(name: &'static str, of: &'static FieldType) -> super::Field {
    array(name, of).longest(8).input_only()
}

/// Refuses a range whose first, last and gateway address do not fit it or each other.
fn range_fits(fields: &Map<String, Value>) -> Option<FieldError> {
    let address = |name: &str| fields.get(name)?.as_str()?.parse::<Ipv4Addr>().ok();
    let inside = address("networkAddress")?;
    let size = u8::try_from(fields.get("cidrSize")?.as_i64()?).ok()?;
    let range = ipnet::Ipv4Net::new(inside, size).ok()?.trunc();
    let refuse =
        |field: &str, message: String| Some(FieldError::new(field, Code::InvalidFormat, message));
    for name in ["startAddress", "endAddress", "gateway"] {
        let Some(given) = address(name) else { continue };
        if !range.contains(&given) {
            return refuse(name, format!("{given} is not in {range}: use an address of it"));
        }
        if given == range.network() || given == range.broadcast() {
            return refuse(
                name,
                format!("{given} is the first or last of {range}: use one between"),
            );
        }
    }
    if let (Some(start), Some(end)) = (address("startAddress"), address("endAddress"))
        && start > end
    {
        return refuse("endAddress", format!("{end} comes before startAddress {start}: swap them"));
    }
    let start = address("startAddress")?;
    let end = address("endAddress")?;
    match address("gateway") {
        Some(gateway) if (start..=end).contains(&gateway) => refuse(
            "gateway",
            format!("{gateway} is among the addresses handed out, {start} to {end}: move it out"),
        ),
        _ => None,
    }
}
