//! Containers that somebody attached to a managed network by hand: who they are and what address
//! they have. Pure.
//!
//! They are told to the cloud and otherwise left alone: never started, stopped or removed.

use super::driver::{EndpointInfo, HandRun, Observation};
use super::ipam;
use super::journal::{Place, Port, Record, State};
use crate::desired::Desired;
use api::report::Adopted;
use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

/// How long something must be unknown to Docker before the journal forgets it: longer than any
/// call of Docker's in which it is already noted and not yet shown.
const FORGET_AFTER: Duration = Duration::from_secs(120);

/// Everybody's containers on our networks, with the address they have, or had when they last ran.
#[must_use]
pub fn adopted(seen: &Observation, state: &State) -> Vec<Adopted> {
    let mut adopted = Vec::new();
    for (id, container) in &seen.hand_run {
        let running = ports(seen, &container.endpoints);
        let remembered = state.bound.iter().filter(|((held, _), _)| held == id);
        let ports: Vec<Port> = if container.running && !running.is_empty() {
            running
        } else {
            remembered.map(|(_, port)| *port).collect()
        };
        adopted.extend(ports.into_iter().map(|port| one(id, container, port)));
    }
    adopted
}

fn one(id: &str, container: &HandRun, port: Port) -> Adopted {
    Adopted {
        docker_id: id.into(),
        name: container.name.clone(),
        image: container.image.clone(),
        vni: port.place.vni,
        ip: port.place.ip,
        mac: port.mac,
        running: container.running,
    }
}

fn ports(seen: &Observation, endpoints: &[EndpointInfo]) -> Vec<Port> {
    let port = |endpoint: &EndpointInfo| {
        let vni = seen.networks.get(&endpoint.network)?.vni;
        Some(Port { place: Place { vni, ip: endpoint.ip }, mac: endpoint.mac })
    };
    endpoints.iter().filter_map(port).collect()
}

/// What the journal lacks of what Docker shows: bindings of hand-run containers, and everything
/// else if the journal was lost. What Docker `ended` after the list was begun does not come back.
#[must_use]
pub fn lacking(
    desired: &Desired,
    seen: &Observation,
    state: &State,
    ended: impl Fn(&str) -> bool,
) -> Vec<Record> {
    let mut records = Vec::new();
    for (id, network) in &seen.networks {
        records.push(Record::Network { id: id.clone(), vni: network.vni });
    }
    let ours = seen.containers.values().flat_map(|container| &container.endpoints);
    let theirs = seen.hand_run.values().flat_map(|container| &container.endpoints);
    for endpoint in ours.chain(theirs) {
        for port in ports(seen, std::slice::from_ref(endpoint)) {
            if state.endpoints.contains_key(&endpoint.id) || ended(&endpoint.id) {
                continue;
            }
            records.push(Record::Endpoint { id: endpoint.id.clone(), port });
            if ipam::is_reserved(desired, port.place) {
                records.push(Record::Taken(port.place));
            }
        }
    }
    for (id, container) in &seen.hand_run {
        for port in ports(seen, &container.endpoints) {
            records.push(Record::Bound { container: id.clone(), port });
        }
    }
    let gone = state.bound.keys().filter(|(id, _)| !seen.hand_run.contains_key(id));
    let gone: BTreeSet<&String> = gone.map(|(id, _)| id).collect();
    records.extend(gone.into_iter().map(|id| Record::Unbound { container: id.clone() }));
    let mut next = state.clone();
    records.retain(|record| next.apply(record));
    records
}

/// What the journal holds and Docker does not show, and since when.
#[derive(Debug, Default)]
pub struct Leftovers {
    since: HashMap<Record, Instant>,
}

impl Leftovers {
    /// What is to be forgotten now.
    pub fn ripe(&mut self, seen: &Observation, state: &State, now: Instant) -> Vec<Record> {
        let left = left_over(seen, state);
        self.since.retain(|record, _| left.contains(record));
        for record in left {
            self.since.entry(record).or_insert(now);
        }
        let ripe = |since: &Instant| now.saturating_duration_since(*since) >= FORGET_AFTER;
        self.since
            .iter()
            .filter(|(_, since)| ripe(since))
            .map(|(record, _)| record.clone())
            .collect()
    }
}

