//! Creating and updating instances.

use crate::context::Context;
use crate::core::{Caller, Refusal};
use crate::draft::{Draft, NewRow};
use crate::intent::establish::{deadline, establish};
use crate::intent::input::{Input, find, may_see};
use crate::model::{Body, ContainerFields, Guest, Instance, MachineFields, Nic, Row, Via, Want};
use crate::world::World;
use api::item::{DiskImage, Presentation, Restart};
use api::secret::Secret;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Seconds between asking a guest to stop and making it stop.
const STOP_TIMEOUT: u32 = 30;

/// Memory of a machine that names none, in MiB.
const MACHINE_MEMORY: u64 = 256;

/// Creates as many instances as `count` says; returns their numbers.
///
/// # Errors
/// When a reference is wrong, or the uuid exists. Lack of addresses or hosts is no refusal: the
/// instance shows it.
pub fn create(
    draft: &mut Draft<'_>,
    context: &Context,
    caller: &Caller,
    kind: &str,
    input: &Input,
) -> Result<Vec<i64>, Refusal> {
    let count: u32 = input.number("count").unwrap_or(1).max(1);
    if count > 1 && input.has("uuid") {
        return Err(Refusal::invalid(
            "InvalidFormat",
            "uuid",
            "one uuid cannot be that of several instances: leave out uuid or count",
        ));
    }
    let attachments = attachments(draft.world(), caller, input)?;
    let mut ids = Vec::new();
    for _ in 0..count {
        let instance = instance(draft, context, caller, kind, input)?;
        let is_ec2 = is_ec2(&instance);
        let mut row = input.new_row(draft, caller, Body::Instance(Box::new(instance)))?;
        if is_ec2 && row.uuid.is_none() {
            row.uuid = Some(ec2_uuid());
        }
        let account = row.account;
        let id = draft.add(row);
        finish(draft, id, account, &attachments);
        establish(draft, context, id);
        ids.push(id);
    }
    Ok(ids)
}

fn is_ec2(instance: &Instance) -> bool {
    matches!(&instance.guest, Guest::Machine(machine) if machine.presentation == Presentation::Ec2)
}

/// A new uuid by which guests know that their metadata are EC2's.
fn ec2_uuid() -> String {
    let mut uuid = uuid::Uuid::new_v4().to_string();
    uuid.replace_range(..3, "ec2");
    uuid
}

/// Gives a new instance its interfaces and its uuid on hosts.
fn finish(draft: &mut Draft<'_>, id: i64, account: i64, attachments: &[Attachment]) {
    let mut nics = Vec::new();
    for (device, attachment) in (0..).zip(attachments) {
        let nic = Nic {
            instance: id,
            device,
            network: attachment.network,
            subnet: attachment.subnet,
            address: None,
        };
        nics.push(draft.add(NewRow::of(account, Body::Nic(nic))));
    }
    let world = draft.world();
    let uuid = world.row(id).map(|row| row.uuid.clone()).unwrap_or_default();
    // Two accounts may choose one uuid; a host must tell them apart.
    let taken = world.guest(&uuid).is_some_and(|other| other.id != id);
    let other = if uuid.starts_with("ec2") { ec2_uuid() } else { uuid::Uuid::new_v4().to_string() };
    let guest_uuid = if taken { other } else { uuid };
    draft.edit(id, |row| {
        if let Body::Instance(instance) = &mut row.body {
            instance.nics = nics;
            instance.guest_uuid = guest_uuid;
        }
    });
}

fn instance(
    draft: &Draft<'_>,
    context: &Context,
    caller: &Caller,
    kind: &str,
    input: &Input,
) -> Result<Instance, Refusal> {
    let world = draft.world();
    let requested_host = match input.text("requestedHostId") {
        Some(id) => Some(find(world, caller, "host", "requestedHostId", &id)?.id),
        None => None,
    };
    let start = input.flag("startOnCreate").unwrap_or(true);
    let image_uuid = image_uuid(world, caller, input)?;
    let is_machine = kind == "virtualMachine";
    let guest = if is_machine {
        Guest::Machine(machine(world, caller, &image_uuid, input)?)
    } else {
        Guest::Container(container(&image_uuid, input)?)
    };
    Ok(Instance {
        want: if start { Want::Running } else { Want::Stopped },
        via: Via::Create,
        run_epoch: u64::from(start),
        verdict: None,
        since: draft.generation(),
        host: None,
        requested_host,
        guest_uuid: String::new(),
        stop_timeout: STOP_TIMEOUT,
        image_uuid,
        hostname: input.text("hostname"),
        memory_mb: input.number("memoryMb").or(is_machine.then_some(MACHINE_MEMORY)),
        vcpu: input.number("vcpu"),
        userdata: input.text("userdata").map(Secret::new),
        public_keys: public_keys(world, caller, input)?,
        restart: restart(input),
        triggered_stop: input.text("instanceTriggeredStop"),
        nics: Vec::new(),
        purge_at: None,
        place_by: Some(deadline(draft, context)),
        external: false,
        guest,
    })
}

