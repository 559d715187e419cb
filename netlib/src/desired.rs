//! What one host's network should be, as plain comparable values.
//!
//! Nothing here does anything. Who fills it decides which networks live on this host, which
//! endpoints each has and where the remote ones are; [`crate::dataplane`] makes it true.

use crate::mac::Mac;
use ipnet::Ipv4Net;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

/// Everything that managed networks need on one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostNetwork {
    /// The host's number, 1…65534.
    pub number: u16,
    /// How frames travel to other hosts.
    pub underlay: Underlay,
    /// Networks with endpoints here, by VNI.
    pub networks: BTreeMap<u32, Network>,
}

/// How frames travel to other hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Underlay {
    /// The address VXLAN packets are sent from.
    pub local: IpAddr,
    /// The UDP port of VXLAN, on all hosts.
    pub vxlan_port: u16,
}

/// One managed network as this host needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// The VXLAN network identifier, 24 bits.
    pub vni: u32,
    /// The address range.
    pub cidr: Ipv4Net,
    /// The any-cast gateway, on every host's bridge.
    pub gateway: Ipv4Addr,
    /// The gateway's Ethernet address, the same on every host.
    pub gateway_mac: Mac,
    /// In bytes; of all devices of the network.
    pub mtu: u32,
    /// This host's own address inside the network.
    pub router_ip: Ipv4Addr,
    /// The Ethernet address that goes with it.
    pub router_mac: Mac,
    /// The link between the root namespace and the network's.
    pub transit: Transit,
    /// Whether the root namespace routes `cidr` into the network.
    pub root_route: bool,
    /// Whether DNS questions of endpoints that ask for it are turned to the gateway.
    pub intercept_dns: bool,
    /// Endpoints on this host, whether their devices exist already or not.
    pub local: BTreeSet<Local>,
    /// Endpoints on other hosts.
    pub remote: BTreeSet<Remote>,
    /// The router addresses of the network's other hosts.
    pub members: BTreeSet<Remote>,
}

/// The two addresses of a transit, a /31 that only this host knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transit {
    /// The root namespace's end.
    pub root: Ipv4Addr,
    /// The network's end.
    pub inside: Ipv4Addr,
}

/// An endpoint on this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Local {
    /// Its address.
    pub ip: Ipv4Addr,
    /// Its Ethernet address.
    pub mac: Mac,
    /// Whether its DNS questions are turned to the gateway, if the network wants that.
    pub intercept_dns: bool,
}

/// An endpoint or router address on another host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Remote {
    /// Its address.
    pub ip: Ipv4Addr,
    /// Its Ethernet address.
    pub mac: Mac,
    /// Where the overlay delivers frames for it.
    pub vtep: IpAddr,
}

/// A guest's device that is to be put on its network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attach {
    /// The network.
    pub vni: u32,
    /// The endpoint's address.
    pub ip: Ipv4Addr,
    /// The endpoint's Ethernet address.
    pub mac: Mac,
    /// In bytes.
    pub mtu: u32,
}
