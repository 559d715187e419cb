//! From rows and reports to what the API shows.

use crate::clock;
use crate::core::{Fields, View};
use crate::model::{Address, Body, Guest, Host, Image, Instance, Network, Nic, Row, Subnet, Want};
use crate::observed::{Liveness, Seen};
use crate::placement;
use crate::shared::State;
use crate::view::{self, Basis, Transitioning};
use api::item::Restart;
use api::report::Phase;
use serde_json::{Value, json};

/// A row as the API shows it.
#[must_use]
pub fn show(state: &State, row: &Row) -> View {
    let mut fields = common(state, row);
    let mut actions = Vec::new();
    match &row.body {
        Body::Account(account) => {
            put(&mut fields, "kind", account.kind.as_str());
            put(&mut fields, "externalId", account.external_id.clone());
            put(&mut fields, "externalIdType", account.external_id_type.clone());
            put(&mut fields, "defaultNetworkIds", ids(state, &account.default_networks));
            put(&mut fields, "defaultCredentialIds", ids(state, &account.default_credentials));
            put(&mut fields, "trustedFields", json!(account.trusted));
        }
        Body::Host(host) => actions = self::host(state, row, host, &mut fields),
        Body::RegistrationToken(token) => {
            let now = clock::now();
            let over = token.expires.is_some_and(|expires| expires <= now);
            let used_up = token.uses.is_some_and(|uses| token.used >= uses);
            actions = activity(&mut fields, row, !token.revoked && !over && !used_up);
            put(&mut fields, "expires", token.expires.map(clock::text));
        }
        Body::SshKey(key) => put(&mut fields, "publicValue", key.public_value.as_str()),
        Body::Network(network) => actions = self::network(row, network, &mut fields),
        Body::Subnet(subnet) => actions = self::subnet(state, row, subnet, &mut fields),
        Body::Nic(nic) => self::nic(state, nic, &mut fields),
        Body::Address(address) => self::address(state, address, &mut fields),
        Body::Image(image) => self::image(image, &mut fields),
        Body::Instance(instance) => actions = self::instance(state, row, instance, &mut fields),
    }
    View { kind: row.body.kind(), id: row.public_id(), fields, actions, generation: row.generation }
}

fn put(fields: &mut Fields, name: &str, value: impl Into<Value>) {
    fields.insert(name.to_owned(), value.into());
}

/// The public id of a row, if there is one of that number.
fn id(state: &State, number: Option<i64>) -> Value {
    number.and_then(|number| state.world.row(number)).map(|row| row.public_id()).into()
}

fn ids(state: &State, numbers: &[i64]) -> Value {
    if numbers.is_empty() {
        return Value::Null;
    }
    numbers.iter().map(|number| id(state, Some(*number))).collect()
}

/// Fields that a row shows by itself, so that lists can be narrowed by them without their views.
pub const LIGHT: &[&str] = &["uuid", "name", "accountId", "created", "removed"];

/// One of the fields that a row shows by itself.
#[must_use]
pub fn light(state: &State, row: &Row, name: &str) -> Value {
    match name {
        "uuid" => row.uuid.as_str().into(),
        "name" => row.name.clone().into(),
        "accountId" => id(state, Some(row.account)),
        "created" => clock::text(row.created).into(),
        "removed" => row.removed.map(clock::text).into(),
        _ => Value::Null,
    }
}

fn common(state: &State, row: &Row) -> Fields {
    let mut fields = Fields::new();
    for name in LIGHT {
        put(&mut fields, name, light(state, row, name));
    }
    put(&mut fields, "kind", row.body.kind());
    put(&mut fields, "description", row.description.clone());
    put(&mut fields, "state", if row.removed.is_some() { "removed" } else { "active" });
    put(&mut fields, "transitioning", Transitioning::No.word());
    put(&mut fields, "data", row.data.clone());
    fields
}

/// The state of what is simply switched on and off, and the switch.
fn activity(fields: &mut Fields, row: &Row, active: bool) -> Vec<&'static str> {
    if row.removed.is_some() {
        return Vec::new();
    }
    put(fields, "state", if active { "active" } else { "inactive" });
    vec![if active { "deactivate" } else { "activate" }]
}

