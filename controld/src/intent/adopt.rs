//! Containers that people started by hand on a managed network: they become instances that are shown
//! and left alone.

use crate::context::Context;
use crate::draft::{Draft, NewRow};
use crate::intent::reserve;
use crate::model::{Body, ContainerFields, Guest, Instance, Nic, Row, Via, Want};
use crate::world::World;
use api::item::Restart;
use api::report::Adopted;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The uuid of an adopted container: the same for the same container in the same network of the same
/// host. One in several networks is shown once for each, since each has an address of its own.
fn uuid_of(host: &Row, adopted: &Adopted) -> String {
    let space = uuid::Uuid::parse_str(&host.uuid).unwrap_or(uuid::Uuid::NAMESPACE_OID);
    let name = format!("{}/{}", adopted.docker_id, adopted.vni);
    uuid::Uuid::new_v5(&space, name.as_bytes()).to_string()
}

/// Adopted containers of a host as rows.
fn known(world: &World, host: i64) -> impl Iterator<Item = &Arc<Row>> {
    let is_adopted = |row: &&Arc<Row>| row.instance().is_some_and(|instance| instance.external);
    world.on_host(host).filter(is_adopted)
}

/// Whether a host's report differs from what is known of its hand-run containers.
#[must_use]
pub fn differs(world: &World, host: &Row, adopted: &[Adopted]) -> bool {
    let reported: BTreeSet<String> = adopted.iter().map(|one| uuid_of(host, one)).collect();
    known(world, host.id).any(|row| !reported.contains(guest_uuid(row)))
        || adopted.iter().any(|one| {
            let row = world.guest(&uuid_of(host, one));
            row.is_none_or(|row| !is_current(world, row, one))
        })
}

fn guest_uuid(row: &Row) -> &str {
    row.instance().map_or("", |instance| &instance.guest_uuid)
}

fn is_current(world: &World, row: &Row, adopted: &Adopted) -> bool {
    let Some(instance) = row.instance() else { return true };
    let address = instance.nics.first().and_then(|nic| world.row(*nic)?.nic()?.address);
    let ip = address.and_then(|id| world.row(id)?.address()).map(|address| address.ip);
    (instance.want == Want::Running) == adopted.running
        && ip == Some(adopted.ip)
        && row.name.as_deref() == Some(adopted.name.as_str())
}

/// Makes the rows of a host's hand-run containers what it reported.
pub fn adopt(draft: &mut Draft<'_>, context: &Context, host: i64, adopted: &[Adopted]) {
    let Some(host) = draft.world().row(host).cloned() else { return };
    let reported: BTreeSet<String> = adopted.iter().map(|one| uuid_of(&host, one)).collect();
    let gone: Vec<i64> = known(draft.world(), host.id)
        .filter(|row| !reported.contains(guest_uuid(row)))
        .map(|row| row.id)
        .collect();
    gone.into_iter().for_each(|id| forget(draft, context, id));
    for one in adopted {
        let uuid = uuid_of(&host, one);
        let row = draft.world().guest(&uuid).cloned();
        if row.as_ref().is_some_and(|row| is_current(draft.world(), row, one)) {
            continue;
        }
        // An address that moved is a container that came anew.
        match row {
            Some(row) if same_address(draft.world(), &row, one) => refresh(draft, row.id, one),
            Some(row) => {
                forget(draft, context, row.id);
                take_in(draft, &host, one, uuid);
            }
            None => take_in(draft, &host, one, uuid),
        }
    }
}

fn same_address(world: &World, row: &Row, adopted: &Adopted) -> bool {
    let named = Adopted {
        name: row.name.clone().unwrap_or_default(),
        running: row.instance().is_some_and(|instance| instance.want == Want::Running),
        ..adopted.clone()
    };
    is_current(world, row, &named)
}

fn refresh(draft: &mut Draft<'_>, id: i64, adopted: &Adopted) {
    draft.edit(id, |row| {
        row.name = Some(adopted.name.clone());
        if let Body::Instance(instance) = &mut row.body {
            instance.want = want(adopted);
        }
    });
}

