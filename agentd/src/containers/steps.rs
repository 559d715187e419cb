//! Doing one step of the plan for one container.

use super::creation::{Creation, CreationError};
use super::driver::{Driver, DriverError};
use super::jobs::Percent;
use super::plan::Step;
use super::runs::{Run, Runs};
use crate::desired::chain;
use crate::durable::DurableError;
use crate::reconcile::Wake;
use api::report::{ErrorKind, ItemError};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;

/// Calls to the engine at the same time; more only queue up inside it.
const AT_ONCE: usize = 8;
/// Downloads at the same time.
const DOWNLOADS_AT_ONCE: usize = 3;

/// What steps need. Cheap to clone.
#[derive(Clone)]
pub struct Tools {
    driver: Arc<dyn Driver>,
    runs: Arc<Mutex<Runs>>,
    boot: Arc<str>,
    calls: Arc<Semaphore>,
    downloads: Arc<Semaphore>,
    wake: Wake,
}

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error(transparent)]
    Creation(#[from] CreationError),
    #[error("cannot start a container that was made when this host allowed it")]
    Revoked(#[source] CreationError),
    #[error(transparent)]
    Driver(#[from] DriverError),
    #[error("cannot note that the container was started")]
    Note(#[from] DurableError),
    #[error("cannot start container {0}: it is gone")]
    Gone(String),
    #[error("cannot finish noting that the container was started")]
    Interrupted(#[source] tokio::task::JoinError),
}

impl StepError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Creation(CreationError::UnknownNetwork(_)) | Self::Gone(_) => {
                ErrorKind::Transient
            }
            Self::Creation(_) => ErrorKind::Invalid,
            // Not the container's fault: it waits for the operator and is not given up.
            Self::Revoked(_) => ErrorKind::MissingCapability,
            Self::Driver(error) => error.kind,
            Self::Note(_) | Self::Interrupted(_) => ErrorKind::Internal,
        }
    }
}

impl Tools {
    /// Tools for steps; `wake` is told when a download has moved.
    #[must_use]
    pub fn new(driver: Arc<dyn Driver>, runs: Runs, boot: String, wake: Wake) -> Self {
        Self {
            driver,
            runs: Arc::new(Mutex::new(runs)),
            boot: boot.into(),
            calls: Arc::new(Semaphore::new(AT_ONCE)),
            downloads: Arc::new(Semaphore::new(DOWNLOADS_AT_ONCE)),
            wake,
        }
    }

    /// The engine.
    #[must_use]
    pub fn driver(&self) -> &Arc<dyn Driver> {
        &self.driver
    }

    /// This boot of the host.
    #[must_use]
    pub fn boot(&self) -> &str {
        &self.boot
    }

    /// Reads the noted starts.
    pub fn with_runs<T>(&self, read: impl FnOnce(&mut Runs) -> T) -> T {
        read(&mut self.runs.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Does a step that needs the engine; `creation` is what the container is made from, where
    /// [`Step::needs_creation`] says so.
    ///
    /// # Errors
    /// Whatever kept the step from being done.
    pub async fn perform(
        self,
        uuid: String,
        step: Step,
        creation: Option<Result<Creation, CreationError>>,
        percent: Percent,
    ) -> Result<(), ItemError> {
        let done = self.attempt(&uuid, step, creation, percent).await;
        done.map_err(|error| ItemError { kind: error.kind(), message: chain(&error) })
    }

    async fn attempt(
        &self,
        uuid: &str,
        step: Step,
        creation: Option<Result<Creation, CreationError>>,
        percent: Percent,
    ) -> Result<(), StepError> {
        match step {
            Step::Make => match creation {
                Some(creation) => self.make(&creation?, percent).await,
                None => Ok(()),
            },
            Step::Start { id, epoch } => {
                still_allowed(creation)?;
                self.start(uuid, &id, Some(epoch)).await
            }
            Step::Again { id, .. } => {
                still_allowed(creation)?;
                self.start(uuid, &id, None).await
            }
            Step::Stop { id, timeout } => Ok(self.driver.stop(&id, timeout).await?),
            Step::Remove { id } => {
                let _slot = self.calls.acquire().await;
                Ok(self.driver.remove(&id).await?)
            }
            Step::Adopt { .. }
            | Step::End { .. }
            | Step::Keep
            | Step::Settle
            | Step::AwaitNetwork { .. } => Ok(()),
        }
    }

    async fn make(&self, creation: &Creation, percent: Percent) -> Result<(), StepError> {
        {
            let _slot = self.downloads.acquire().await;
            let progress = |now: u8| {
                if percent.set(now) {
                    self.wake.wake();
                }
            };
            self.driver.ensure_image(&creation.reference, &progress).await?;
        }
        let _slot = self.calls.acquire().await;
        self.driver.create(creation).await?;
        Ok(())
    }

    /// Starts an epoch, or the same one again when none is given.
    async fn start(&self, uuid: &str, id: &str, epoch: Option<u64>) -> Result<(), StepError> {
        let _slot = self.calls.acquire().await;
        let info = self.driver.inspect(id).await?;
        let before = info.ok_or_else(|| StepError::Gone(id.into()))?.started_at;
        let boot = self.boot.to_string();
        let held = self.with_runs(|runs| runs.all().get(uuid).cloned()).unwrap_or_default();
        let run = match epoch {
            Some(epoch) => Run { epoch, boot, before, ended: None, restarts: 0 },
            None => Run { boot, before, ended: None, restarts: held.restarts + 1, ..held },
        };
        self.note(uuid, run).await?;
        Ok(self.driver.start(id).await?)
    }

    async fn note(&self, uuid: &str, run: Run) -> Result<(), StepError> {
        let (tools, uuid) = (self.clone(), uuid.to_owned());
        let note = move || tools.with_runs(|runs| runs.put(&uuid, run));
        Ok(tokio::task::spawn_blocking(note).await.map_err(StepError::Interrupted)??)
    }

    /// Notes what was seen of an epoch without touching the engine.
    ///
    /// # Errors
    /// When it cannot be made durable.
    pub async fn note_seen(&self, uuid: &str, step: &Step) -> Result<(), ItemError> {
        let held = self.with_runs(|runs| runs.all().get(uuid).cloned()).unwrap_or_default();
        let run = match step {
            Step::Adopt { epoch } => {
                let boot = self.boot.to_string();
                Run { epoch: *epoch, boot, ended: None, ..held }
            }
            Step::End { exit } => Run { ended: Some(*exit), ..held },
            _ => return Ok(()),
        };
        let noted = self.note(uuid, run).await;
        noted.map_err(|error| ItemError { kind: error.kind(), message: chain(&error) })
    }
}

/// An operator may have taken back what he allowed when the container was made.
fn still_allowed(creation: Option<Result<Creation, CreationError>>) -> Result<(), StepError> {
    match creation {
        Some(Err(error)) if error.is_not_allowed() => Err(StepError::Revoked(error)),
        _ => Ok(()),
    }
}
