//! Plans the steps from what is to what should be. Pure: no kernel, no clock.
//!
//! The order is written down once, here: what is in the way goes first, from leaf to root; then
//! settings, devices, addresses, routes, and last the entries of tables. Guards are not part of the
//! plan; they stand before it runs. The planner keeps a model of what its own steps lead to, so
//! that a device made anew gets everything that hung on the old one.

use super::facts::{Facts, Kind, Link, Side, Step};

/// The steps that lead from `observed` to `wanted`; none when there is nothing to do.
#[must_use]
pub fn plan(wanted: &Facts, observed: &Facts) -> Vec<Step> {
    let mut plan = Plan { wanted, now: observed.clone(), steps: Vec::new() };
    plan.remove_links();
    plan.set(|(side, _)| *side == Side::Inside);
    plan.add_links();
    plan.set(|(side, _)| *side == Side::Root);
    plan.remove_addresses_and_routes();
    plan.add_addresses_and_routes();
    plan.entries();
    plan.steps
}

struct Plan<'a> {
    wanted: &'a Facts,
    now: Facts,
    steps: Vec<Step>,
}

impl Plan<'_> {
    fn push(&mut self, step: Step) {
        self.now.apply(&step);
        self.steps.push(step);
    }

    fn push_all(&mut self, steps: Vec<Step>) {
        steps.into_iter().for_each(|step| self.push(step));
    }

    /// Devices that are not wanted, are of the wrong kind, or are half a transit.
    fn remove_links(&mut self) {
        let keys: Vec<_> = self.now.links.keys().cloned().collect();
        let transit_ends = self.now.links.values().filter(|link| link.kind == Kind::Transit);
        let half_transit = transit_ends.count() == 1;
        for (side, name) in keys {
            let key = (side, name.clone());
            let Some(present) = self.now.links.get(&key) else { continue };
            let fits = self.wanted.links.get(&key).is_some_and(|link| link.kind == present.kind);
            let half = half_transit && present.kind == Kind::Transit;
            if !fits || half {
                self.push(Step::RemoveLink(side, name));
            }
        }
    }

    fn set(&mut self, which: impl Fn(&(Side, String)) -> bool) {
        let differing = self
            .wanted
            .settings
            .iter()
            .filter(|(key, value)| which(key) && self.now.settings.get(*key) != Some(*value));
        let steps = differing
            .map(|((side, name), value)| Step::Set(*side, name.clone(), value.clone()))
            .collect();
        self.push_all(steps);
    }

    /// Makes what is missing. The bridge's name sorts before those of its ports.
    fn add_links(&mut self) {
        for ((side, name), link) in &self.wanted.links {
            if self.now.links.contains_key(&(*side, name.clone())) {
                continue;
            }
            match (side, &link.kind) {
                (Side::Root, _) => self.push(Step::AddTransit(name.clone(), link.clone())),
                (Side::Inside, Kind::Transit) => {}
                (Side::Inside, _) => self.push(Step::AddLink(name.clone(), link.clone())),
            }
        }
        for ((side, name), link) in &self.wanted.links {
            let present = self.now.links.get(&(*side, name.clone()));
            if present.is_none_or(|present| !satisfies(present, link)) {
                self.push(Step::Adjust(*side, name.clone(), link.clone()));
            }
        }
    }

    fn remove_addresses_and_routes(&mut self) {
        let routes = self.now.routes.difference(&self.wanted.routes).cloned();
        let mut steps: Vec<Step> = routes.map(Step::RemoveRoute).collect();
        let addresses = self.now.addresses.difference(&self.wanted.addresses).cloned();
        steps.extend(addresses.map(|(side, device, net)| Step::RemoveAddress(side, device, net)));
        self.push_all(steps);
    }

    fn add_addresses_and_routes(&mut self) {
        let addresses = self.wanted.addresses.difference(&self.now.addresses).cloned();
        let mut steps: Vec<Step> =
            addresses.map(|(side, device, net)| Step::AddAddress(side, device, net)).collect();
        steps.extend(self.wanted.routes.difference(&self.now.routes).cloned().map(Step::AddRoute));
        self.push_all(steps);
    }

    fn entries(&mut self) {
        let (wanted, now) = (self.wanted, &self.now);
        let mut removals = Vec::new();
        let mut additions = Vec::new();
        for (mac, vtep) in &now.tunnels {
            if !wanted.tunnels.contains_key(mac) {
                removals.push(Step::RemoveTunnel(*mac, *vtep));
            }
        }
        for (mac, port) in &now.forwarding {
            if !wanted.forwarding.contains_key(mac) {
                removals.push(Step::RemoveForwarding(*mac, port.clone()));
            }
        }
        for ip in now.neighbours.keys().filter(|ip| !wanted.neighbours.contains_key(ip)) {
            removals.push(Step::RemoveNeighbour(*ip));
        }
        for (mac, vtep) in &wanted.tunnels {
            let forwarded = now.forwarding.get(mac) == wanted.forwarding.get(mac);
            if now.tunnels.get(mac) != Some(vtep) || !forwarded {
                additions.push(Step::SetTunnel(*mac, *vtep));
            }
        }
        for (mac, port) in &wanted.forwarding {
            if !wanted.tunnels.contains_key(mac) && now.forwarding.get(mac) != Some(port) {
                additions.push(Step::SetForwarding(*mac, port.clone()));
            }
        }
        for (ip, mac) in &wanted.neighbours {
            if now.neighbours.get(ip) != Some(mac) {
                additions.push(Step::SetNeighbour(*ip, *mac));
            }
        }
        self.push_all(removals);
        self.push_all(additions);
    }
}

/// Whether a device is as wanted; what is not asked for does not count.
fn satisfies(present: &Link, wanted: &Link) -> bool {
    wanted.mac.is_none_or(|mac| present.mac == Some(mac))
        && Link { mac: None, ..present.clone() } == Link { mac: None, ..wanted.clone() }
}
