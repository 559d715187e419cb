//! Hosts: enrolment, facts, and what an admin does with them.

use crate::allocate;
use crate::context::Context;
use crate::core::Refusal;
use crate::draft::{Draft, NewRow};
use crate::intent::{life, reserve};
use crate::model::{Body, Host, Instance, KnownFacts, Want};
use api::report::Facts;

/// A host that has proved itself.
pub struct Enrolled {
    /// The registration token's number.
    pub token: i64,
    /// The host, but for its number.
    pub host: Host,
    /// Its uuid, which its certificate names.
    pub uuid: String,
}

/// Adds a host, counts its token's use, and grants it a reserve.
///
/// # Errors
/// When all host numbers are in use.
pub fn enrol(
    draft: &mut Draft<'_>,
    account: i64,
    enrolled: Enrolled,
) -> Result<(i64, u16), Refusal> {
    let number = allocate::host_number(draft.world())
        .ok_or_else(|| Refusal::conflict("all 65,534 host numbers are in use".into()))?;
    draft.edit(enrolled.token, |row| {
        if let Body::RegistrationToken(token) = &mut row.body {
            token.used += 1;
        }
    });
    let host = Host { number, ..enrolled.host };
    let name = Some(host.hostname.clone());
    let new = NewRow::of(account, Body::Host(Box::new(host)));
    let id = draft.add(NewRow { uuid: Some(enrolled.uuid), name, ..new });
    reserve::ensure_default(draft, id);
    Ok((id, number))
}

/// What of a report others depend on.
#[must_use]
pub fn known(facts: &Facts) -> KnownFacts {
    KnownFacts {
        address: facts.addresses.first().copied(),
        version: facts.version.clone(),
        cpus: facts.cpus,
        memory_mb: facts.memory_mb,
        capabilities: facts
            .capabilities
            .iter()
            .map(|(name, capability)| (name.clone(), capability.ok))
            .collect(),
    }
}

/// Writes what a host told about itself, if it is new.
pub fn learn(draft: &mut Draft<'_>, id: i64, facts: KnownFacts, hostname: &str) {
    let known = draft.world().row(id).and_then(|row| row.host());
    let hostname = host_name(hostname);
    if known.is_none_or(|host| host.facts == facts && host.hostname == hostname) {
        return;
    }
    edit(draft, id, |host| {
        host.facts = facts;
        host.hostname = hostname;
    });
}

/// A host's name for itself, fit to be shown.
#[must_use]
pub fn host_name(given: &str) -> String {
    given.chars().filter(|letter| !letter.is_control()).take(255).collect()
}

/// Performs an action of a host.
///
/// # Errors
/// When there is no such action, or the host was taken out of the cloud.
pub fn act(draft: &mut Draft<'_>, context: &Context, id: i64, action: &str) -> Result<(), Refusal> {
    let row = draft.world().row(id).ok_or_else(|| Refusal::not_found("host"))?;
    if row.host().is_some_and(|host| host.fenced) {
        return Err(Refusal::not_available(action, &row.public_id(), "fenced"));
    }
    match action {
        "activate" => {
            edit(draft, id, |host| host.active = true);
            reserve::ensure_default(draft, id);
        }
        "deactivate" => {
            edit(draft, id, |host| host.active = false);
            reserve::leave_all(draft, context, id);
        }
        "fence" => fence(draft, context, id),
        other => return Err(Refusal::no_action(other)),
    }
    Ok(())
}

fn edit(draft: &mut Draft<'_>, id: i64, edit: impl FnOnce(&mut Host)) {
    draft.edit(id, |row| {
        if let Body::Host(host) = &mut row.body {
            edit(host);
        }
    });
}

/// Takes a host out of the cloud: refused from now on, and out of all scopes, so that the others
/// drop their ways to it.
fn fence(draft: &mut Draft<'_>, context: &Context, id: i64) {
    edit(draft, id, |host| {
        host.fenced = true;
        host.active = false;
    });
    let instances: Vec<i64> = draft.world().on_host(id).map(|row| row.id).collect();
    for instance in instances {
        for (address, _) in life::addresses_of(draft.world(), instance) {
            draft.edit(address, |row| {
                if let Body::Address(address) = &mut row.body {
                    address.host = None;
                }
            });
        }
        let purged = |instance: &Instance| instance.want == Want::Purged;
        if draft.world().row(instance).and_then(|row| row.instance()).is_some_and(purged) {
            life::free(draft, context, instance);
        }
    }
    reserve::leave_all(draft, context, id);
}

/// Removes a host that nothing lives on.
///
/// # Errors
/// When there are instances on it.
pub fn remove(draft: &mut Draft<'_>, context: &Context, id: i64) -> Result<(), Refusal> {
    let lives = |instance: &Instance| !instance.external;
    let guests = draft.world().on_host(id).filter(|row| row.instance().is_some_and(lives)).count();
    if guests > 0 {
        return Err(Refusal::conflict(format!(
            "{guests} instances are on this host: remove and purge them first"
        )));
    }
    let now = draft.now();
    draft.edit(id, |row| {
        row.removed = Some(now);
        if let Body::Host(host) = &mut row.body {
            host.active = false;
        }
    });
    crate::intent::adopt::forget_all(draft, context, id);
    reserve::leave_all(draft, context, id);
    Ok(())
}
