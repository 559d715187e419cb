//! The life of an instance after its creation: actions, judgements, and what is due.

use crate::clock;
use crate::context::Context;
use crate::core::Refusal;
use crate::draft::Draft;
use crate::intent::{establish, reserve};
use crate::judge::Judgement;
use crate::model::{Body, Row, Verdict, Via, Want};
use crate::world::World;

/// Performs an action of an instance.
///
/// # Errors
/// When it is not available in the instance's state.
pub fn act(
    draft: &mut Draft<'_>,
    context: &Context,
    id: i64,
    action: &str,
    and_remove: bool,
) -> Result<(), Refusal> {
    let Some(row) = draft.world().row(id).cloned() else {
        return Err(Refusal::not_found("instance"));
    };
    let Some(instance) = row.instance() else { return Err(Refusal::not_found("instance")) };
    let done = instance.want == Want::Purged && action == "purge"
        || matches!(instance.want, Want::Removed | Want::Purged) && action == "remove";
    if done {
        return Ok(());
    }
    if !context.actions(&row).contains(&action) {
        let state = context.state(instance);
        return Err(Refusal::not_available(action, &row.public_id(), state));
    }
    let brings_up = matches!(action, "start" | "restart" | "restore");
    if brings_up && instance.host.is_some() && is_cut_off(draft.world(), id) {
        return Err(Refusal::conflict(format!(
            "the host of {} was taken out of the cloud: remove and purge it, then create it anew",
            row.public_id()
        )));
    }
    match action {
        "start" => start(draft, context, id, Via::Start),
        "restart" => start(draft, context, id, Via::Restart),
        "stop" if and_remove => remove(draft, context, id),
        "stop" => stop(draft, id, None),
        "remove" => remove(draft, context, id),
        "restore" => restore(draft, id, instance.host),
        "purge" => purge(draft, context, id),
        other => return Err(Refusal::no_action(other)),
    }
    Ok(())
}

fn edit(draft: &mut Draft<'_>, id: i64, edit: impl FnOnce(&mut Row, u64)) {
    let generation = draft.generation();
    draft.edit(id, |row| edit(row, generation));
}

fn want(row: &mut Row, generation: u64, want: Want, via: Via) {
    if let Body::Instance(instance) = &mut row.body {
        instance.want = want;
        instance.via = via;
        instance.since = generation;
        instance.verdict = None;
    }
}

fn start(draft: &mut Draft<'_>, context: &Context, id: i64, via: Via) {
    let place_by = establish::deadline(draft, context);
    edit(draft, id, |row, generation| {
        want(row, generation, Want::Running, via);
        if let Body::Instance(instance) = &mut row.body {
            instance.run_epoch += 1;
            instance.place_by = instance.host.is_none().then_some(place_by);
        }
    });
    establish::establish(draft, context, id);
}

fn stop(draft: &mut Draft<'_>, id: i64, verdict: Option<Verdict>) {
    edit(draft, id, |row, generation| {
        want(row, generation, Want::Stopped, Via::Stop);
        if let Body::Instance(instance) = &mut row.body {
            instance.verdict = verdict;
            instance.place_by = None;
        }
    });
}

/// Removes an instance: its host keeps only storage, its addresses stay allocated.
pub fn remove(draft: &mut Draft<'_>, context: &Context, id: i64) {
    let now = draft.now();
    let purge_at = now.saturating_add(clock::millis(context.settings.purge_after));
    edit(draft, id, |row, generation| {
        want(row, generation, Want::Removed, Via::Remove);
        row.removed = Some(now);
        if let Body::Instance(instance) = &mut row.body {
            instance.purge_at = Some(purge_at);
            instance.place_by = None;
        }
    });
    detach(draft, context, id);
}

fn restore(draft: &mut Draft<'_>, id: i64, host: Option<i64>) {
    edit(draft, id, |row, generation| {
        // Without a host there is nothing to bring back: it rests stopped until it is started.
        let via = if host.is_some() { Via::Restore } else { Via::Stop };
        want(row, generation, Want::Stopped, via);
        row.removed = None;
        if let Body::Instance(instance) = &mut row.body {
            instance.purge_at = None;
        }
    });
    if let Some(host) = host {
        establish::attach(draft, id, host);
    }
}

