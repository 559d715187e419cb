//! What the servers of a network answer from, made from the desired state and from what was found.

use crate::desired::Desired;
use api::derive::default_hostname;
use api::item::{Endpoint, Network};
use api::report::Adopted;
use ipnet::Ipv4Net;
use netlib::mac::Mac;
use netlib::{dhcp, dns};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Names under the domain of EC2's classic network answer too; old scripts know no other.
const ALIAS_DOMAIN: &str = "compute.internal";
const DNS_PORT: u16 = 53;
/// The metadata service's address.
pub const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
/// Link addresses: off-link for every guest, so they go to the gateway.
const LINKS: Ipv4Addr = Ipv4Addr::new(198, 19, 0, 0);
/// The longest label that DNS allows.
const LABEL: usize = 63;

/// What views are made from.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// What this host should be.
    pub desired: &'a Desired,
    /// Hand-run containers.
    pub adopted: &'a [Adopted],
    /// The host's own resolvers.
    pub resolvers: &'a [SocketAddr],
}

/// A network whose domain is no domain.
#[derive(Debug, thiserror::Error)]
#[error("cannot serve names of network {network}")]
pub struct NamesError {
    network: String,
    #[source]
    source: dns::DomainError,
}

/// The endpoints of one network.
pub fn endpoints(desired: &Desired, vni: u32) -> impl Iterator<Item = &Endpoint> {
    let all = (vni, Ipv4Addr::UNSPECIFIED)..=(vni, Ipv4Addr::BROADCAST);
    desired.endpoints.range(all).map(|(_, endpoint)| endpoint)
}

/// What DHCP answers from: the network's settings, and its guests on this host.
pub fn dhcp_view(network: &Network, desired: &Desired) -> dhcp::View {
    let host_route = |ip| Ipv4Net::new_assert(ip, 32);
    let mut view = dhcp::View::new(dhcp::Settings {
        gateway: network.gateway,
        cidr: network.cidr,
        dns: vec![network.gateway],
        mtu: u16::try_from(network.mtu).unwrap_or(u16::MAX),
        domain: network.domain.clone(),
        routes: vec![host_route(METADATA), Ipv4Net::new_assert(LINKS, 16)],
    });
    let own = desired.host.as_ref().map(|host| host.number);
    for endpoint in endpoints(desired, network.vni).filter(|it| Some(it.host) == own) {
        let hostname = endpoint.names.first().cloned();
        let hostname = hostname.unwrap_or_else(|| default_hostname(endpoint.ip));
        view.insert(Mac(endpoint.mac.0), dhcp::Lease { ip: endpoint.ip, hostname });
    }
    view
}

/// The names of every address of a network. Addresses that are only granted have none until a
/// container was started with one.
fn names<'a>(network: &Network, inputs: &Inputs<'a>) -> BTreeMap<Ipv4Addr, Vec<&'a str>> {
    let reserve = inputs.desired.reserves.get(&network.vni);
    let granted = reserve.iter().flat_map(|reserve| &reserve.addresses);
    let granted: Vec<Ipv4Addr> = granted.map(|granted| granted.ip).collect();
    let mut names: BTreeMap<Ipv4Addr, Vec<&str>> = endpoints(inputs.desired, network.vni)
        .filter(|endpoint| !endpoint.names.is_empty() || !granted.contains(&endpoint.ip))
        .map(|endpoint| (endpoint.ip, endpoint.names.iter().map(String::as_str).collect()))
        .collect();
    let adopted = inputs.adopted.iter();
    for container in adopted.filter(|it| it.vni == network.vni && it.running) {
        let held = names.entry(container.ip).or_default();
        let name = container.name.as_str();
        if is_label(name) && !held.iter().any(|held| held.eq_ignore_ascii_case(name)) {
            held.push(name);
        }
    }
    names
}

