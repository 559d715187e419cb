//! What to do next for each container, network and volume. Pure: no I/O, no clock.
//!
//! One step per object and pass; the next pass looks at what came of it. Containers go before the
//! networks they stand on and come after them. Foreign things never become part of a plan.

use super::creation::specification;
use super::driver::{DockerContainer, DockerNetwork, Observation, RunInfo, RunState};
use super::interruptions::Ending;
use super::runs::Run;
use super::volumes;
use crate::desired::Desired;
use api::item::{Attachment, Container, Network, Restart, Want};
use std::collections::{BTreeMap, BTreeSet};

/// What is known beside the snapshot and the engine.
#[derive(Clone, Copy, Debug)]
pub struct Memory<'a> {
    /// The last starts by uuid.
    pub runs: &'a BTreeMap<String, Run>,
    /// How containers that do not run ended, by the engine's id.
    pub infos: &'a BTreeMap<String, RunInfo>,
    /// This boot of the host.
    pub boot: &'a str,
}

/// What to do with one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is as it should be.
    Keep,
    /// Make it.
    Make,
    /// Start an epoch.
    Start {
        /// The engine's id.
        id: String,
        /// The epoch.
        epoch: u64,
    },
    /// Start the same epoch again, after the pause of the restart policy.
    Again {
        /// The engine's id.
        id: String,
        /// How it ended.
        exit: i32,
    },
    /// Stop it.
    Stop {
        /// The engine's id.
        id: String,
        /// Seconds until it is made to; none means those it was made with.
        timeout: Option<u32>,
    },
    /// Remove it with its writable layer.
    Remove {
        /// The engine's id.
        id: String,
    },
    /// Note that what runs is this epoch.
    Adopt {
        /// The epoch.
        epoch: u64,
    },
    /// Note that the epoch has ended.
    End {
        /// How.
        exit: i32,
    },
    /// Somebody may be restarting it by hand: wait for what comes of it.
    Settle,
    /// It cannot be made before its Docker network is there.
    AwaitNetwork {
        /// The network.
        vni: u32,
    },
}

impl Step {
    /// Whether it is done only with what the container is made from at hand: to make it, and to ask
    /// at every start whether this host still allows it.
    #[must_use]
    pub fn needs_creation(&self) -> bool {
        matches!(self, Self::Make | Self::Start { .. } | Self::Again { .. })
    }
}

/// What to do with a Docker network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetworkStep {
    /// Make it.
    Make(DockerNetwork),
    /// Remove it.
    Remove {
        /// Docker's id.
        id: String,
        /// Its name.
        name: String,
        /// The managed network.
        vni: u32,
    },
    /// A network that is not ours has the name.
    NameTaken {
        /// The managed network.
        vni: u32,
        /// The name.
        name: String,
    },
    /// Somebody's container stands on a network that is to go.
    InUse {
        /// The managed network.
        vni: u32,
        /// The network's name.
        name: String,
        /// The containers' names.
        by: Vec<String>,
    },
}

/// The steps for every instance that exists, is wanted or is retained, by uuid.
#[must_use]
pub fn containers(
    desired: &Desired,
    seen: &Observation,
    memory: Memory<'_>,
) -> BTreeMap<String, Step> {
    let mut steps = BTreeMap::new();
    let by_uuid: BTreeMap<&str, (&String, &DockerContainer)> =
        seen.containers.iter().map(|(id, held)| (held.uuid.as_str(), (id, held))).collect();
    for (uuid, container) in &desired.containers {
        let step = match by_uuid.get(uuid.as_str()) {
            Some((id, held)) => present(desired, container, id, held, memory),
            None => absent(desired, container, seen, memory.runs.get(uuid)),
        };
        steps.insert(uuid.clone(), step);
    }
    for (uuid, (id, held)) in by_uuid {
        if !desired.containers.contains_key(uuid) {
            let id = (*id).clone();
            let step = match (desired.retained.contains_key(uuid), held.state) {
                (true, RunState::Running) => Step::Stop { id, timeout: None },
                (true, _) => Step::Keep,
                (false, _) => Step::Remove { id },
            };
            steps.insert(uuid.into(), step);
        }
    }
    steps
}

fn absent(desired: &Desired, container: &Container, seen: &Observation, run: Option<&Run>) -> Step {
    if is_fenced(desired) {
        return Step::Keep;
    }
    let guest = &container.guest;
    let started = run.is_some_and(|run| run.epoch >= guest.epoch);
    if guest.want == Want::Running && started && guest.restart != Restart::Always {
        // Somebody removed it by hand: that epoch has ended.
        let ended = run.is_some_and(|run| run.ended.is_some());
        return if ended { Step::Keep } else { Step::End { exit: REMOVED_BY_HAND } };
    }
    let vnis = guest.nics.iter().filter_map(|nic| match nic.attachment {
        Attachment::Managed { vni, .. } => Some(vni),
        Attachment::Unmanaged { .. } => None,
    });
    let missing = |vni: &u32| match desired.networks.get(vni) {
        Some(network) => !seen.networks.values().any(|held| held.uuid == network.uuid),
        // The creation is refused with a better message than "wait".
        None => false,
    };
    vnis.into_iter().find(missing).map_or(Step::Make, |vni| Step::AwaitNetwork { vni })
}

/// What stands for the exit status of a container that was removed by hand: that of SIGKILL.
const REMOVED_BY_HAND: i32 = 137;