fn host(state: &State, row: &Row, host: &Host, fields: &mut Fields) -> Vec<&'static str> {
    put(fields, "hostname", host.hostname.as_str());
    put(fields, "version", host.facts.version.as_str());
    put(fields, "number", host.number);
    put(fields, "agentState", state.liveness(row).word());
    put(fields, "lastSeen", state.observed.last_heard(row.id).map(clock::text));
    put(fields, "address", host.facts.address.map(|address| address.to_string()));
    put(fields, "cpus", host.facts.cpus);
    put(fields, "memoryMb", host.facts.memory_mb);
    put(fields, "simulated", host.simulated);
    let capabilities: Fields = host
        .facts
        .capabilities
        .iter()
        .map(|(name, ok)| (name.clone(), json!({ "ok": ok })))
        .collect();
    put(fields, "capabilities", capabilities);
    if let Some(report) = state.observed.report(row.id) {
        let facts = &report.facts;
        put(fields, "memoryFreeMb", facts.memory_free_mb);
        put(fields, "capabilities", json!(facts.capabilities));
        put(fields, "conditions", json!(facts.conditions));
        put(fields, "errors", json!(report.errors));
        put(fields, "addresses", json!(facts.addresses));
    }
    if host.fenced {
        put(fields, "state", "inactive");
        put(fields, "transitioningMessage", "fenced: out of the cloud until it is removed");
        return Vec::new();
    }
    let mut actions = activity(fields, row, host.active);
    if row.removed.is_none() {
        actions.push("fence");
    }
    actions
}

fn network(row: &Row, network: &Network, fields: &mut Fields) -> Vec<&'static str> {
    let [a, b, c] = network.mac_prefix;
    put(fields, "isPublic", network.is_public);
    put(fields, "domain", network.domain.as_str());
    put(fields, "macPrefix", format!("{a:02x}:{b:02x}:{c:02x}"));
    put(fields, "mtu", network.mtu);
    put(fields, "vni", network.vni);
    activity(fields, row, network.active)
}

fn subnet(state: &State, row: &Row, subnet: &Subnet, fields: &mut Fields) -> Vec<&'static str> {
    put(fields, "networkId", id(state, Some(subnet.network)));
    put(fields, "networkAddress", subnet.network_address.to_string());
    put(fields, "cidrSize", subnet.cidr_size);
    put(fields, "startAddress", subnet.start_address.to_string());
    put(fields, "endAddress", subnet.end_address.to_string());
    put(fields, "gateway", subnet.gateway.to_string());
    put(fields, "isPublic", subnet.is_public);
    activity(fields, row, subnet.active)
}

fn nic(state: &State, nic: &Nic, fields: &mut Fields) {
    put(fields, "instanceId", id(state, Some(nic.instance)));
    put(fields, "networkId", id(state, Some(nic.network)));
    put(fields, "subnetId", id(state, nic.subnet));
    put(fields, "deviceNumber", nic.device);
    let address = nic.address.and_then(|id| state.world.row(id)?.address());
    put(fields, "macAddress", address.map(|address| address.mac.to_string()));
}

fn address(state: &State, address: &Address, fields: &mut Fields) {
    let nic = address.nic.and_then(|nic| state.world.row(nic)?.nic());
    put(fields, "address", address.ip.to_string());
    put(fields, "networkId", id(state, Some(address.network)));
    put(fields, "subnetId", id(state, Some(address.subnet)));
    put(fields, "nicId", id(state, address.nic));
    put(fields, "instanceId", id(state, nic.map(|nic| nic.instance)));
    put(fields, "hostId", id(state, address.host));
    put(fields, "isPublic", false);
    let role = match nic {
        Some(nic) if nic.device == 0 => "primary",
        Some(_) => "secondary",
        None => "reserve",
    };
    put(fields, "role", role);
    if address.rests_until.is_some() {
        put(fields, "state", "inactive");
        put(fields, "role", Value::Null);
    }
    let owner = nic.and_then(|nic| state.world.row(nic.instance));
    let hostname = owner
        .and_then(|row| Some(crate::compile::hostname(row, row.instance()?, Some(address.ip))));
    put(fields, "hostname", hostname);
}

fn image(image: &Image, fields: &mut Fields) {
    put(fields, "url", image.url.as_str());
    put(fields, "checksum", image.checksum.clone());
    put(fields, "isPublic", image.is_public);
    put(fields, "format", image.format.clone());
    put(fields, "instanceKind", image.instance_kind.as_str());
}

