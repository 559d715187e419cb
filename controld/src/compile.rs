//! From rows to items: what each host is told, as a pure function of the world.
//!
//! The world is cut into units, and each unit's items depend on few rows, so that a change of a row
//! means compiling a few units again. Scopes decide who gets an item.

use crate::model::{Address, Body, Guest, Host, Instance, Network, Row, Want};
use crate::world::World;
use api::derive::default_hostname;
use api::item::{self, Granted, Meaning, Overlay};
use api::snapshot::Item;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

/// Who gets an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// One host.
    Host(i64),
    /// Every host that is a member of the network.
    Network(i64),
}

/// What is compiled in one go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Unit {
    /// The host itself.
    Host(i64),
    /// A network with its subnet.
    Network(i64),
    /// The membership of a host (second) in a network (first).
    Member(i64, i64),
    /// An instance with its endpoints.
    Instance(i64),
    /// The addresses of a network (second) granted to a host (first).
    Reserve(i64, i64),
}

/// The units that depend on a row, before or after its change.
pub fn units_of(world: &World, row: &Row, units: &mut BTreeSet<Unit>) {
    match &row.body {
        Body::Host(_) => {
            units.insert(Unit::Host(row.id));
            if let Some(default) = world.default_network() {
                units.insert(Unit::Member(default.id, row.id));
            }
            units.extend(world.on_host(row.id).map(|instance| Unit::Instance(instance.id)));
            let granted = world.presence().networks_granted(row.id);
            units.extend(granted.map(|network| Unit::Reserve(row.id, network)));
        }
        Body::Network(_) => {
            units.insert(Unit::Network(row.id));
            units.extend(world.presence().hosts(row.id).map(|host| Unit::Member(row.id, host)));
        }
        Body::Subnet(subnet) => {
            units.insert(Unit::Network(subnet.network));
        }
        Body::Nic(nic) => {
            units.insert(Unit::Instance(nic.instance));
        }
        Body::Address(address) => {
            let nic = address.nic.and_then(|nic| world.row(nic)).and_then(|row| row.nic());
            units.extend(nic.map(|nic| Unit::Instance(nic.instance)));
            units.extend(address.granted.map(|host| Unit::Reserve(host, address.network)));
            units.extend(address.host.map(|host| Unit::Member(address.network, host)));
        }
        Body::Instance(_) => {
            units.insert(Unit::Instance(row.id));
        }
        Body::Account(_) | Body::RegistrationToken(_) | Body::Image(_) | Body::SshKey(_) => {}
    }
}

/// What one unit compiles to.
#[derive(Debug, Default)]
pub struct Output {
    /// Items and who gets them.
    pub items: Vec<(Scope, Item)>,
    /// For [`Unit::Member`]: whether the host gets the network's scope.
    pub member: bool,
}

impl Output {
    fn put(&mut self, scope: Scope, meaning: &Meaning, endpoint: i64) {
        match meaning.write(endpoint.unsigned_abs()) {
            Ok(Some(item)) => self.items.push((scope, item)),
            Ok(None) => {}
            Err(error) => tracing::error!(%error, ?scope, "item not written"),
        }
    }
}

/// Compiles one unit.
#[must_use]
pub fn compile(world: &World, unit: Unit, overlay: Overlay) -> Output {
    let mut output = Output::default();
    match unit {
        Unit::Host(id) => host(world, id, overlay, &mut output),
        Unit::Network(id) => network(world, id, &mut output),
        Unit::Member(network, host) => member(world, network, host, &mut output),
        Unit::Instance(id) => instance(world, id, &mut output),
        Unit::Reserve(host, network) => reserve(world, host, network, &mut output),
    }
    output
}

/// A host that is still part of the cloud.
fn living_host(world: &World, id: i64) -> Option<(&Row, &Host)> {
    let row = world.row(id).filter(|row| row.removed.is_none())?;
    row.host().filter(|host| !host.fenced).map(|host| (&**row, host))
}

fn host(world: &World, id: i64, overlay: Overlay, output: &mut Output) {
    let Some((row, host)) = living_host(world, id) else { return };
    let meaning = Meaning::Host(item::Host {
        id: row.public_id(),
        uuid: row.uuid.clone(),
        number: host.number,
        overlay,
        address: host.facts.address,
        fenced: host.fenced,
    });
    output.put(Scope::Host(id), &meaning, 0);
}

/// A managed network that is not removed, with its VNI and its subnet.
fn managed(world: &World, id: i64) -> Option<(&Row, &Network, u32, &Row)> {
    let row = world.row(id).filter(|row| row.removed.is_none())?;
    let network = row.network()?;
    let subnet = world.subnets_of(id).next()?;
    Some((&**row, network, network.vni?, &**subnet))
}