fn present(
    desired: &Desired,
    container: &Container,
    id: &str,
    held: &DockerContainer,
    memory: Memory<'_>,
) -> Step {
    let guest = &container.guest;
    let want = if is_fenced(desired) { Want::Stopped } else { guest.want };
    let run = memory.runs.get(&guest.uuid);
    let id = id.to_owned();
    match (want, held.state) {
        (_, RunState::Removing) => Step::Remove { id },
        (_, RunState::Created) if is_outdated(container, held) => Step::Remove { id },
        (Want::Stopped, RunState::Running) => Step::Stop { id, timeout: Some(guest.stop_timeout) },
        (Want::Stopped, _) => Step::Keep,
        (Want::Running, RunState::Created) => Step::Start { id, epoch: guest.epoch },
        (Want::Running, RunState::Running) => match run {
            Some(run) if run.epoch < guest.epoch => {
                Step::Stop { id, timeout: Some(guest.stop_timeout) }
            }
            Some(run) if run.ended.is_none() => Step::Keep,
            // Somebody started it by hand, or the note was lost.
            Some(_) | None => Step::Adopt { epoch: guest.epoch },
        },
        (Want::Running, RunState::Exited) => exited(container, id, run, memory),
    }
}

fn exited(container: &Container, id: String, run: Option<&Run>, memory: Memory<'_>) -> Step {
    let guest = &container.guest;
    let start = |id| Step::Start { id, epoch: guest.epoch };
    let Some(run) = run.filter(|run| run.epoch >= guest.epoch) else { return start(id) };
    let Some(info) = memory.infos.get(&id) else { return Step::Keep };
    let never_took_place = info.started_at == run.before;
    // A reboot or an end of Docker is not the guest's own end; one that was seen before it is.
    let cut_off = run.boot != memory.boot && run.ended.is_none();
    // Nor is a restart by hand that failed, for instance because nobody answered as the driver; a
    // start by hand that failed after its end brings no epoch back.
    let kept_down = !info.error.is_empty() || info.ending == Ending::CutOff;
    if info.ending == Ending::Settling {
        return Step::Settle;
    }
    if never_took_place || cut_off || (kept_down && run.ended.is_none()) {
        return start(id);
    }
    let again = match guest.restart {
        Restart::Stop => false,
        Restart::Always => true,
        Restart::OnFailure { maximum } => {
            info.exit != 0 && (maximum == 0 || run.restarts < maximum)
        }
    };
    match (again, run.ended) {
        (true, _) => Step::Again { id, exit: info.exit },
        (false, Some(_)) => Step::Keep,
        (false, None) => Step::End { exit: info.exit },
    }
}

fn is_fenced(desired: &Desired) -> bool {
    desired.host.as_ref().is_some_and(|host| host.fenced)
}

/// Whether a container that never ran was made from something else than what is wanted now.
fn is_outdated(container: &Container, held: &DockerContainer) -> bool {
    let managed = container
        .guest
        .nics
        .iter()
        .filter(|nic| matches!(nic.attachment, Attachment::Managed { .. }));
    held.specification != specification(container) || held.networks.len() < managed.count()
}

/// The steps for Docker's networks. A network goes after the containers of ours that stand on it.
#[must_use]
pub fn networks(desired: &Desired, seen: &Observation) -> Vec<NetworkStep> {
    let mut steps = Vec::new();
    for network in desired.networks.values() {
        let wanted = docker_network(network);
        let held = seen.networks.iter().find(|(_, held)| held.uuid == network.uuid);
        match held {
            Some((_, held)) if *held == wanted => {}
            Some((id, held)) => steps.extend(removal(seen, id, held)),
            None if is_taken(seen, &wanted.name) => {
                steps.push(NetworkStep::NameTaken { vni: network.vni, name: wanted.name });
            }
            None => steps.push(NetworkStep::Make(wanted)),
        }
    }
    let wanted: BTreeSet<&str> = desired.networks.values().map(|net| net.uuid.as_str()).collect();
    for (id, held) in &seen.networks {
        if !held.uuid.is_empty() && !wanted.contains(held.uuid.as_str()) {
            steps.extend(removal(seen, id, held));
        }
    }
    steps
}

fn removal(seen: &Observation, id: &str, held: &DockerNetwork) -> Option<NetworkStep> {
    let hand_run = seen.hand_run.values().filter(|container| container.networks.contains(id));
    let by: Vec<String> = hand_run.map(|container| container.name.clone()).collect();
    let (name, vni) = (held.name.clone(), held.vni);
    if !by.is_empty() {
        return Some(NetworkStep::InUse { vni, name, by });
    }
    let ours = seen.containers.values().any(|container| container.networks.contains(id));
    (!ours).then(|| NetworkStep::Remove { id: id.into(), name, vni })
}

fn is_taken(seen: &Observation, name: &str) -> bool {
    seen.foreign_networks.contains(name) || seen.networks.values().any(|held| held.name == name)
}

/// What Docker is to hold for a managed network.
#[must_use]
pub fn docker_network(network: &Network) -> DockerNetwork {
    DockerNetwork {
        name: network.docker.clone(),
        uuid: network.uuid.clone(),
        vni: network.vni,
        subnet: network.cidr.trunc().to_string(),
        gateway: network.gateway.to_string(),
    }
}

/// Named volumes of ours that no container uses, exists or is wanted with.
#[must_use]
pub fn unused_volumes(desired: &Desired, seen: &Observation) -> Vec<String> {
    let wanted: BTreeSet<&str> = desired
        .containers
        .values()
        .flat_map(|container| &container.volumes)
        .filter_map(|text| volumes::name_of(text))
        .collect();
    let unused = seen.volumes.iter().filter(|(name, used)| !**used && !wanted.contains(&name[..]));
    unused.map(|(name, _)| name.clone()).collect()
}

#[cfg(test)]
mod tests;
