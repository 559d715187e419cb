//! What the kernel holds for one network on this host, and the steps that change it.
//!
//! [`Facts`] serve three times: compiled from what is desired, observed from the kernel, and as the
//! planner's model of what a step leads to. Names stand for devices; indices are the business of
//! those who talk to the kernel.

use crate::mac::Mac;
use crate::names::{BRIDGE, UPLINK, VXLAN};
use ipnet::Ipv4Net;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

/// Which of the two namespaces a fact belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// The network's own namespace.
    Inside,
    /// The host's root namespace.
    Root,
}

/// Everything the kernel holds for one network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Kernel settings by path below `/proc/sys`.
    pub settings: BTreeMap<(Side, String), String>,
    /// Our devices by name.
    pub links: BTreeMap<(Side, String), Link>,
    /// Addresses of our devices.
    pub addresses: BTreeSet<(Side, String, Ipv4Net)>,
    /// Routes through our devices, other than those the kernel makes with addresses.
    pub routes: BTreeSet<Route>,
    /// Permanent neighbours on the bridge.
    pub neighbours: BTreeMap<Ipv4Addr, Mac>,
    /// The bridge's static forwarding entries: which device leads to a MAC.
    pub forwarding: BTreeMap<Mac, String>,
    /// The VXLAN device's forwarding entries: which host leads to a MAC.
    pub tunnels: BTreeMap<Mac, IpAddr>,
}

/// A device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// What it is; fixed at its making.
    pub kind: Kind,
    /// Its Ethernet address; `None` is whatever the kernel chose.
    pub mac: Option<Mac>,
    /// In bytes.
    pub mtu: u32,
    /// Its flags as a port of the bridge, if it is one.
    pub port: Option<Port>,
    /// Whether it is up.
    pub up: bool,
}

/// What a device is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The loopback device, which each namespace has.
    Loopback,
    /// The network's bridge.
    Bridge {
        /// Whether it looks into multicast memberships; ours must not.
        multicast_snooping: bool,
    },
    /// The network's VXLAN device; its socket is in the root namespace.
    Vxlan {
        /// The VXLAN network identifier.
        vni: u32,
        /// Sender address.
        local: IpAddr,
        /// UDP port.
        port: u16,
        /// Whether it learns from what it receives; ours must not.
        learning: bool,
    },
    /// An end of the transit; the other end is on the other side.
    Transit,
    /// A guest's veth or tap.
    Guest,
    /// Something else under one of our names.
    Foreign(String),
}

/// A bridge port's flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// Learns senders.
    pub learning: bool,
    /// Floods unknown unicast, multicast and broadcast.
    pub flood: [bool; 3],
    /// Answers ARP for what the bridge's neighbours know.
    pub proxy_arp: bool,
    /// Keeps ARP off the device where a neighbour is known.
    pub neighbour_suppression: bool,
}

/// A route through one of our devices.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// Where it stands.
    pub side: Side,
    /// Where it leads.
    pub destination: Ipv4Net,
    /// Through which device.
    pub device: String,
    /// Through which next hop, if not on-link.
    pub gateway: Option<Ipv4Addr>,
    /// The sender address that the host's own packets get.
    pub source: Option<Ipv4Addr>,
}

/// One change of the kernel's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Write a kernel setting.
    Set(Side, String, String),
    /// Remove a device.
    RemoveLink(Side, String),
    /// Make a device inside, down.
    AddLink(String, Link),
    /// Make both ends of the transit, down; the root one is called so.
    AddTransit(String, Link),
    /// Give a device the address, MTU, port flags and state of `Link`; its kind stays.
    Adjust(Side, String, Link),
    /// Remove an address.
    RemoveAddress(Side, String, Ipv4Net),
    /// Add an address.
    AddAddress(Side, String, Ipv4Net),
    /// Remove a route.
    RemoveRoute(Route),
    /// Add a route.
    AddRoute(Route),
    /// Remove a permanent neighbour.
    RemoveNeighbour(Ipv4Addr),
    /// Add or replace a permanent neighbour.
    SetNeighbour(Ipv4Addr, Mac),
    /// Remove a bridge forwarding entry, which leads to the device.
    RemoveForwarding(Mac, String),
    /// Add or replace a bridge forwarding entry.
    SetForwarding(Mac, String),
    /// Remove a VXLAN forwarding entry, which leads to the host.
    RemoveTunnel(Mac, IpAddr),
    /// Add or replace a VXLAN forwarding entry together with the bridge's towards it.
    SetTunnel(Mac, IpAddr),
}

