//! Reads from the kernel what it holds for our networks.

use super::facts::{Facts, Kind, Link, Port, Route, Side};
use super::message;
use crate::mac::Mac;
use crate::names::{BRIDGE, DEVICE_PREFIX, UPLINK, VXLAN};
use crate::namespace::Namespace;
use ipnet::Ipv4Net;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{
    InfoBridge, InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoVxlan, LinkAttribute,
    LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr};

/// Devices, addresses and routes of one namespace.
#[derive(Clone, Debug, Default)]
pub struct Topology {
    /// Indices and devices by name.
    pub links: BTreeMap<String, (u32, Link)>,
    /// Addresses by device.
    pub addresses: Vec<(String, Ipv4Net)>,
    /// Routes of the main table.
    pub routes: Vec<KernelRoute>,
}

/// A route of the main table and whether the kernel made it with an address.
#[derive(Clone, Debug)]
pub struct KernelRoute {
    /// The route; its side is set by whoever asked.
    pub route: Route,
    /// Made by the kernel together with an address.
    pub automatic: bool,
}

/// Reads devices, addresses and routes of a namespace.
///
/// # Errors
/// When the kernel cannot be asked.
pub async fn topology(namespace: &Namespace, side: Side) -> io::Result<Topology> {
    let mut found = Topology::default();
    let messages = namespace.links().await?;
    let mut names = BTreeMap::new();
    for message in &messages {
        if let Some(name) = name(message) {
            names.insert(message.header.index, name.to_owned());
        }
    }
    for message in &messages {
        if let Some(name) = names.get(&message.header.index) {
            let link = link(name, message, &names);
            found.links.insert(name.clone(), (message.header.index, link));
        }
    }
    let mut question = AddressMessage::default();
    question.header.family = AddressFamily::Inet;
    for answer in namespace.netlink.dump(RouteNetlinkMessage::GetAddress(question)).await? {
        if let RouteNetlinkMessage::NewAddress(message) = answer {
            found.addresses.extend(address(&message, &names));
        }
    }
    let mut question = RouteMessage::default();
    question.header.address_family = AddressFamily::Inet;
    for answer in namespace.netlink.dump(RouteNetlinkMessage::GetRoute(question)).await? {
        if let RouteNetlinkMessage::NewRoute(message) = answer {
            found.routes.extend(route(&message, &names, side));
        }
    }
    Ok(found)
}

/// Reads the permanent neighbours and forwarding entries of a network's namespace into `facts`.
///
/// # Errors
/// When the kernel cannot be asked.
pub async fn entries(inside: &Namespace, topology: &Topology, facts: &mut Facts) -> io::Result<()> {
    let names: BTreeMap<u32, &str> =
        topology.links.iter().map(|(name, (index, _))| (*index, name.as_str())).collect();
    for family in [AddressFamily::Inet, AddressFamily::Bridge] {
        for answer in inside.netlink.dump(message::all_neighbours(family)).await? {
            if let RouteNetlinkMessage::NewNeighbour(message) = answer {
                // Entries of devices that came after the devices were read are another pass'.
                if let Some(device) = names.get(&message.header.ifindex) {
                    take_entry(&message, device, facts);
                }
            }
        }
    }
    Ok(())
}

/// The facts of one network: all of its namespace, and of the root namespace what belongs to its
/// transit.
#[must_use]
pub fn facts(inside: &Topology, root: &Topology, transit: &str) -> Facts {
    let mut facts = Facts::default();
    let ours = |name: &str| {
        ["lo", BRIDGE, VXLAN, UPLINK].contains(&name) || name.starts_with(DEVICE_PREFIX)
    };
    for (side, topology) in [(Side::Inside, inside), (Side::Root, root)] {
        let ours = |name: &str| if side == Side::Root { name == transit } else { ours(name) };
        for (name, (_, link)) in topology.links.iter().filter(|(name, _)| ours(name)) {
            facts.links.insert((side, name.clone()), link.clone());
        }
        let addresses = topology.addresses.iter().filter(|(name, _)| name != "lo" && ours(name));
        facts.addresses.extend(addresses.map(|(name, net)| (side, name.clone(), *net)));
        let routes = topology.routes.iter().filter(|found| !found.automatic);
        let routes = routes.map(|found| &found.route).filter(|route| ours(&route.device));
        facts.routes.extend(routes.cloned());
    }
    facts
}

/// A device's name.
#[must_use]
pub fn name(message: &LinkMessage) -> Option<&str> {
    message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.as_str()),
        _ => None,
    })
}

fn link(name: &str, message: &LinkMessage, names: &BTreeMap<u32, String>) -> Link {
    let mut link = Link {
        kind: Kind::Foreign(String::new()),
        mac: None,
        mtu: 0,
        port: None,
        up: message.header.flags.contains(LinkFlags::Up),
    };
    let mut bridge = None;
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::Address(bytes) => link.mac = Mac::try_from(bytes.as_slice()).ok(),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Controller(index) => bridge = names.get(index).map(String::as_str),
            LinkAttribute::LinkInfo(info) => take_info(&mut link, info),
            _ => {}
        }
    }
    link.kind = match link.kind {
        Kind::Foreign(_) if name == "lo" => Kind::Loopback,
        Kind::Foreign(_) if name.starts_with(DEVICE_PREFIX) => Kind::Guest,
        Kind::Foreign(what) if what == "veth" => Kind::Transit,
        kind => kind,
    };
    link.port = link.port.filter(|_| bridge == Some(BRIDGE));
    link
}

