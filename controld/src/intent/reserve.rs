//! Addresses granted to hosts, for containers that people start by hand.

use crate::context::Context;
use crate::draft::Draft;
use crate::intent::{establish, life};
use crate::model::Body;

/// Free addresses a host should have in each network it is a member of.
const RESERVE: usize = 8;

/// How many free addresses a host should have in a network: fewer in a small subnet, so that the
/// reserves of many hosts leave most of it to instances.
fn wanted(draft: &Draft<'_>, network: i64) -> Option<(i64, usize)> {
    let subnet = draft.world().subnets_of(network).next()?;
    let share = usize::try_from(subnet.subnet()?.size() / 16).unwrap_or(RESERVE);
    Some((subnet.id, share.min(RESERVE)))
}

fn free(draft: &Draft<'_>, host: i64, network: i64) -> Vec<i64> {
    let world = draft.world();
    let granted = world.presence().granted(host, network);
    granted
        .filter(|id| {
            world
                .row(*id)
                .and_then(|row| row.address())
                .is_some_and(|address| address.nic.is_none())
        })
        .collect()
}

/// Fills up a host's reserve in a network, as far as there are addresses.
pub fn ensure(draft: &mut Draft<'_>, host: i64, network: i64) {
    let Some((subnet, wanted)) = wanted(draft, network) else { return };
    for _ in free(draft, host, network).len()..wanted {
        if establish::take(draft, network, subnet, None, Some(host)).is_none() {
            return;
        }
    }
}

/// Fills up a host's reserve in the default network, which every active host is a member of.
pub fn ensure_default(draft: &mut Draft<'_>, host: i64) {
    if let Some(network) = draft.world().default_network().map(|row| row.id) {
        ensure(draft, host, network);
    }
}

/// Takes a host's reserve in a network back when it is no member any more.
pub fn leave(draft: &mut Draft<'_>, context: &Context, host: i64, network: i64) {
    let world = draft.world();
    let is_default = world.default_network().is_some_and(|row| row.id == network);
    let takes_part = world.row(host).is_some_and(|row| {
        row.removed.is_none() && row.host().is_some_and(|host| host.takes_part())
    });
    if is_default && takes_part || world.presence().of(network, host).guests > 0 {
        return;
    }
    for address in free(draft, host, network) {
        life::release(draft, context, address);
    }
}

/// Takes all of a host's reserves back.
pub fn leave_all(draft: &mut Draft<'_>, context: &Context, host: i64) {
    let networks: Vec<i64> = draft.world().presence().networks_granted(host).collect();
    for network in networks {
        leave(draft, context, host, network);
    }
}

/// Gives an address that a hand-run container has left back to the reserve, or frees it when the
/// reserve is full. The agent lets it rest by itself before anybody else gets it.
pub fn vacate(draft: &mut Draft<'_>, context: &Context, address: i64) {
    let Some(row) = draft.world().row(address).and_then(|row| row.address()) else { return };
    let network = row.network;
    let full = match row.granted {
        Some(host) => {
            let (_, wanted) = wanted(draft, network).unwrap_or_default();
            free(draft, host, network).len() >= wanted
        }
        None => true,
    };
    if full {
        life::release(draft, context, address);
        return;
    }
    draft.edit(address, |row| {
        if let Body::Address(address) = &mut row.body {
            address.nic = None;
        }
    });
}