fn left_over(seen: &Observation, state: &State) -> Vec<Record> {
    let ours = seen.containers.values().flat_map(|container| &container.endpoints);
    let theirs = seen.hand_run.values().flat_map(|container| &container.endpoints);
    let shown: Vec<&EndpointInfo> = ours.chain(theirs).collect();
    let known: BTreeSet<&str> = shown.iter().map(|endpoint| endpoint.id.as_str()).collect();
    let used: BTreeSet<Place> = shown
        .iter()
        .flat_map(|endpoint| ports(seen, std::slice::from_ref(*endpoint)))
        .map(|port| port.place)
        .collect();
    let networks = state.networks.keys().filter(|id| !seen.networks.contains_key(*id));
    let endpoints = state.endpoints.keys().filter(|id| !known.contains(id.as_str()));
    let taken = state.taken.iter().filter(|place| !used.contains(place));
    networks
        .map(|id| Record::NetworkGone { id: id.clone() })
        .chain(endpoints.map(|id| Record::EndpointGone { id: id.clone() }))
        .chain(taken.map(|place| Record::Released(*place)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::driver::DockerNetwork;
    use super::super::fixture::{self, VNI, ip, mac};
    use super::*;

    fn seen(running: bool) -> Observation {
        let docker = super::super::plan::docker_network(&fixture::network());
        let networks = [("n".to_owned(), DockerNetwork { ..docker })].into();
        let endpoint =
            EndpointInfo { id: "e".into(), network: "n".into(), ip: ip(100), mac: mac(100) };
        let hand = HandRun {
            name: "by-hand".into(),
            image: "bb:1".into(),
            running,
            networks: ["n".to_owned()].into(),
            endpoints: if running { vec![endpoint] } else { Vec::new() },
        };
        Observation {
            networks,
            hand_run: [("c".to_owned(), hand)].into(),
            ..Observation::default()
        }
    }

    fn note_lacking(desired: &Desired, seen: &Observation, state: &mut State) {
        let records = lacking(desired, seen, state, |_| false);
        noted(state, &records);
    }

    fn noted(state: &mut State, records: &[Record]) {
        for record in records {
            state.apply(record);
        }
    }

    #[test]
    fn a_hand_run_container_is_bound_remembered_and_forgotten() {
        let desired = fixture::desired(&[100], &[]);
        let mut state = State::default();
        // Even with an empty journal everything comes back from what Docker shows.
        note_lacking(&desired, &seen(true), &mut state);
        assert_eq!(state.networks["n"], VNI);
        assert_eq!(state.endpoints["e"].place.ip, ip(100));
        assert_eq!(state.taken.len(), 1);
        assert_eq!(lacking(&desired, &seen(true), &state, |_| false), []);
        let told = adopted(&seen(true), &state);
        assert_eq!(
            (told[0].ip, told[0].running, told[0].name.as_str()),
            (ip(100), true, "by-hand")
        );
        let told = adopted(&seen(false), &state);
        assert_eq!((told[0].ip, told[0].running), (ip(100), false));
        note_lacking(&desired, &Observation::default(), &mut state);
        assert!(state.bound.is_empty());
    }

    #[test]
    fn an_endpoint_that_ended_while_docker_was_listed_does_not_come_back() {
        let desired = fixture::desired(&[100], &[]);
        let records = lacking(&desired, &seen(true), &State::default(), |id| id == "e");
        let back = |record: &Record| matches!(record, Record::Endpoint { .. } | Record::Taken(_));
        assert!(!records.iter().any(back), "{records:?}");
    }

    #[test]
    fn what_docker_forgot_is_forgotten_after_a_while() {
        let desired = fixture::desired(&[100], &[]);
        let mut state = State::default();
        note_lacking(&desired, &seen(true), &mut state);
        let (mut leftovers, start) = (Leftovers::default(), Instant::now());
        let nothing = Observation::default();
        assert_eq!(leftovers.ripe(&nothing, &state, start), []);
        assert_eq!(leftovers.ripe(&seen(true), &state, start + FORGET_AFTER), []);
        assert_eq!(leftovers.ripe(&nothing, &state, start + FORGET_AFTER), []);
        let ripe = leftovers.ripe(&nothing, &state, start + 2 * FORGET_AFTER);
        noted(&mut state, &ripe);
        assert!(state.endpoints.is_empty() && state.taken.is_empty() && state.networks.is_empty());
        assert_eq!(state.resting.len(), 1, "its address rests");
    }
}
