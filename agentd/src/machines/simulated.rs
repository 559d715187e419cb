//! A hypervisor that only remembers: machines "run" at once and touch nothing.

use super::driver::{Domain, DomainState, Driver, DriverError, End, Label, Observation};
use super::record::Stage;
use super::store::Store;
use crate::durable::DurableError;
use crate::reconcile::Wake;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The simulated hypervisor.
#[derive(Debug, Default)]
pub struct Simulated {
    state: Mutex<Observation>,
    wake: Wake,
}

impl Simulated {
    /// An empty one; `wake` is woken when a machine ends.
    #[must_use]
    pub fn new(wake: Wake) -> Self {
        Self { state: Mutex::default(), wake }
    }

    /// One in which everything runs that ran when the agent last looked, for machines outlive
    /// their agent.
    ///
    /// # Errors
    /// When the machines' folders cannot be listed.
    pub fn surviving(store: &Store, wake: Wake) -> Result<Self, DurableError> {
        let simulated = Self::new(wake);
        for (uuid, stored) in store.list()? {
            let Ok(stored) = stored else { continue };
            if matches!(stored.record.stage, Stage::Released | Stage::Running) {
                let epoch = stored.record.epoch;
                let label = Label { storage: String::new(), epoch, stop_timeout: 0 };
                let domain = Domain { state: DomainState::Running, label };
                simulated.lock().domains.insert(uuid, domain);
            }
        }
        Ok(simulated)
    }

    /// Ends a machine as if by itself.
    pub fn end(&self, uuid: &str, how: End) {
        let mut state = self.lock();
        if state.domains.remove(uuid).is_some() {
            state.ended.insert(uuid.into(), how);
        }
        drop(state);
        self.wake.wake();
    }

    /// What there is, without taking the news of ends.
    #[cfg(test)]
    pub(super) fn observe_now(&self) -> Observation {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Observation> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait::async_trait]
impl Driver for Simulated {
    async fn observe(&self) -> Result<Observation, DriverError> {
        let mut state = self.lock();
        let ended = std::mem::take(&mut state.ended);
        Ok(Observation { domains: state.domains.clone(), ended })
    }

    async fn create(&self, uuid: &str, label: &Label, _xml: &str) -> Result<(), DriverError> {
        let domain = Domain { state: DomainState::Paused, label: label.clone() };
        self.lock().domains.entry(uuid.into()).or_insert(domain);
        Ok(())
    }

    async fn resume(&self, uuid: &str) -> Result<(), DriverError> {
        match self.lock().domains.get_mut(uuid) {
            Some(domain) => {
                domain.state = DomainState::Running;
                Ok(())
            }
            None => Err(DriverError::Absent { uuid: uuid.into() }),
        }
    }

    async fn shutdown(&self, uuid: &str) -> Result<(), DriverError> {
        self.end(uuid, End::ShutDown);
        Ok(())
    }

    async fn destroy(&self, uuid: &str) -> Result<bool, DriverError> {
        Ok(self.lock().domains.remove(uuid).is_some())
    }
}
