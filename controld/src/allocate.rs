//! Choosing what can be held only once: addresses, Ethernet addresses, VNIs, prefixes, numbers.
//!
//! Pure, over what memory knows; the store's constraint has the last word.

use crate::model::{Network, Subnet};
use crate::world::{Pool, World};
use api::derive::{FIRST_VNI, guest_mac};
use api::mac::Mac;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

/// VNIs have 24 bits.
const LAST_VNI: u32 = 0x00ff_ffff;

/// The next free address of a subnet behind the one taken last, so that an address freed just now
/// comes last. None when there is none.
#[must_use]
pub fn address(pool: Option<&Pool>, network: &Network, subnet: &Subnet) -> Option<(Ipv4Addr, Mac)> {
    // A network has one subnet, so that a full one is known without a search.
    if pool.is_some_and(|pool| pool.ips.len() >= subnet.size() as usize) {
        return None;
    }
    let (start, end) = (u32::from(subnet.start_address), u32::from(subnet.end_address));
    let after = pool
        .and_then(|pool| pool.last)
        .map(u32::from)
        .filter(|last| (start..end).contains(last))
        .map_or(start, |last| last + 1);
    let free = |number: &u32| {
        let ip = Ipv4Addr::from(*number);
        let mac = guest_mac(network.mac_prefix, ip);
        let taken =
            pool.is_some_and(|pool| pool.ips.contains_key(&ip) || pool.macs.contains_key(&mac));
        !taken && ip != subnet.gateway
    };
    let number = (after..=end).find(free).or_else(|| (start..after).find(free))?;
    let ip = Ipv4Addr::from(number);
    Some((ip, guest_mac(network.mac_prefix, ip)))
}

/// A free VNI.
#[must_use]
pub fn vni(world: &World) -> Option<u32> {
    let taken: BTreeSet<u32> =
        world.of_kind("hostOnlyNetwork").filter_map(|row| row.network()?.vni).collect();
    (FIRST_VNI..=LAST_VNI).find(|vni| !taken.contains(vni))
}

/// A free prefix of Ethernet addresses, 02:00:01 to 02:ff:ff.
#[must_use]
pub fn mac_prefix(world: &World) -> Option<[u8; 3]> {
    let taken: BTreeSet<[u8; 3]> = world
        .of_kind("hostOnlyNetwork")
        .filter_map(|row| Some(row.network()?.mac_prefix))
        .collect();
    (1..=u16::MAX)
        .map(|number| {
            let [high, low] = number.to_be_bytes();
            [2, high, low]
        })
        .find(|prefix| !taken.contains(prefix))
}

/// A free host number, 1 to 65,534.
#[must_use]
pub fn host_number(world: &World) -> Option<u16> {
    let taken: BTreeSet<u16> = world
        .of_kind("host")
        .filter(|row| row.removed.is_none())
        .filter_map(|row| Some(row.host()?.number))
        .collect();
    (1..=65_534).find(|number| !taken.contains(number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn network() -> Network {
        Network {
            managed: true,
            vni: Some(FIRST_VNI),
            mac_prefix: [2, 0, 1],
            mtu: 1400,
            domain: "example".into(),
            dns: Vec::new(),
            is_public: false,
            default: false,
            active: true,
        }
    }

    fn subnet(start: u8, end: u8) -> Subnet {
        Subnet {
            network: 1,
            network_address: Ipv4Addr::new(10, 0, 0, 0),
            cidr_size: 24,
            start_address: Ipv4Addr::new(10, 0, 0, start),
            end_address: Ipv4Addr::new(10, 0, 0, end),
            gateway: Ipv4Addr::new(10, 0, 0, 1),
            is_public: false,
            active: true,
        }
    }

    fn take(pool: &mut Pool, (ip, mac): (Ipv4Addr, Mac)) {
        pool.ips.insert(ip, 1);
        pool.macs.insert(mac, 1);
        pool.last = Some(ip);
    }

    proptest! {
        #[test]
        fn hands_out_each_address_once_and_all_of_them(start in 1_u8..200, length in 0_u8..50, freed in any::<prop::sample::Index>()) {
            let subnet = subnet(start, start + length);
            let mut pool = Pool::default();
            let mut given = Vec::new();
            while let Some(next) = address(Some(&pool), &network(), &subnet) {
                prop_assert!(!given.contains(&next));
                prop_assert!(next.0 >= subnet.start_address && next.0 <= subnet.end_address);
                prop_assert_ne!(next.0, subnet.gateway);
                take(&mut pool, next);
                given.push(next);
            }
            let gateway = u32::from((start..=start + length).contains(&1));
            prop_assert_eq!(u32::try_from(given.len()).unwrap(), subnet.size() - gateway);
            prop_assume!(!given.is_empty());
            let (ip, mac) = given[freed.index(given.len())];
            pool.ips.remove(&ip);
            pool.macs.remove(&mac);
            prop_assert_eq!(address(Some(&pool), &network(), &subnet), Some((ip, mac)));
        }
    }

    #[test]
    fn a_freed_address_comes_last() {
        let subnet = subnet(10, 20);
        let mut pool = Pool::default();
        let first = address(None, &network(), &subnet).unwrap();
        take(&mut pool, first);
        pool.ips.remove(&first.0);
        pool.macs.remove(&first.1);
        assert_eq!(
            address(Some(&pool), &network(), &subnet).unwrap().0,
            Ipv4Addr::new(10, 0, 0, 11)
        );
    }
}