impl Step {
    /// Whether the step may be under way together with its neighbours of which this is true too:
    /// entries of tables, each of its own key.
    #[must_use]
    pub fn is_entry(&self) -> bool {
        matches!(
            self,
            Self::RemoveNeighbour(_)
                | Self::SetNeighbour(..)
                | Self::RemoveForwarding(..)
                | Self::SetForwarding(..)
                | Self::RemoveTunnel(..)
                | Self::SetTunnel(..)
        )
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Set(_, name, value) => write!(f, "set {name} to {value}"),
            Self::RemoveLink(_, name) => write!(f, "remove device {name}"),
            Self::AddTransit(name, _) => write!(f, "make transit {name}"),
            Self::AddLink(name, _) => write!(f, "make device {name}"),
            Self::Adjust(_, name, _) => write!(f, "adjust device {name}"),
            Self::RemoveAddress(_, device, net) => write!(f, "remove address {net} from {device}"),
            Self::AddAddress(_, device, net) => write!(f, "add address {net} to {device}"),
            Self::RemoveRoute(route) => write!(f, "remove route {}", route.destination),
            Self::AddRoute(route) => write!(f, "add route {}", route.destination),
            Self::RemoveNeighbour(ip) => write!(f, "remove neighbour {ip}"),
            Self::SetNeighbour(ip, mac) => write!(f, "set neighbour {ip} to {mac}"),
            Self::RemoveForwarding(mac, port) => write!(f, "stop forwarding {mac} to {port}"),
            Self::SetForwarding(mac, port) => write!(f, "forward {mac} to {port}"),
            Self::RemoveTunnel(mac, vtep) => write!(f, "stop tunnelling {mac} to {vtep}"),
            Self::SetTunnel(mac, vtep) => write!(f, "tunnel {mac} to {vtep}"),
        }
    }
}

impl Facts {
    /// What these facts become when the step is done.
    pub fn apply(&mut self, step: &Step) {
        match step.clone() {
            Step::Set(side, name, value) => {
                self.settings.insert((side, name), value);
            }
            Step::RemoveLink(side, name) => self.remove_link(side, &name),
            Step::AddLink(name, link) => {
                self.links.insert((Side::Inside, name), Link { up: false, ..link });
            }
            Step::AddTransit(root, link) => {
                let down = Link { up: false, ..link };
                self.links.insert((Side::Inside, UPLINK.into()), down.clone());
                self.links.insert((Side::Root, root), down);
            }
            Step::Adjust(side, name, link) => {
                self.links.insert((side, name), link);
            }
            Step::RemoveAddress(side, device, net) => {
                self.addresses.remove(&(side, device, net));
            }
            Step::AddAddress(side, device, net) => {
                self.addresses.insert((side, device, net));
            }
            Step::RemoveRoute(route) => {
                self.routes.remove(&route);
            }
            Step::AddRoute(route) => {
                self.routes.insert(route);
            }
            Step::RemoveNeighbour(ip) => {
                self.neighbours.remove(&ip);
            }
            Step::SetNeighbour(ip, mac) => {
                self.neighbours.insert(ip, mac);
            }
            Step::RemoveForwarding(mac, _) => {
                self.forwarding.remove(&mac);
            }
            Step::SetForwarding(mac, port) => {
                self.forwarding.insert(mac, port);
            }
            Step::RemoveTunnel(mac, _) => {
                self.tunnels.remove(&mac);
            }
            Step::SetTunnel(mac, vtep) => {
                self.tunnels.insert(mac, vtep);
                self.forwarding.insert(mac, VXLAN.into());
            }
        }
    }

    /// A device takes with it what hangs on it; a transit's end takes the other end.
    fn remove_link(&mut self, side: Side, name: &str) {
        let Some(link) = self.links.remove(&(side, name.into())) else { return };
        if link.kind == Kind::Transit {
            let ends = self.links.iter().filter(|(_, link)| link.kind == Kind::Transit);
            let ends: Vec<_> = ends.map(|(key, _)| key.clone()).collect();
            for (side, name) in ends {
                self.links.remove(&(side, name.clone()));
                self.forget(side, &name);
            }
        }
        self.forget(side, name);
        if name == BRIDGE {
            self.neighbours.clear();
            self.forwarding.clear();
            self.links.values_mut().for_each(|link| link.port = None);
        }
        if name == VXLAN {
            self.tunnels.clear();
        }
    }

    fn forget(&mut self, side: Side, device: &str) {
        self.addresses.retain(|(s, name, _)| (*s, name.as_str()) != (side, device));
        self.routes.retain(|route| (route.side, route.device.as_str()) != (side, device));
        self.forwarding.retain(|_, port| port != device);
        let of_device = format!("/{device}/");
        self.settings.retain(|(s, name), _| *s != side || !name.contains(&of_device));
    }
}