/// Docker allows names that DNS does not, `a_b` and `a.b` among them.
fn is_label(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    !name.is_empty()
        && name.len() <= LABEL
        && name.bytes().all(plain)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// What DNS answers from, and which addresses it knows.
#[derive(Clone, Debug)]
pub struct NameView {
    /// What the server reads.
    pub view: dns::View,
    known: Vec<Ipv4Addr>,
}

impl NameView {
    /// A view of all names of a network.
    pub fn new(network: &Network, inputs: &Inputs<'_>) -> Result<Self, NamesError> {
        let view = dns::View::new(&zone(network, inputs)).map_err(failed(network))?;
        Self { view, known: Vec::new() }.with_names(network, inputs)
    }

    /// The view after a change; what did not change is shared with the former one.
    pub fn updated(&self, network: &Network, inputs: &Inputs<'_>) -> Result<Self, NamesError> {
        let mut next = self.clone();
        next.view.set_zone(&zone(network, inputs)).map_err(failed(network))?;
        next.with_names(network, inputs)
    }

    fn with_names(mut self, network: &Network, inputs: &Inputs<'_>) -> Result<Self, NamesError> {
        let names = names(network, inputs);
        for ip in self.known.iter().filter(|ip| !names.contains_key(ip)) {
            self.view.remove(*ip);
        }
        for (ip, labels) in &names {
            self.view.insert(*ip, labels);
        }
        self.known = names.into_keys().collect();
        Ok(self)
    }
}

fn failed(network: &Network) -> impl FnOnce(dns::DomainError) -> NamesError {
    let network = network.name.clone();
    move |source| NamesError { network, source }
}

fn zone(network: &Network, inputs: &Inputs<'_>) -> dns::Zone {
    let mut domains = vec![network.domain.clone()];
    if network.domain != ALIAS_DOMAIN {
        domains.push(ALIAS_DOMAIN.into());
    }
    let asked = |ip: &IpAddr| SocketAddr::from((*ip, DNS_PORT));
    let upstreams = match network.dns.is_empty() {
        true => inputs.resolvers.to_vec(),
        false => network.dns.iter().map(asked).collect(),
    };
    dns::Zone { domains, cidr: network.cidr, upstreams }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::networks::fixture::{GUEST, RESERVED, VNI, desired};

    fn adopted(name: &str, running: bool) -> Adopted {
        Adopted {
            docker_id: "d".into(),
            name: name.into(),
            image: "i".into(),
            vni: VNI,
            ip: RESERVED,
            mac: api::derive::guest_mac([2, 0, 1], RESERVED),
            running,
        }
    }

    #[test]
    fn dhcp_knows_this_hosts_guests_only() {
        let desired = desired();
        let view = dhcp_view(&desired.networks[&VNI], &desired);
        assert_eq!(view.len(), 2);
        let mac = Mac(desired.endpoints[&(VNI, GUEST)].mac.0);
        assert_eq!(view.lease(mac).unwrap().hostname, "web");
        assert_eq!(view.settings().mtu, 1400);
    }

    #[test]
    fn a_granted_address_has_a_name_while_a_container_runs_there() {
        let desired = desired();
        let network = &desired.networks[&VNI];
        let with = |adopted: &[Adopted]| {
            let inputs = Inputs { desired: &desired, adopted, resolvers: &[] };
            names(network, &inputs).get(&RESERVED).map(|names| names.join(","))
        };
        assert_eq!(with(&[]), None);
        assert_eq!(with(&[adopted("hand", false)]), None);
        assert_eq!(with(&[adopted("hand", true)]).as_deref(), Some("hand"));
        assert_eq!(with(&[adopted("a_b", true)]).as_deref(), Some(""), "known by address only");
    }

    #[test]
    fn names_come_and_go_and_all_hosts_count() {
        let whole = desired();
        let mut less = desired();
        less.endpoints.remove(&(VNI, GUEST));
        let network = &whole.networks[&VNI];
        let resolvers = ["192.0.2.53:53".parse().unwrap()];
        let inputs = |desired| Inputs { desired, adopted: &[], resolvers: &resolvers };
        let first = NameView::new(network, &inputs(&whole)).unwrap();
        assert_eq!(first.view.len(), 3, "the guest here and two elsewhere");
        assert_eq!(first.view.upstreams().as_ref(), resolvers);
        let second = first.updated(network, &inputs(&less)).unwrap();
        assert_eq!(second.view.len(), 2);
        assert_eq!(second.view, NameView::new(network, &inputs(&less)).unwrap().view);
    }

    #[test]
    fn a_network_may_have_resolvers_of_its_own() {
        let mut desired = desired();
        desired.networks.get_mut(&VNI).unwrap().dns = vec!["192.0.2.99".parse().unwrap()];
        let inputs = Inputs {
            desired: &desired,
            adopted: &[],
            resolvers: &["192.0.2.53:53".parse().unwrap()],
        };
        let zone = zone(&desired.networks[&VNI], &inputs);
        assert_eq!(zone.upstreams, ["192.0.2.99:53".parse().unwrap()]);
        assert_eq!(zone.domains, ["stampede.internal", "compute.internal"]);
    }
}