fn take_info(link: &mut Link, info: &[LinkInfo]) {
    for part in info {
        match part {
            LinkInfo::Kind(kind) if matches!(link.kind, Kind::Foreign(_)) => {
                link.kind = Kind::Foreign(InfoKind::to_string(kind));
            }
            LinkInfo::Data(InfoData::Bridge(data)) => {
                let snoops =
                    |part: &InfoBridge| matches!(part, InfoBridge::MulticastSnooping(true));
                link.kind = Kind::Bridge { multicast_snooping: data.iter().any(snoops) };
            }
            LinkInfo::Data(InfoData::Vxlan(data)) => link.kind = vxlan(data),
            LinkInfo::PortData(InfoPortData::BridgePort(flags)) => link.port = Some(port(flags)),
            _ => {}
        }
    }
}

fn vxlan(data: &[InfoVxlan]) -> Kind {
    let mut found = (0, IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0, false);
    for part in data {
        match part {
            InfoVxlan::Id(vni) => found.0 = *vni,
            InfoVxlan::Local(address) => found.1 = IpAddr::V4(*address),
            InfoVxlan::Local6(address) => found.1 = IpAddr::V6(*address),
            InfoVxlan::Port(port) => found.2 = *port,
            InfoVxlan::Learning(learning) => found.3 = *learning,
            _ => {}
        }
    }
    let (vni, local, port, learning) = found;
    Kind::Vxlan { vni, local, port, learning }
}

fn port(flags: &[InfoBridgePort]) -> Port {
    let has = |wanted: &InfoBridgePort| flags.contains(wanted);
    Port {
        learning: has(&InfoBridgePort::Learning(true)),
        flood: [
            has(&InfoBridgePort::UnicastFlood(true)),
            has(&InfoBridgePort::MulticastFlood(true)),
            has(&InfoBridgePort::BroadcastFlood(true)),
        ],
        proxy_arp: has(&InfoBridgePort::ProxyARP(true)),
        neighbour_suppression: has(&InfoBridgePort::NeighSupress(true)),
    }
}

fn address(message: &AddressMessage, names: &BTreeMap<u32, String>) -> Option<(String, Ipv4Net)> {
    let name = names.get(&message.header.index)?;
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(IpAddr::V4(address)) => Some(*address),
        _ => None,
    })?;
    Some((name.clone(), Ipv4Net::new(local, message.header.prefix_len).ok()?))
}

fn route(message: &RouteMessage, names: &BTreeMap<u32, String>, side: Side) -> Option<KernelRoute> {
    let header = &message.header;
    if header.kind != RouteType::Unicast || header.table != RouteHeader::RT_TABLE_MAIN {
        return None;
    }
    let mut network = Ipv4Addr::UNSPECIFIED;
    let (mut device, mut gateway, mut source) = (None, None, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(address)) => network = *address,
            RouteAttribute::Gateway(RouteAddress::Inet(address)) => gateway = Some(*address),
            RouteAttribute::PrefSource(RouteAddress::Inet(address)) => source = Some(*address),
            RouteAttribute::Oif(index) => device = names.get(index).cloned(),
            _ => {}
        }
    }
    let destination = Ipv4Net::new(network, header.destination_prefix_length).ok()?;
    // A multipath route has no device of its own; it may still be in the way of ours.
    let device = device.unwrap_or_default();
    let automatic = header.protocol == RouteProtocol::Kernel;
    Some(KernelRoute { route: Route { side, destination, device, gateway, source }, automatic })
}

fn take_entry(message: &NeighbourMessage, device: &str, facts: &mut Facts) {
    let (mut mac, mut to) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::LinkLayerAddress(bytes) => mac = Mac::try_from(&bytes[..]).ok(),
            NeighbourAttribute::Destination(address) => to = destination(address),
            _ => {}
        }
    }
    let header = &message.header;
    let permanent = header.state == NeighbourState::Permanent;
    match (header.family, mac, to) {
        (AddressFamily::Inet, Some(mac), Some(IpAddr::V4(ip))) if device == BRIDGE && permanent => {
            facts.neighbours.insert(ip, mac);
        }
        (AddressFamily::Bridge, Some(mac), Some(vtep)) if device == VXLAN => {
            facts.tunnels.insert(mac, vtep);
        }
        // What is permanent is a port's own address; what is the device's own is no forwarding.
        (AddressFamily::Bridge, Some(mac), None)
            if !permanent && !header.flags.contains(NeighbourFlags::Own) =>
        {
            facts.forwarding.insert(mac, device.into());
        }
        _ => {}
    }
}

fn destination(address: &NeighbourAddress) -> Option<IpAddr> {
    match address {
        NeighbourAddress::Inet(address) => Some(IpAddr::V4(*address)),
        NeighbourAddress::Inet6(address) => Some(IpAddr::V6(*address)),
        NeighbourAddress::Other(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(&bytes[..]).ok().map(IpAddr::from),
            16 => <[u8; 16]>::try_from(&bytes[..]).ok().map(IpAddr::from),
            _ => None,
        },
        _ => None,
    }
}
