//! A container engine in memory: everything it is asked for is there at once. For agents that are
//! simulated, and for tests that count calls.

use super::creation::{Attached, Creation};
use super::driver::{
    DockerContainer, DockerNetwork, Driver, DriverError, Observation, RunInfo, RunState,
    SPECIFICATION_LABEL,
};
use super::interruptions::Ending;
use super::volumes::Source;
use api::report::ErrorKind;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// An engine in memory.
#[derive(Debug, Default)]
pub struct SimulatedDriver {
    world: Mutex<World>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct World {
    seen: Observation,
    infos: BTreeMap<String, RunInfo>,
    counter: u64,
    calls: u64,
}

/// Why a simulated call fails.
#[derive(Debug, thiserror::Error)]
#[error("there is no such thing in the simulation")]
struct Missing;

impl SimulatedDriver {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls so far that changed something.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.world().calls
    }

    /// Makes a container end by itself.
    pub fn end(&self, uuid: &str, exit: i32) {
        let mut world = self.world();
        let World { seen, infos, .. } = &mut *world;
        for (id, held) in seen.containers.iter_mut().filter(|(_, held)| held.uuid == uuid) {
            held.state = RunState::Exited;
            infos.entry(id.clone()).and_modify(|info| info.exit = exit);
        }
        drop(world);
        self.changed.notify_one();
    }

    /// Puts something into the engine that nobody asked us for.
    pub fn disturb(&self, change: impl FnOnce(&mut Observation)) {
        change(&mut self.world().seen);
        self.changed.notify_one();
    }

    fn change<T>(
        &self,
        action: &'static str,
        object: &str,
        change: impl FnOnce(&mut World) -> Option<T>,
    ) -> Result<T, DriverError> {
        let mut world = self.world();
        world.calls += 1;
        let changed = change(&mut world);
        drop(world);
        self.changed.notify_one();
        changed.ok_or_else(|| DriverError {
            action,
            object: object.into(),
            kind: ErrorKind::Transient,
            source: Box::new(Missing),
        })
    }
}

impl World {
    fn next(&mut self) -> String {
        self.counter += 1;
        format!("simulated-{}", self.counter)
    }

    fn set(&mut self, id: &str, state: RunState) -> Option<()> {
        self.seen.containers.get_mut(id)?.state = state;
        Some(())
    }

    fn count_uses(&mut self) {
        if self.seen.containers.is_empty() {
            self.seen.volumes.values_mut().for_each(|used| *used = false);
        }
    }
}

fn run_info(started_at: String) -> RunInfo {
    RunInfo { started_at, exit: 0, error: String::new(), ending: Ending::Own }
}

#[async_trait::async_trait]
impl Driver for SimulatedDriver {
    async fn observe(&self) -> Result<Observation, DriverError> {
        Ok(self.world().seen.clone())
    }

    async fn create_network(&self, network: &DockerNetwork) -> Result<(), DriverError> {
        self.change("make network", &network.name, |world| {
            let id = world.next();
            world.seen.networks.insert(id, network.clone());
            Some(())
        })
    }

    async fn remove_network(&self, id: &str) -> Result<(), DriverError> {
        self.change("remove network", id, |world| world.seen.networks.remove(id).map(drop))
    }

    async fn ensure_image(
        &self,
        _: &str,
        _: &(dyn Fn(u8) + Send + Sync),
    ) -> Result<(), DriverError> {
        Ok(())
    }

    async fn create(&self, creation: &Creation) -> Result<String, DriverError> {
        self.change("make container", &creation.name, |world| {
            let id = world.next();
            let names: Vec<&String> = match &creation.network {
                Attached::Managed(pins) => pins.iter().map(|pin| &pin.network).collect(),
                Attached::Nowhere | Attached::DefaultBridge => Vec::new(),
            };
            let networks = &world.seen.networks;
            let on = networks.iter().filter(|(_, network)| names.contains(&&network.name));
            let container = DockerContainer {
                uuid: creation.uuid.clone(),
                specification: creation.labels.get(SPECIFICATION_LABEL).cloned()?,
                state: RunState::Created,
                networks: on.map(|(id, _)| id.clone()).collect(),
                endpoints: Vec::new(),
            };
            for volume in &creation.volumes {
                if let Source::Named(name) = &volume.source {
                    world.seen.volumes.insert(name.clone(), true);
                }
            }
            world.seen.containers.insert(id.clone(), container);
            let never = run_info("never".into());
            world.infos.insert(id.clone(), never);
            Some(id)
        })
    }

    async fn inspect(&self, id: &str) -> Result<Option<RunInfo>, DriverError> {
        Ok(self.world().infos.get(id).cloned())
    }

    async fn start(&self, id: &str) -> Result<(), DriverError> {
        self.change("start container", id, |world| {
            let started_at = world.next();
            world.infos.insert(id.into(), run_info(started_at));
            world.set(id, RunState::Running)
        })
    }

    async fn stop(&self, id: &str, _: Option<u32>) -> Result<(), DriverError> {
        self.change("stop container", id, |world| world.set(id, RunState::Exited))
    }

    async fn remove(&self, id: &str) -> Result<(), DriverError> {
        self.change("remove container", id, |world| {
            world.infos.remove(id);
            world.seen.containers.remove(id)?;
            world.count_uses();
            Some(())
        })
    }

    async fn remove_volume(&self, name: &str) -> Result<(), DriverError> {
        self.change("remove volume", name, |world| world.seen.volumes.remove(name).map(drop))
    }

    async fn changed(&self) {
        self.changed.notified().await;
    }
}