fn network(world: &World, id: i64, output: &mut Output) {
    let Some((row, network, vni, subnet)) = managed(world, id) else { return };
    let Some(subnet) = subnet.subnet() else { return };
    let Ok(cidr) = ipnet::Ipv4Net::new(subnet.network_address, subnet.cidr_size) else { return };
    let meaning = Meaning::Network(item::Network {
        vni,
        id: row.public_id(),
        uuid: row.uuid.clone(),
        name: row.name.clone().unwrap_or_else(|| row.public_id()),
        docker: if network.default { "managed".into() } else { format!("st-{}", row.uuid) },
        cidr: cidr.trunc(),
        gateway: subnet.gateway,
        mtu: network.mtu,
        domain: network.domain.clone(),
        dns: network.dns.clone(),
        default: network.default,
        intercept_dns: true,
    });
    output.put(Scope::Network(id), &meaning, 0);
}

fn member(world: &World, network_id: i64, host_id: i64, output: &mut Output) {
    let Some((_, network, vni, _)) = managed(world, network_id) else { return };
    let Some((_, host)) = living_host(world, host_id) else { return };
    let guests = world.presence().of(network_id, host_id).guests;
    output.member = guests > 0 || network.default && host.active;
    if !output.member {
        return;
    }
    if let Some(address) = host.facts.address {
        let meaning = Meaning::Member(item::Member { vni, host: host.number, address });
        output.put(Scope::Network(network_id), &meaning, 0);
    }
}

fn reserve(world: &World, host_id: i64, network_id: i64, output: &mut Output) {
    let Some((_, _, vni, _)) = managed(world, network_id) else { return };
    let Some((_, host)) = living_host(world, host_id) else { return };
    let mut addresses = Vec::new();
    for id in world.presence().granted(host_id, network_id) {
        let Some(address) = world.row(id).and_then(|row| row.address()) else { continue };
        addresses.push(Granted { ip: address.ip, mac: address.mac });
        if address.nic.is_none() {
            let endpoint = endpoint(address, vni, host.number, Vec::new());
            output.put(Scope::Network(network_id), &Meaning::Endpoint(endpoint), id);
        }
    }
    if !addresses.is_empty() {
        let meaning = Meaning::Reserve(item::Reserve { vni, addresses });
        output.put(Scope::Host(host_id), &meaning, 0);
    }
}

fn endpoint(address: &Address, vni: u32, host: u16, names: Vec<String>) -> item::Endpoint {
    item::Endpoint { vni, ip: address.ip, mac: address.mac, host, seq: address.seq, names }
}

fn instance(world: &World, id: i64, output: &mut Output) {
    let Some(row) = world.row(id) else { return };
    let Some(instance) = row.instance() else { return };
    let Some(host_id) = instance.host else { return };
    let Some((_, host)) = living_host(world, host_id) else { return };
    let nics = interfaces(world, instance);
    if instance.is_wanted() {
        for nic in &nics {
            let Some((address_id, address, vni)) = nic.managed else { continue };
            let mut names = vec![hostname(row, instance, Some(address.ip))];
            names.extend(row.name.as_deref().and_then(label).filter(|name| *name != names[0]));
            let endpoint = endpoint(address, vni, host.number, names);
            let scope = Scope::Network(address.network);
            output.put(scope, &Meaning::Endpoint(endpoint), address_id);
        }
    }
    if instance.external {
        return;
    }
    let meaning = match instance.want {
        Want::Purged => return,
        Want::Removed => Meaning::Retained(item::Retained { uuid: instance.guest_uuid.clone() }),
        Want::Running | Want::Stopped => {
            guest_item(row, instance, guest(world, row, instance, &nics))
        }
    };
    output.put(Scope::Host(host_id), &meaning, 0);
}

/// A network interface with what its address is known by.
struct Interface<'a> {
    id: String,
    device: u32,
    network: Option<&'a Network>,
    managed: Option<(i64, &'a Address, u32)>,
}

fn interfaces<'a>(world: &'a World, instance: &Instance) -> Vec<Interface<'a>> {
    let mut interfaces = Vec::new();
    for row in instance.nics.iter().filter_map(|id| world.row(*id)) {
        let Some(nic) = row.nic() else { continue };
        let network = world.row(nic.network).and_then(|row| row.network());
        let address = nic.address.and_then(|id| Some((id, world.row(id)?.address()?)));
        interfaces.push(Interface {
            id: row.public_id(),
            device: nic.device,
            network,
            managed: address
                .zip(network.and_then(|network| network.vni))
                .map(|((id, address), vni)| (id, address, vni)),
        });
    }
    interfaces
}

