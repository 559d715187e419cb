//! Where a new instance goes: pure, over what is known of the hosts.

use crate::model::{Instance, Row};
use crate::observed::Liveness;
use crate::world::World;
use std::fmt::Write as _;

/// A host as placement sees it.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The host.
    pub id: i64,
    /// What people call it.
    pub name: String,
    /// Whether it takes new instances.
    pub active: bool,
    /// Whether it can run this kind of instance.
    pub capable: bool,
    /// Memory not promised to anybody, in MiB.
    pub memory_free: i64,
    /// How many instances it has.
    pub instances: u64,
    /// Whether it is heard of.
    pub liveness: Liveness,
}

/// What an instance needs.
#[derive(Clone, Debug)]
pub struct Need {
    /// The only host the user accepts.
    pub requested: Option<i64>,
    /// The name of the capability, for the message.
    pub capability: &'static str,
    /// Memory in MiB.
    pub memory: i64,
}

/// Chooses a host: it must be active, heard of, capable and have the memory; of those the one with
/// the fewest instances, then with the most free memory.
///
/// # Errors
/// When none fits: for each host what it lacks.
pub fn choose(need: &Need, candidates: &[Candidate]) -> Result<i64, String> {
    let mut reasons = String::new();
    let mut best: Option<&Candidate> = None;
    for candidate in candidates {
        if need.requested.is_some_and(|requested| requested != candidate.id) {
            continue;
        }
        if let Some(reason) = lacks(need, candidate) {
            let _ = write!(reasons, "; {} {reason}", candidate.name);
            continue;
        }
        let rank = |host: &Candidate| (host.instances, -host.memory_free, host.id);
        if best.is_none_or(|best| rank(candidate) < rank(best)) {
            best = Some(candidate);
        }
    }
    match best {
        Some(best) => Ok(best.id),
        None if reasons.is_empty() => Err("waiting for a host: there is none to choose".into()),
        None => Err(format!("waiting for a host that fits{reasons}")),
    }
}

fn lacks(need: &Need, host: &Candidate) -> Option<String> {
    if !host.active {
        return Some("is not active".into());
    }
    if host.liveness == Liveness::Disconnected {
        return Some("is disconnected".into());
    }
    if !host.capable {
        return Some(format!("lacks {}", need.capability));
    }
    (host.memory_free < need.memory)
        .then(|| format!("has {} MiB of {} MiB free", host.memory_free.max(0), need.memory))
}

/// The need of an instance.
#[must_use]
pub fn need(instance: &Instance) -> Need {
    Need {
        requested: instance.requested_host,
        capability: instance.capability(),
        memory: memory(instance),
    }
}

fn memory(instance: &Instance) -> i64 {
    instance.memory_mb.map_or(0, |memory| i64::try_from(memory).unwrap_or(i64::MAX))
}

/// All hosts as candidates for an instance.
pub fn candidates(
    world: &World,
    instance: &Instance,
    liveness: impl Fn(i64) -> Liveness,
) -> Vec<Candidate> {
    world
        .of_kind("host")
        .filter(|row| row.removed.is_none())
        .filter_map(|row| candidate(world, row, instance, liveness(row.id)))
        .collect()
}

fn candidate(
    world: &World,
    row: &Row,
    instance: &Instance,
    liveness: Liveness,
) -> Option<Candidate> {
    let host = row.host()?;
    let load = world.load(row.id);
    let memory_total = i64::try_from(host.facts.memory_mb).unwrap_or(i64::MAX);
    let promised = i64::try_from(load.memory).unwrap_or(i64::MAX);
    Some(Candidate {
        id: row.id,
        name: host.hostname.clone(),
        active: host.takes_part(),
        capable: host.simulated || host.can(instance.capability()),
        memory_free: memory_total.saturating_sub(promised),
        instances: load.instances,
        liveness,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(id: i64) -> Candidate {
        Candidate {
            id,
            name: format!("host{id}"),
            active: true,
            capable: true,
            memory_free: 1000,
            instances: 0,
            liveness: Liveness::Connected,
        }
    }

    fn need() -> Need {
        Need { requested: None, capability: "docker", memory: 512 }
    }

    #[test]
    fn spreads_over_hosts_that_fit() {
        let busy = Candidate { instances: 3, ..host(1) };
        let full = Candidate { memory_free: 100, ..host(2) };
        let roomy = Candidate { instances: 1, memory_free: 2000, ..host(4) };
        let small = Candidate { instances: 1, ..host(3) };
        assert_eq!(choose(&need(), &[busy, full, small, roomy]), Ok(4));
    }

    #[test]
    fn takes_only_the_requested_host() {
        let only = Need { requested: Some(2), ..need() };
        assert_eq!(choose(&only, &[host(1), host(2)]), Ok(2));
        let message = choose(&only, &[host(1)]).unwrap_err();
        assert!(message.contains("there is none"), "{message}");
    }

    #[test]
    fn says_of_each_host_what_it_lacks() {
        let hosts = [
            Candidate { active: false, ..host(1) },
            Candidate { capable: false, ..host(2) },
            Candidate { memory_free: 12, ..host(3) },
            Candidate { liveness: Liveness::Disconnected, ..host(4) },
        ];
        let message = choose(&need(), &hosts).unwrap_err();
        for part in
            ["host1 is not active", "host2 lacks docker", "host3 has 12 MiB", "host4 is disc"]
        {
            assert!(message.contains(part), "{message}");
        }
    }
}