/// The uuid of the image, also when it was named by its id.
fn image_uuid(world: &World, caller: &Caller, input: &Input) -> Result<String, Refusal> {
    if let Some(uuid) = input.text("imageUuid") {
        return Ok(uuid);
    }
    let id = input.text("imageId").ok_or_else(|| {
        Refusal::invalid("MissingRequired", "imageUuid", "an image must be given by imageUuid")
    })?;
    Ok(find(world, caller, "image", "imageId", &id)?.uuid.clone())
}

fn container(image: &str, input: &Input) -> Result<ContainerFields, Refusal> {
    let reference = image.strip_prefix("docker:").filter(|reference| is_reference(reference));
    let Some(reference) = reference else {
        return Err(Refusal::reference(
            "imageUuid",
            format!(
                "{image:?} is no image of containers: write docker:name:tag, for instance docker:nginx:1.25"
            ),
        ));
    };
    let secrets = |map: BTreeMap<String, String>| {
        map.into_iter().map(|(name, value)| (name, Secret::new(value))).collect()
    };
    Ok(ContainerFields {
        reference: reference.to_owned(),
        command: input.text("command"),
        command_args: input.texts("commandArgs").unwrap_or_default(),
        entry_point: input.texts("entryPoint").unwrap_or_default(),
        environment: secrets(input.map("environment")),
        directory: input.text("directory"),
        user: input.text("user"),
        labels: input.map("labels"),
        volumes: input.texts("dockerVolumes").unwrap_or_default(),
        privileged: input.flag("privileged").unwrap_or(false),
        cpu_shares: input.number("cpuShares"),
        dns_search: input.texts("dnsSearch").unwrap_or_default(),
    })
}

/// Whether a text can be an image reference of Docker at all.
fn is_reference(text: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:@".contains(&byte);
    !text.is_empty()
        && text.len() <= 255
        && text.as_bytes()[0].is_ascii_alphanumeric()
        && text.bytes().all(known)
}

fn machine(
    world: &World,
    caller: &Caller,
    uuid: &str,
    input: &Input,
) -> Result<MachineFields, Refusal> {
    let row = image(world, caller, uuid).ok_or_else(|| {
        Refusal::reference(
            "imageUuid",
            format!("there is no image {uuid:?}: create it with its url first, or list images"),
        )
    })?;
    let Body::Image(image) = &row.body else { return Err(Refusal::not_found("image")) };
    Ok(MachineFields {
        image: row.id,
        disk: DiskImage {
            uuid: row.uuid.clone(),
            url: image.url.clone(),
            checksum: image.checksum.clone(),
        },
        presentation: match input.text("presentation").as_deref() {
            Some("ec2") => Presentation::Ec2,
            Some("nocloud") => Presentation::Nocloud,
            Some("none") => Presentation::None,
            _ => Presentation::ConfigDrive,
        },
    })
}

fn image<'a>(world: &'a World, caller: &Caller, uuid: &str) -> Option<&'a Arc<Row>> {
    let usable = |row: &&Arc<Row>| {
        let of_machines =
            matches!(&row.body, Body::Image(image) if image.instance_kind == "virtualMachine");
        of_machines && row.removed.is_none() && may_see(caller, row)
    };
    let own = |row: &&Arc<Row>| row.account == caller.account;
    world.with_uuid(uuid).filter(usable).find(own).or_else(|| world.with_uuid(uuid).find(usable))
}

fn public_keys(
    world: &World,
    caller: &Caller,
    input: &Input,
) -> Result<BTreeMap<String, String>, Refusal> {
    let mut rows: Vec<&Arc<Row>> = Vec::new();
    match input.texts("credentialIds") {
        Some(ids) => {
            for id in ids {
                rows.push(find(world, caller, "sshKey", "credentialIds", &id)?);
            }
        }
        None => {
            let account = world.row(caller.account).and_then(|row| row.account_body());
            let ids = account.map(|account| account.default_credentials.as_slice());
            let rows_of = ids.unwrap_or_default().iter().filter_map(|id| world.row(*id));
            // A key that was taken back opens no new guest.
            rows.extend(rows_of.filter(|row| row.removed.is_none()));
        }
    }
    let mut keys = BTreeMap::new();
    for (number, row) in rows.iter().enumerate() {
        if let Body::SshKey(key) = &row.body {
            let name = row.name.clone().unwrap_or_else(|| format!("sshkey{number}"));
            keys.insert(name, key.public_value.clone());
        }
    }
    Ok(keys)
}

