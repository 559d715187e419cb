//! Putting the parts together: with Docker and the kernel, or simulated.

use super::adoption::Leftovers;
use super::attach::Attacher;
use super::book::Book;
use super::docker::DockerDriver;
use super::driver::Driver;
use super::jobs::Jobs;
use super::network_driver::NetworkDriver;
use super::plugin::{Plugin, PluginError};
use super::reconciler::Containers;
use super::runs::{Runs, boot_id};
use super::simulated::SimulatedDriver;
use super::steps::Tools;
use crate::config::Config;
use crate::desired::Desired;
use crate::durable::DurableError;
use crate::reconcile::Wake;
use api::report::Adopted;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Why containers cannot be driven.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Docker cannot be given its network driver.
    #[error("cannot be Docker's network driver")]
    Plugin(#[from] PluginError),
    /// What must survive a restart cannot be read.
    #[error("cannot remember what containers there were")]
    Files(#[from] DurableError),
}

/// Ends tasks with their owner.
struct Tasks(Vec<JoinHandle<()>>);

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

/// Where the network driver's journal is.
#[must_use]
pub fn journal_path(data: &Path) -> PathBuf {
    data.join("containers/network.journal")
}

impl Containers {
    /// Opens the plugin's socket, so that Docker can start containers from now on, and listens to
    /// Docker, which need not be there yet. `wake` must wake the loop of this reconciler.
    ///
    /// # Errors
    /// When the socket or our own files cannot be opened.
    pub fn open(
        config: &Config,
        attacher: Arc<dyn Attacher>,
        desired: watch::Receiver<Arc<Desired>>,
        wake: Wake,
    ) -> Result<Self, OpenError> {
        let book = Book::open(&journal_path(&config.data))?;
        let runs = Runs::open(&config.data.join("containers/runs.json"))?;
        let network_driver = NetworkDriver::new(desired, book.clone(), attacher);
        let plugin = Plugin::open(&config.docker_plugins, network_driver)?;
        let docker = DockerDriver::new(&config.docker);
        let listening = docker.listen();
        let driver: Arc<dyn Driver> = Arc::new(docker);
        let tasks = Tasks(vec![listening, wake_on_change(driver.clone(), wake.clone())]);
        let tools = Tools::new(driver, runs, boot_id(), wake.clone());
        Ok(Self {
            tools,
            jobs: Jobs::new(wake),
            allow: config.allow.clone(),
            book: Some(book),
            leftovers: Leftovers::default(),
            adopted: watch::Sender::new(Vec::new()),
            last: Default::default(),
            _held: Box::new((plugin, tasks)),
        })
    }

    /// Containers that run as soon as they are wanted, and touch nothing.
    #[must_use]
    pub fn simulated(config: &Config, driver: Arc<SimulatedDriver>, wake: Wake) -> Self {
        let driver: Arc<dyn Driver> = driver;
        let tasks = Tasks(vec![wake_on_change(driver.clone(), wake.clone())]);
        let tools = Tools::new(driver, Runs::in_memory(), boot_id(), wake.clone());
        Self {
            tools,
            jobs: Jobs::new(wake),
            allow: config.allow.clone(),
            book: None,
            leftovers: Leftovers::default(),
            adopted: watch::Sender::new(Vec::new()),
            last: Default::default(),
            _held: Box::new(tasks),
        }
    }

    /// Hand-run containers on managed networks, whenever they change.
    #[must_use]
    pub fn adoptions(&self) -> watch::Receiver<Vec<Adopted>> {
        self.adopted.subscribe()
    }
}

fn wake_on_change(driver: Arc<dyn Driver>, wake: Wake) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            driver.changed().await;
            wake.wake();
        }
    })
}
