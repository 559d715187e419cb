//! Names and addresses that controld and every agent derive alike, so that none has to travel.

use crate::mac::Mac;
use std::net::Ipv4Addr;

/// UDP port of our own VXLAN devices; 4789 stays with Swarm and the operator.
pub const VXLAN_PORT: u16 = 14789;

/// First VNI handed out; below live other people's networks.
pub const FIRST_VNI: u32 = 0x0080_0000;

/// The address of a host inside every network it is a member of: 198.18.0.0/16 plus its number.
/// It is the source of what the host itself sends to guests, since the gateway is any-cast.
#[must_use]
pub const fn router_ip(host: u16) -> Ipv4Addr {
    let [high, low] = host.to_be_bytes();
    Ipv4Addr::new(198, 18, high, low)
}

/// The Ethernet address that goes with [`router_ip`]; unique per host, the same in every network.
#[must_use]
pub const fn router_mac(host: u16) -> Mac {
    let [high, low] = host.to_be_bytes();
    Mac([0x06, 0x53, 0x01, 0x00, high, low])
}

/// The Ethernet address of a network's any-cast gateway, one and the same on every host.
#[must_use]
pub const fn gateway_mac(vni: u32) -> Mac {
    let [_, a, b, c] = vni.to_be_bytes();
    Mac([0x06, 0x53, 0x00, a, b, c])
}

/// The Ethernet address of a guest: the network's three-byte prefix and the address' low 24 bits.
#[must_use]
pub const fn guest_mac(prefix: [u8; 3], ip: Ipv4Addr) -> Mac {
    let [_, b, c, d] = ip.octets();
    Mac([prefix[0], prefix[1], prefix[2], b, c, d])
}

/// The name a guest without one answers to, as EC2 makes them: `ip-10-42-0-5`.
#[must_use]
pub fn default_hostname(ip: Ipv4Addr) -> String {
    let [a, b, c, d] = ip.octets();
    format!("ip-{a}-{b}-{c}-{d}")
}
