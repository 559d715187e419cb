//! The netlink messages of each change. Pure: devices come as indices, namespaces as descriptors.

use super::facts::{Kind, Link, Port, Route};
use crate::mac::Mac;
use ipnet::Ipv4Net;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{
    InfoBridge, InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoPortKind, InfoVeth,
    InfoVxlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::RawFd;

/// Marks our routes among others'.
pub const ROUTE_PROTOCOL: RouteProtocol = RouteProtocol::Other(83);

/// A static entry of a forwarding table: `NUD_NOARP | NUD_REACHABLE`, as `bridge fdb … static`.
const STATIC: NeighbourState = NeighbourState::Other(0x42);

/// Makes a veth; both ends are born down, in the namespace of the socket and in `peer_namespace`.
#[must_use]
pub fn veth(
    name: &str,
    peer: &str,
    peer_mac: Option<Mac>,
    peer_namespace: RawFd,
    mtu: u32,
) -> LinkMessage {
    let mut other = LinkMessage::default();
    other.attributes = vec![
        LinkAttribute::IfName(peer.into()),
        LinkAttribute::Mtu(mtu),
        LinkAttribute::NetNsFd(peer_namespace),
    ];
    other.attributes.extend(peer_mac.map(|mac| LinkAttribute::Address(mac.0.to_vec())));
    let data = InfoData::Veth(InfoVeth::Peer(other));
    let mut message = LinkMessage::default();
    message.attributes = vec![
        LinkAttribute::IfName(name.into()),
        LinkAttribute::Mtu(mtu),
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Veth), LinkInfo::Data(data)]),
    ];
    message
}

/// Makes a bridge or VXLAN device, down. A VXLAN device is asked for in the root namespace, where
/// its socket stays, and born inside `namespace`.
#[must_use]
pub fn device(name: &str, link: &Link, namespace: RawFd) -> Option<LinkMessage> {
    let mut message = LinkMessage::default();
    message.attributes = vec![LinkAttribute::IfName(name.into()), LinkAttribute::Mtu(link.mtu)];
    message.attributes.extend(link.mac.map(|mac| LinkAttribute::Address(mac.0.to_vec())));
    let info = match &link.kind {
        Kind::Bridge { multicast_snooping } => {
            let data = InfoData::Bridge(vec![InfoBridge::MulticastSnooping(*multicast_snooping)]);
            vec![LinkInfo::Kind(InfoKind::Bridge), LinkInfo::Data(data)]
        }
        Kind::Vxlan { vni, local, port, learning } => {
            message.attributes.push(LinkAttribute::NetNsFd(namespace));
            let local = match local {
                IpAddr::V4(address) => InfoVxlan::Local(*address),
                IpAddr::V6(address) => InfoVxlan::Local6(*address),
            };
            let data = vec![
                InfoVxlan::Id(*vni),
                local,
                InfoVxlan::Port(*port),
                InfoVxlan::Learning(*learning),
            ];
            vec![LinkInfo::Kind(InfoKind::Vxlan), LinkInfo::Data(InfoData::Vxlan(data))]
        }
        Kind::Loopback | Kind::Transit | Kind::Guest | Kind::Foreign(_) => return None,
    };
    message.attributes.push(LinkAttribute::LinkInfo(info));
    Some(message)
}

/// Sets a device's address, MTU and bridge.
#[must_use]
pub fn basics(index: u32, link: &Link, bridge: Option<u32>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes.push(LinkAttribute::Mtu(link.mtu));
    message.attributes.extend(link.mac.map(|mac| LinkAttribute::Address(mac.0.to_vec())));
    message.attributes.extend(bridge.map(LinkAttribute::Controller));
    message
}

/// Sets a device's flags as a bridge port and takes it up; the bridge must have it already.
#[must_use]
pub fn port_and_state(index: u32, link: &Link) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.header.change_mask = LinkFlags::Up;
    if link.up {
        message.header.flags = LinkFlags::Up;
    }
    if let Some(port) = &link.port {
        message.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::PortKind(InfoPortKind::Bridge),
            LinkInfo::PortData(InfoPortData::BridgePort(port_flags(port))),
        ]));
    }
    message
}

