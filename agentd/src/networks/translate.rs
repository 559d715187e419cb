//! From a snapshot's words to the data plane's: which networks this host has, which endpoints live
//! here and where the others are.

use crate::desired::Desired;
use api::derive::{VXLAN_PORT, gateway_mac, router_ip, router_mac};
use api::item::{Host, Network, Overlay};
use netlib::desired::{self as plane, HostNetwork, Local, Remote, Transit, Underlay};
use netlib::mac::Mac;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

/// Why a host cannot have networks.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum UntranslatedError {
    /// The snapshot does not say who this host is.
    #[error("the snapshot does not tell this host's number")]
    NoHost,
    /// The cloud wants an overlay that this version does not have.
    #[error(
        "the cloud's overlay is ipsec, which this version of agentd does not have; set `overlay = \"vxlan\"` in controld's configuration to go without encryption"
    )]
    Overlay,
    /// The operator of this host does not agree to the cloud's overlay.
    #[error(
        "the cloud's overlay is {overlay:?}, which the key `overlay` of this host's configuration does not allow"
    )]
    NotAllowed {
        /// What the cloud wants.
        overlay: Overlay,
    },
    /// controld does not know yet at which address this host is reached.
    #[error("controld does not know this host's address yet; it follows from this host's report")]
    NoAddress,
}

/// The data plane that `desired` asks for.
///
/// # Errors
/// When the host as a whole cannot have networks; see [`UntranslatedError`].
pub fn host_network(
    desired: &Desired,
    transits: &BTreeMap<u32, Transit>,
    allowed: &[Overlay],
) -> Result<HostNetwork, UntranslatedError> {
    let host = desired.host.as_ref().ok_or(UntranslatedError::NoHost)?;
    if host.overlay != Overlay::Vxlan {
        return Err(UntranslatedError::Overlay);
    }
    if !allowed.contains(&host.overlay) {
        return Err(UntranslatedError::NotAllowed { overlay: host.overlay });
    }
    let local = host.address.ok_or(UntranslatedError::NoAddress)?;
    let underlay = Underlay { local, vxlan_port: VXLAN_PORT };
    let mut networks: BTreeMap<u32, plane::Network> = desired
        .networks
        .values()
        .filter_map(|network| {
            let transit = transits.get(&network.vni)?;
            Some((network.vni, empty_network(host, network, *transit)))
        })
        .collect();
    let homes = homes(desired);
    place_members(desired, &mut networks);
    place_endpoints(desired, host.number, &homes, &mut networks);
    Ok(HostNetwork { number: host.number, underlay, networks })
}

fn empty_network(host: &Host, network: &Network, transit: Transit) -> plane::Network {
    plane::Network {
        vni: network.vni,
        cidr: network.cidr,
        gateway: network.gateway,
        gateway_mac: mac(gateway_mac(network.vni)),
        mtu: network.mtu,
        router_ip: router_ip(host.number),
        router_mac: mac(router_mac(host.number)),
        transit,
        root_route: network.default,
        intercept_dns: network.intercept_dns,
        local: BTreeSet::new(),
        remote: BTreeSet::new(),
        members: BTreeSet::new(),
    }
}

/// Where other hosts are reached, by network and host number.
fn homes(desired: &Desired) -> BTreeMap<(u32, u16), IpAddr> {
    desired.members.iter().map(|member| ((member.vni, member.host), member.address)).collect()
}

fn place_members(desired: &Desired, networks: &mut BTreeMap<u32, plane::Network>) {
    for member in &desired.members {
        if let Some(network) = networks.get_mut(&member.vni) {
            network.members.insert(Remote {
                ip: router_ip(member.host),
                mac: mac(router_mac(member.host)),
                vtep: member.address,
            });
        }
    }
}

fn place_endpoints(
    desired: &Desired,
    own: u16,
    homes: &BTreeMap<(u32, u16), IpAddr>,
    networks: &mut BTreeMap<u32, plane::Network>,
) {
    let reserved: BTreeSet<(u32, Ipv4Addr)> = desired
        .reserves
        .values()
        .flat_map(|reserve| reserve.addresses.iter().map(|granted| (reserve.vni, granted.ip)))
        .collect();
    for endpoint in desired.endpoints.values() {
        let Some(network) = networks.get_mut(&endpoint.vni) else { continue };
        let (ip, mac) = (endpoint.ip, mac(endpoint.mac));
        if endpoint.host == own {
            // Containers that agentd makes get the gateway as their resolver when they are made;
            // only hand-run ones ask somebody else.
            let intercept_dns = reserved.contains(&(endpoint.vni, ip));
            network.local.insert(Local { ip, mac, intercept_dns });
        } else if let Some(vtep) = homes.get(&(endpoint.vni, endpoint.host)) {
            network.remote.insert(Remote { ip, mac, vtep: *vtep });
        }
        // An endpoint of a host that is no member yet has nowhere to be sent to; the member's item
        // comes with a later generation.
    }
}

fn mac(mac: api::mac::Mac) -> Mac {
    Mac(mac.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::networks::fixture::{GUEST, RESERVED, VNI, desired};

    fn translate(desired: &Desired) -> Result<HostNetwork, UntranslatedError> {
        let transit = Transit {
            root: Ipv4Addr::new(169, 254, 64, 0),
            inside: Ipv4Addr::new(169, 254, 64, 1),
        };
        host_network(desired, &[(VNI, transit)].into(), &[Overlay::Vxlan])
    }

    #[test]
    fn endpoints_are_local_or_have_a_way() {
        let plane = translate(&desired()).unwrap();
        let network = &plane.networks[&VNI];
        let locals: Vec<_> = network.local.iter().map(|l| (l.ip, l.intercept_dns)).collect();
        assert_eq!(locals, [(GUEST, false), (RESERVED, true)]);
        let vtep: IpAddr = "192.0.2.2".parse().unwrap();
        let remotes: Vec<_> = network.remote.iter().map(|r| (r.ip, r.vtep)).collect();
        assert_eq!(remotes, [(Ipv4Addr::new(10, 42, 0, 9), vtep)], "host 3 is no member yet");
        let members: Vec<_> = network.members.iter().map(|m| (m.ip, m.vtep)).collect();
        assert_eq!(members, [(Ipv4Addr::new(198, 18, 0, 2), vtep)]);
        assert_eq!(network.router_ip, Ipv4Addr::new(198, 18, 0, 1));
        assert_eq!(plane.underlay.local, "192.0.2.1".parse::<IpAddr>().unwrap());
        assert!(network.root_route);
    }

    #[test]
    fn an_overlay_must_be_had_and_agreed_to() {
        let mut wish = desired();
        wish.host.as_mut().unwrap().overlay = Overlay::Ipsec;
        assert_eq!(translate(&wish), Err(UntranslatedError::Overlay));
        let refused = host_network(&desired(), &BTreeMap::new(), &[Overlay::Ipsec]);
        assert_eq!(refused, Err(UntranslatedError::NotAllowed { overlay: Overlay::Vxlan }));
        wish = desired();
        wish.host.as_mut().unwrap().address = None;
        assert_eq!(translate(&wish), Err(UntranslatedError::NoAddress));
        assert_eq!(translate(&Desired::default()), Err(UntranslatedError::NoHost));
    }
}