fn want(adopted: &Adopted) -> Want {
    if adopted.running { Want::Running } else { Want::Stopped }
}

/// The granted address that a container took, if it is this host's and nobody else's.
fn granted(world: &World, host: i64, adopted: &Adopted) -> Option<i64> {
    let network = world
        .of_kind("hostOnlyNetwork")
        .find(|row| row.network().is_some_and(|network| network.vni == Some(adopted.vni)))?;
    let id = *world.presence().pool(network.id)?.ips.get(&adopted.ip)?;
    let address = world.row(id)?.address()?;
    (address.granted == Some(host) && address.nic.is_none()).then_some(id)
}

fn take_in(draft: &mut Draft<'_>, host: &Row, adopted: &Adopted, uuid: String) {
    let Some(address) = granted(draft.world(), host.id, adopted) else {
        tracing::warn!(
            host = host.public_id(),
            container = adopted.name,
            ip = %adopted.ip,
            "a container was started by hand on an address that was not granted to its host"
        );
        return;
    };
    let Some(place) = draft.world().row(address).and_then(|row| row.address()).cloned() else {
        return;
    };
    let instance = instance(draft, host.id, adopted, uuid.clone());
    let new = NewRow::of(host.account, Body::Instance(Box::new(instance)));
    let data = crate::core::Fields::from_iter([(
        "adopted".to_owned(),
        serde_json::json!({ "dockerId": adopted.docker_id }),
    )]);
    let name = Some(adopted.name.clone());
    // The row of one that was forgotten lately may still hold the uuid.
    let free = draft.world().with_uuid(&uuid).next().is_none();
    let id = draft.add(NewRow { uuid: free.then_some(uuid), name, data, ..new });
    let nic = Nic {
        instance: id,
        device: 0,
        network: place.network,
        subnet: Some(place.subnet),
        address: Some(address),
    };
    let nic = draft.add(NewRow::of(host.account, Body::Nic(nic)));
    draft.edit(id, |row| {
        if let Body::Instance(instance) = &mut row.body {
            instance.nics = vec![nic];
        }
    });
    draft.edit(address, |row| {
        if let Body::Address(address) = &mut row.body {
            address.nic = Some(nic);
        }
    });
    reserve::ensure(draft, host.id, place.network);
}

fn instance(draft: &Draft<'_>, host: i64, adopted: &Adopted, guest_uuid: String) -> Instance {
    Instance {
        want: want(adopted),
        via: Via::Create,
        run_epoch: 0,
        verdict: None,
        since: draft.generation(),
        host: Some(host),
        requested_host: None,
        guest_uuid,
        stop_timeout: 0,
        image_uuid: format!("docker:{}", adopted.image),
        hostname: None,
        memory_mb: None,
        vcpu: None,
        userdata: None,
        public_keys: Default::default(),
        restart: Restart::Stop,
        triggered_stop: None,
        nics: Vec::new(),
        purge_at: None,
        place_by: None,
        external: true,
        guest: Guest::Container(ContainerFields {
            reference: adopted.image.clone(),
            ..ContainerFields::default()
        }),
    }
}

/// Removes the instance of a hand-run container that is gone.
fn forget(draft: &mut Draft<'_>, context: &Context, id: i64) {
    for (address, _) in crate::intent::life::addresses_of(draft.world(), id) {
        reserve::vacate(draft, context, address);
    }
    let now = draft.now();
    draft.edit(id, |row| {
        row.removed = Some(now);
        if let Body::Instance(instance) = &mut row.body {
            instance.want = Want::Purged;
            instance.host = None;
            // The uuid is the container's, which may come back.
            instance.guest_uuid = format!("gone-{id}");
        }
    });
}

/// Removes all instances of hand-run containers of a host.
pub fn forget_all(draft: &mut Draft<'_>, context: &Context, host: i64) {
    let all: Vec<i64> = known(draft.world(), host).map(|row| row.id).collect();
    all.into_iter().for_each(|id| forget(draft, context, id));
}