fn port_flags(port: &Port) -> Vec<InfoBridgePort> {
    let [unicast, multicast, broadcast] = port.flood;
    vec![
        InfoBridgePort::Learning(port.learning),
        InfoBridgePort::UnicastFlood(unicast),
        InfoBridgePort::MulticastFlood(multicast),
        InfoBridgePort::BroadcastFlood(broadcast),
        InfoBridgePort::ProxyARP(port.proxy_arp),
        InfoBridgePort::NeighSupress(port.neighbour_suppression),
    ]
}

/// Moves a device into another namespace under another name.
#[must_use]
pub fn move_link(index: u32, namespace: RawFd, name: &str) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes =
        vec![LinkAttribute::NetNsFd(namespace), LinkAttribute::IfName(name.into())];
    message
}

/// Names a device by index, to remove it.
#[must_use]
pub fn link(index: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message
}

/// An address of a device.
#[must_use]
pub fn address(index: u32, net: &Ipv4Net) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.index = index;
    message.header.prefix_len = net.prefix_len();
    let address = IpAddr::V4(net.addr());
    message.attributes = vec![AddressAttribute::Local(address), AddressAttribute::Address(address)];
    if net.prefix_len() < 31 {
        message.attributes.push(AddressAttribute::Broadcast(net.broadcast()));
    }
    message
}

/// A route through a device.
#[must_use]
pub fn route(index: u32, route: &Route) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header = RouteHeader {
        address_family: AddressFamily::Inet,
        destination_prefix_length: route.destination.prefix_len(),
        table: RouteHeader::RT_TABLE_MAIN,
        protocol: ROUTE_PROTOCOL,
        scope: if route.gateway.is_some() { RouteScope::Universe } else { RouteScope::Link },
        kind: RouteType::Unicast,
        ..RouteHeader::default()
    };
    if route.destination.prefix_len() > 0 {
        let destination = RouteAddress::Inet(route.destination.network());
        message.attributes.push(RouteAttribute::Destination(destination));
    }
    message.attributes.push(RouteAttribute::Oif(index));
    let inet = RouteAddress::Inet;
    message.attributes.extend(route.gateway.map(|gateway| RouteAttribute::Gateway(inet(gateway))));
    message.attributes.extend(route.source.map(|source| RouteAttribute::PrefSource(inet(source))));
    message
}

/// A permanent neighbour on a device; without `mac` to remove it.
#[must_use]
pub fn neighbour(index: u32, ip: Ipv4Addr, mac: Option<Mac>) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.ifindex = index;
    message.header.state = NeighbourState::Permanent;
    message.attributes.push(NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)));
    message.attributes.extend(mac.map(|mac| NeighbourAttribute::LinkLayerAddress(mac.0.to_vec())));
    message
}

/// A forwarding entry of the bridge towards one of its ports.
#[must_use]
pub fn forwarding(index: u32, mac: Mac) -> NeighbourMessage {
    entry(index, mac, NeighbourFlags::Controller)
}

/// A forwarding entry of the VXLAN device towards a host; with `bridge` the bridge's towards the
/// VXLAN device in the same message.
#[must_use]
pub fn tunnel(index: u32, mac: Mac, vtep: IpAddr, bridge: bool) -> NeighbourMessage {
    let both = NeighbourFlags::Own | NeighbourFlags::Controller;
    let mut message = entry(index, mac, if bridge { both } else { NeighbourFlags::Own });
    message.attributes.push(NeighbourAttribute::Destination(vtep.into()));
    message
}

fn entry(index: u32, mac: Mac, flags: NeighbourFlags) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Bridge;
    message.header.ifindex = index;
    message.header.state = STATIC;
    message.header.flags = flags;
    message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()));
    message
}

/// A question for all entries of a family's neighbour or forwarding table.
#[must_use]
pub fn all_neighbours(family: AddressFamily) -> RouteNetlinkMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = family;
    RouteNetlinkMessage::GetNeighbour(message)
}