/// The host name of an instance, a single label.
#[must_use]
pub fn hostname(row: &Row, instance: &Instance, ip: Option<Ipv4Addr>) -> String {
    instance
        .hostname
        .as_deref()
        .and_then(label)
        .or_else(|| row.name.as_deref().and_then(label))
        .or_else(|| ip.map(default_hostname))
        .unwrap_or_else(|| row.public_id())
}

/// A name as a DNS label (RFC 1123), if there is anything left of it: lower case, other characters
/// as hyphens, the first label of a longer name.
fn label(name: &str) -> Option<String> {
    let label: String = name
        .split('.')
        .next()?
        .chars()
        .take(63)
        .map(
            |letter| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '-' },
        )
        .collect();
    let label = label.trim_matches('-');
    (!label.is_empty()).then(|| label.to_owned())
}

fn guest(world: &World, row: &Row, instance: &Instance, nics: &[Interface<'_>]) -> item::Guest {
    let ip = nics.first().and_then(|nic| nic.managed).map(|(_, address, _)| address.ip);
    let domain = nics.iter().find_map(|nic| nic.network).map(|network| network.domain.clone());
    item::Guest {
        id: row.public_id(),
        uuid: instance.guest_uuid.clone(),
        name: row.name.clone(),
        hostname: hostname(row, instance, ip),
        domain: domain.unwrap_or_default(),
        want: match instance.want {
            Want::Running => item::Want::Running,
            _ => item::Want::Stopped,
        },
        epoch: instance.run_epoch,
        stop_timeout: instance.stop_timeout,
        nics: nics.iter().map(nic_item).collect(),
        public_keys: instance.public_keys.clone(),
        userdata: instance.userdata.as_ref().map(encode),
        image: instance.image_uuid.clone(),
        memory_mb: instance.memory_mb,
        vcpu: instance.vcpu,
        restart: instance.restart,
        account: world.row(row.account).map(|row| row.uuid.clone()).unwrap_or_default(),
    }
}

fn encode(text: &api::secret::Secret) -> api::secret::Secret {
    use base64::Engine as _;
    let engine = base64::engine::general_purpose::STANDARD;
    api::secret::Secret::new(engine.encode(text.expose()))
}

fn nic_item(nic: &Interface<'_>) -> item::Nic {
    item::Nic {
        id: nic.id.clone(),
        device: nic.device,
        attachment: match nic.managed {
            Some((_, address, vni)) => {
                item::Attachment::Managed { vni, ip: address.ip, mac: address.mac }
            }
            None => item::Attachment::Unmanaged { unmanaged: true },
        },
    }
}

fn guest_item(row: &Row, instance: &Instance, guest: item::Guest) -> Meaning {
    match &instance.guest {
        Guest::Container(container) => Meaning::Container(Box::new(item::Container {
            guest,
            reference: container.reference.clone(),
            command: container.command.iter().chain(&container.command_args).cloned().collect(),
            entry_point: container.entry_point.clone(),
            environment: container.environment.clone(),
            directory: container.directory.clone(),
            user: container.user.clone(),
            labels: container.labels.clone(),
            volumes: container.volumes.iter().map(|volume| scoped(row.account, volume)).collect(),
            privileged: container.privileged,
            cpu_shares: container.cpu_shares,
            dns_search: container.dns_search.clone(),
        })),
        Guest::Machine(machine) => Meaning::Machine(Box::new(item::Machine {
            guest,
            disk: machine.disk.clone(),
            presentation: machine.presentation,
        })),
    }
}

/// A named volume belongs to its account; a path of the host is what it is.
fn scoped(account: i64, volume: &str) -> String {
    if volume.starts_with('/') { volume.to_owned() } else { format!("1a{account}_{volume}") }
}

#[cfg(test)]
mod tests {
    use super::{label, scoped};

    #[test]
    fn equal_names_of_volumes_of_two_accounts_are_two_volumes() {
        assert_eq!(scoped(1, "data:/data:ro"), "1a1_data:/data:ro");
        assert_ne!(scoped(1, "data:/data"), scoped(2, "data:/data"));
        assert_eq!(scoped(1, "/srv:/data"), "/srv:/data");
    }

    #[test]
    fn names_become_labels() {
        assert_eq!(label("Web_1.example.org").as_deref(), Some("web-1"));
        assert_eq!(label("--"), None);
        assert_eq!(label("grün").as_deref(), Some("gr-n"));
        assert!(label(&"x".repeat(200)).is_some_and(|label| label.len() == 63));
    }
}