/// Purges an instance: its host deletes the storage, then its addresses are freed.
pub fn purge(draft: &mut Draft<'_>, context: &Context, id: i64) {
    let now = draft.now();
    want_purged(draft, id);
    draft.edit(id, |row| {
        row.removed.get_or_insert(now);
    });
    detach(draft, context, id);
    if is_cut_off(draft.world(), id) {
        free(draft, context, id);
    }
}

fn want_purged(draft: &mut Draft<'_>, id: i64) {
    edit(draft, id, |row, generation| {
        want(row, generation, Want::Purged, Via::Purge);
        if let Body::Instance(instance) = &mut row.body {
            instance.purge_at = None;
            instance.place_by = None;
        }
    });
}

/// Ends a creation: purged at once, with the reason kept.
pub fn fail(draft: &mut Draft<'_>, context: &Context, id: i64, code: &str, message: String) {
    purge(draft, context, id);
    edit(draft, id, |row, generation| {
        if let Body::Instance(instance) = &mut row.body {
            instance.verdict = Some(Verdict { code: code.into(), message, generation });
        }
    });
}

/// Writes what a report means.
pub fn judged(draft: &mut Draft<'_>, context: &Context, id: i64, judgement: Judgement) {
    let generation = draft.generation();
    match judgement {
        Judgement::Fail { message } => fail(draft, context, id, "FirstStartFailed", message),
        Judgement::Stop { message } => {
            let code = "StartFailed".to_owned();
            stop(draft, id, message.map(|message| Verdict { code, message, generation }));
        }
        Judgement::Remove => remove(draft, context, id),
        Judgement::Free => free(draft, context, id),
    }
}

/// Does what a row's time has come for.
pub fn due(draft: &mut Draft<'_>, context: &Context, id: i64) {
    let Some(row) = draft.world().row(id).cloned() else { return };
    let now = draft.now();
    match &row.body {
        Body::Instance(instance) if instance.purge_at.is_some_and(|at| at <= now) => {
            purge(draft, context, id);
        }
        Body::Instance(instance) if instance.place_by.is_some() => {
            establish::establish(draft, context, id);
        }
        Body::Address(address) if address.rests_until.is_some_and(|until| until <= now) => {
            draft.delete(id);
        }
        _ => {}
    }
}

/// The addresses of an instance with their networks.
#[must_use]
pub fn addresses_of(world: &World, id: i64) -> Vec<(i64, i64)> {
    let nics = world.row(id).and_then(|row| row.instance()).map(|instance| &instance.nics);
    nics.into_iter()
        .flatten()
        .filter_map(|nic| {
            let nic = world.row(*nic)?.nic()?;
            let address = nic.address.filter(|id| world.row(*id).is_some())?;
            Some((address, nic.network))
        })
        .collect()
}

/// Takes an instance's addresses off their host.
fn detach(draft: &mut Draft<'_>, context: &Context, id: i64) {
    let host = draft.world().row(id).and_then(|row| row.instance()?.host);
    for (address, network) in addresses_of(draft.world(), id) {
        draft.edit(address, |row| {
            if let Body::Address(address) = &mut row.body {
                address.host = None;
            }
        });
        if let Some(host) = host {
            reserve::leave(draft, context, host, network);
        }
    }
}

/// Whether nobody will ever tell that an instance is gone: it has no host, or one that was taken out
/// of the cloud.
fn is_cut_off(world: &World, id: i64) -> bool {
    let host = world.row(id).and_then(|row| row.instance()?.host);
    let host = host.and_then(|host| world.row(host)).filter(|row| row.removed.is_none());
    host.and_then(|row| row.host()).is_none_or(|host| host.fenced)
}

/// Frees what a purged instance held.
pub(super) fn free(draft: &mut Draft<'_>, context: &Context, id: i64) {
    for (address, _) in addresses_of(draft.world(), id) {
        release(draft, context, address);
    }
    draft.edit(id, |row| {
        if let Body::Instance(instance) = &mut row.body {
            instance.host = None;
        }
    });
}

/// Frees an address; it rests before somebody else gets it.
pub(super) fn release(draft: &mut Draft<'_>, context: &Context, address: i64) {
    let rest = clock::millis(context.settings.address_rest);
    if rest == 0 {
        draft.delete(address);
        return;
    }
    let until = draft.now().saturating_add(rest);
    draft.edit(address, |row| {
        if let Body::Address(address) = &mut row.body {
            address.nic = None;
            address.granted = None;
            address.host = None;
            address.rests_until = Some(until);
        }
    });
}