fn instance(
    state: &State,
    row: &Row,
    instance: &Instance,
    fields: &mut Fields,
) -> Vec<&'static str> {
    let seen = state.seen(instance);
    let basis = Basis::of(instance, seen.as_ref());
    let (word, transitioning) = view::view(&basis);
    put(fields, "state", word);
    put(fields, "transitioning", transitioning.word());
    put(fields, "transitioningMessage", message(state, instance, seen.as_ref(), transitioning));
    if transitioning == Transitioning::Yes {
        put(fields, "transitioningProgress", seen.as_ref().and_then(|seen| seen.progress));
    }
    placement_of(state, instance, fields);
    put(fields, "imageUuid", instance.image_uuid.as_str());
    put(fields, "hostname", instance.hostname.clone());
    put(fields, "memoryMb", instance.memory_mb);
    put(fields, "vcpu", instance.vcpu);
    put(fields, "userdata", instance.userdata.as_ref().map(|secret| secret.expose().to_owned()));
    put(fields, "startOnCreate", instance.run_epoch > 0);
    put(fields, "instanceTriggeredStop", instance.triggered_stop.as_deref().unwrap_or("stop"));
    put(fields, "external", instance.external);
    put(fields, "removeTime", instance.purge_at.map(clock::text));
    match &instance.guest {
        Guest::Container(_) => container(instance, fields),
        Guest::Machine(machine) => {
            put(fields, "imageId", id(state, Some(machine.image)));
            put(fields, "presentation", json!(machine.presentation));
        }
    }
    if row.removed.is_some() && instance.is_wanted() {
        return Vec::new();
    }
    view::actions(&basis)
}

fn placement_of(state: &State, instance: &Instance, fields: &mut Fields) {
    put(fields, "hostId", id(state, instance.host));
    put(fields, "requestedHostId", id(state, instance.requested_host));
    let nic = instance.nics.first().and_then(|nic| state.world.row(*nic)?.nic());
    let address = nic.and_then(|nic| state.world.row(nic.address?)?.address());
    put(fields, "primaryIpAddress", address.map(|address| address.ip.to_string()));
    let network = nic.and_then(|nic| state.world.row(nic.network)?.network());
    put(fields, "domain", network.map(|network| network.domain.clone()));
}

fn container(instance: &Instance, fields: &mut Fields) {
    let Guest::Container(container) = &instance.guest else { return };
    let environment: Fields = container
        .environment
        .iter()
        .map(|(name, value)| (name.clone(), value.expose().into()))
        .collect();
    put(fields, "command", container.command.clone());
    put(fields, "commandArgs", container.command_args.clone());
    put(fields, "entryPoint", container.entry_point.clone());
    put(fields, "environment", environment);
    put(fields, "directory", container.directory.clone());
    put(fields, "user", container.user.clone());
    put(fields, "labels", json!(container.labels));
    put(fields, "dockerVolumes", container.volumes.clone());
    put(fields, "privileged", container.privileged);
    put(fields, "cpuShares", container.cpu_shares);
    put(fields, "dnsSearch", container.dns_search.clone());
    let policy = match instance.restart {
        Restart::Stop => json!({ "name": "no", "maximumRetryCount": 0 }),
        Restart::Always => json!({ "name": "always", "maximumRetryCount": 0 }),
        Restart::OnFailure { maximum } => {
            json!({ "name": "on-failure", "maximumRetryCount": maximum })
        }
    };
    put(fields, "restartPolicy", policy);
}

/// What to tell people: why it failed, or what it is waiting for.
fn message(
    state: &State,
    instance: &Instance,
    seen: Option<&Seen>,
    transitioning: Transitioning,
) -> Option<String> {
    if let Some(verdict) = &instance.verdict {
        return Some(verdict.message.clone());
    }
    if transitioning != Transitioning::Yes {
        return seen
            .filter(|seen| seen.phase == Phase::Exited && instance.want != Want::Removed)
            .and_then(|seen| Some(format!("exited with status {}", seen.exit?)));
    }
    let Some(host) = instance.host.and_then(|host| state.world.row(host)) else {
        let candidates =
            placement::candidates(&state.world, instance, |host| state.observed.liveness(host));
        return placement::choose(&placement::need(instance), &candidates).err();
    };
    if host.host().is_some_and(|host| host.fenced) {
        let id = host.public_id();
        return Some(format!(
            "host {id} was taken out of the cloud: remove and purge, create anew"
        ));
    }
    if state.liveness(host) == Liveness::Disconnected {
        return Some(format!("host {} is disconnected", host.public_id()));
    }
    seen.and_then(|seen| seen.message.clone()).or_else(|| Some("In Progress".into()))
}
