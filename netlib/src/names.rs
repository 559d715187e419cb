//! Names of our devices. Each is a pure function of what the device is for, so that guards and
//! neighbours can be in place before the device exists, and a restarted agent finds its devices.
//!
//! A name is a three-letter prefix by kind and ten characters of base 32: 13 of the 15 bytes that
//! the kernel allows. 50 bits of hash make a collision on one host a matter of tens of millions of
//! devices.

use std::net::Ipv4Addr;

/// The bridge inside a network's namespace.
pub const BRIDGE: &str = "br0";
/// The VXLAN device inside a network's namespace.
pub const VXLAN: &str = "vx0";
/// The transit's end inside a network's namespace.
pub const UPLINK: &str = "up0";

/// What all of our guests' devices begin with.
pub const DEVICE_PREFIX: &str = "stn";
/// What the root ends of all of our transits begin with.
pub const TRANSIT_PREFIX: &str = "stt";
/// What our VXLAN devices begin with, should one be seen in the root namespace.
pub const VXLAN_PREFIX: &str = "stx";

/// The device of the guest at `ip` of network `vni`: the port inside the network's namespace and,
/// for a container, the veth's other end too until Docker takes and renames it.
#[must_use]
pub fn device_name(vni: u32, ip: Ipv4Addr) -> String {
    named(DEVICE_PREFIX, vni, &ip.octets())
}

/// The root end of the transit into network `vni`.
#[must_use]
pub fn transit_name(vni: u32) -> String {
    named(TRANSIT_PREFIX, vni, &[])
}

fn named(prefix: &str, vni: u32, rest: &[u8]) -> String {
    const DIGITS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut hash = blake3::Hasher::new();
    hash.update(prefix.as_bytes()).update(&vni.to_be_bytes()).update(rest);
    let mut bytes = [0; 8];
    hash.finalize_xof().fill(&mut bytes);
    let bits = u64::from_be_bytes(bytes);
    let digit = |position: u32| DIGITS[(bits >> (64 - 5 * (position + 1)) & 31) as usize];
    let mut name = String::from(prefix);
    name.extend((0..10).map(|position| char::from(digit(position))));
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_fit_and_differ() {
        let mut seen = BTreeSet::new();
        for vni in [1, 0x0080_0000, 0x0080_0001] {
            seen.insert(transit_name(vni));
            for last in 0..=255 {
                seen.insert(device_name(vni, Ipv4Addr::new(10, 42, 0, last)));
            }
        }
        assert_eq!(seen.len(), 3 * 257);
        assert!(seen.iter().all(|name| name.len() == 13), "{seen:?}");
    }
}