fn restart(input: &Input) -> Restart {
    if let Some(policy) = input.object("restartPolicy") {
        return match policy.text("name").as_deref() {
            Some("always") => Restart::Always,
            Some("on-failure") => {
                Restart::OnFailure { maximum: policy.number("maximumRetryCount").unwrap_or(0) }
            }
            _ => Restart::Stop,
        };
    }
    restart_of(input.text("instanceTriggeredStop").as_deref())
}

/// The policy that the older word means.
fn restart_of(triggered_stop: Option<&str>) -> Restart {
    match triggered_stop {
        Some("restart") => Restart::Always,
        _ => Restart::Stop,
    }
}

/// Where an interface is to be attached.
struct Attachment {
    network: i64,
    subnet: Option<i64>,
}

fn attachments(world: &World, caller: &Caller, input: &Input) -> Result<Vec<Attachment>, Refusal> {
    match (input.texts("networkIds"), input.texts("subnetIds")) {
        (Some(_), Some(_)) => Err(Refusal::invalid(
            "NetworkIdsSubnetIdsMutuallyExclusive",
            "networkIds",
            "networkIds and subnetIds are both given: a subnet names its network, leave one out",
        )),
        (Some(networks), None) => networks
            .iter()
            .map(|id| {
                attach(world, find(world, caller, "network", "networkIds", id)?, "networkIds")
            })
            .collect(),
        (None, Some(subnets)) => subnets
            .iter()
            .map(|id| {
                let row = find(world, caller, "subnet", "subnetIds", id)?;
                let Some(subnet) = row.subnet().filter(|subnet| subnet.active) else {
                    let message = format!("subnet {id} is not active: activate it first");
                    return Err(Refusal::reference("subnetIds", message));
                };
                Ok(Attachment { network: subnet.network, subnet: Some(row.id) })
            })
            .collect(),
        (None, None) => default_attachments(world, caller),
    }
}

fn default_attachments(world: &World, caller: &Caller) -> Result<Vec<Attachment>, Refusal> {
    let account = world.row(caller.account).and_then(|row| row.account_body());
    let own = account.map_or(&[][..], |account| &account.default_networks);
    let living = |row: &&Arc<Row>| row.removed.is_none();
    let mut networks: Vec<_> = own.iter().filter_map(|id| world.row(*id)).filter(living).collect();
    if networks.is_empty() {
        networks.extend(world.default_network());
    }
    networks.into_iter().map(|row| attach(world, row, "networkIds")).collect()
}

/// An interface on a network: on a managed one, in its first active subnet.
fn attach(world: &World, row: &Row, field: &str) -> Result<Attachment, Refusal> {
    let Some(network) = row.network() else { return Err(Refusal::not_found("network")) };
    let id = row.public_id();
    if !network.active {
        return Err(Refusal::reference(
            field,
            format!("network {id} is not active: activate it first"),
        ));
    }
    if !network.managed {
        return Ok(Attachment { network: row.id, subnet: None });
    }
    let subnet = world
        .subnets_of(row.id)
        .find(|row| row.subnet().is_some_and(|subnet| subnet.active))
        .ok_or_else(|| {
            let message = format!("network {id} has no active subnet: create one first");
            Refusal::reference(field, message)
        })?;
    Ok(Attachment { network: row.id, subnet: Some(subnet.id) })
}

/// Updates what of an instance may change while it lives.
pub fn update(draft: &mut Draft<'_>, id: i64, input: &Input) {
    draft.edit(id, |row| {
        input.update_common(row);
        let Body::Instance(instance) = &mut row.body else { return };
        if input.has("userdata") {
            instance.userdata = input.text("userdata").map(Secret::new);
        }
        if let Some(stop) = input.text("instanceTriggeredStop") {
            // A policy that was given by restartPolicy stands before this word.
            if instance.restart == restart_of(instance.triggered_stop.as_deref()) {
                instance.restart = restart_of(Some(&stop));
            }
            instance.triggered_stop = Some(stop);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::is_reference;

    #[test]
    fn references_of_docker_are_told_from_others() {
        for good in ["nginx", "nginx:1.25", "registry:5000/a/b@sha256:00"] {
            assert!(is_reference(good), "{good}");
        }
        for bad in ["", "-x", "a b", "a\nb", "grün", ":tag"] {
            assert!(!is_reference(bad), "{bad}");
        }
    }
}
