//! Giving a new instance its addresses and its host; tried again until both are there or the time is
//! up.

use crate::allocate;
use crate::clock;
use crate::context::Context;
use crate::draft::{Draft, NewRow};
use crate::intent::{life, reserve};
use crate::model::{Address, Body, Instance, Row, Verdict, Via, Want};
use crate::placement;
use std::sync::Arc;

/// Tries to give an instance what it waits for.
pub fn establish(draft: &mut Draft<'_>, context: &Context, id: i64) {
    let Some(instance) = draft.world().row(id).and_then(|row| row.instance()).cloned() else {
        return;
    };
    if !instance.is_wanted() || instance.host.is_some() || instance.external {
        return;
    }
    let outcome =
        addresses(draft, context, &instance).and_then(|()| place(draft, context, id, &instance));
    let Err(lack) = outcome else { return };
    let late = instance.place_by.is_none_or(|by| by <= draft.now());
    if lack.is_final || late {
        give_up(draft, context, id, &instance, lack.message);
    }
}

/// Why an instance cannot be established now.
struct Lack {
    message: String,
    // Waiting is of no use.
    is_final: bool,
}

/// Gives every interface on a managed network an address.
fn addresses(draft: &mut Draft<'_>, context: &Context, instance: &Instance) -> Result<(), Lack> {
    for nic_id in &instance.nics {
        let Some(nic) = draft.world().row(*nic_id).and_then(|row| row.nic()) else { continue };
        let (Some(subnet_id), None) = (nic.subnet, nic.address) else { continue };
        let network_id = nic.network;
        if let Some(address) = take(draft, network_id, subnet_id, Some(*nic_id), None) {
            draft.edit(*nic_id, |row| {
                if let Body::Nic(nic) = &mut row.body {
                    nic.address = Some(address);
                }
            });
            continue;
        }
        let reclaimed = reclaim(draft, context, subnet_id);
        let name = draft.world().row(subnet_id).map(|row| row.public_id()).unwrap_or_default();
        let message = format!(
            "IP allocation failed: subnet {name} has no free address; remove and purge instances, \
             or use another network"
        );
        return Err(Lack { message, is_final: !reclaimed });
    }
    Ok(())
}

/// Allocates an address of a subnet for an interface, or to a host as part of its reserve.
pub(super) fn take(
    draft: &mut Draft<'_>,
    network_id: i64,
    subnet_id: i64,
    nic: Option<i64>,
    granted: Option<i64>,
) -> Option<i64> {
    let world = draft.world();
    let row = world.row(network_id)?;
    let subnet = world.row(subnet_id)?.subnet()?;
    let pool = world.presence().pool(network_id);
    let (ip, mac) = allocate::address(pool, row.network()?, subnet)?;
    let account = nic.and_then(|nic| world.row(nic)).map_or(row.account, |nic| nic.account);
    let address = Address {
        network: network_id,
        subnet: subnet_id,
        ip,
        mac,
        nic,
        granted,
        host: granted,
        seq: draft.generation(),
        rests_until: None,
    };
    Some(draft.add(NewRow::of(account, Body::Address(address))))
}

/// Purges the instances of a subnet that were removed first, an eighth of them at a time. Whether
/// any address is on its way back.
fn reclaim(draft: &mut Draft<'_>, context: &Context, subnet: i64) -> bool {
    let world = draft.world();
    let holds = |row: &&Arc<Row>| {
        let nics = row.instance().into_iter().flat_map(|instance| &instance.nics);
        nics.filter_map(|nic| world.row(*nic)?.nic()).any(|nic| {
            let address = nic.address.and_then(|id| world.row(id)?.address());
            address.is_some_and(|address| address.subnet == subnet && address.nic.is_some())
        })
    };
    if world.leaving().any(|row| holds(&row)) {
        return true;
    }
    let mut removed: Vec<i64> = world.removed().filter(holds).map(|row| row.id).collect();
    removed.truncate(removed.len().div_ceil(8));
    removed.iter().for_each(|id| life::purge(draft, context, *id));
    !removed.is_empty()
}

fn place(
    draft: &mut Draft<'_>,
    context: &Context,
    id: i64,
    instance: &Instance,
) -> Result<(), Lack> {
    let candidates = placement::candidates(draft.world(), instance, |host| context.liveness(host));
    let host = placement::choose(&placement::need(instance), &candidates)
        .map_err(|message| Lack { message, is_final: false })?;
    let generation = draft.generation();
    draft.edit(id, |row| {
        if let Body::Instance(instance) = &mut row.body {
            instance.host = Some(host);
            instance.since = generation;
            instance.place_by = None;
        }
    });
    attach(draft, id, host);
    Ok(())
}

/// Lets an instance's addresses live on a host.
pub(super) fn attach(draft: &mut Draft<'_>, id: i64, host: i64) {
    let generation = draft.generation();
    for (address, network) in life::addresses_of(draft.world(), id) {
        draft.edit(address, |row| {
            if let Body::Address(address) = &mut row.body {
                address.host = Some(host);
                address.seq = generation;
            }
        });
        reserve::ensure(draft, host, network);
    }
}

/// Ends the waiting: a creation fails, anything else rests stopped.
fn give_up(
    draft: &mut Draft<'_>,
    context: &Context,
    id: i64,
    instance: &Instance,
    message: String,
) {
    if instance.via == Via::Create {
        life::fail(draft, context, id, "CannotBeEstablished", message);
        return;
    }
    let generation = draft.generation();
    draft.edit(id, |row| {
        if let Body::Instance(instance) = &mut row.body {
            instance.want = Want::Stopped;
            instance.via = Via::Stop;
            instance.place_by = None;
            instance.verdict = Some(Verdict { code: "CannotBePlaced".into(), message, generation });
        }
    });
}

/// The time until which an instance waits for a host.
pub(super) fn deadline(draft: &Draft<'_>, context: &Context) -> crate::model::Millis {
    draft.now().saturating_add(clock::millis(context.settings.placement_wait))
}
