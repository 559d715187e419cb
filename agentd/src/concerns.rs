//! The reconcilers of a host with their drivers, real or simulated, and what wakes them.

use crate::config::Config;
use crate::desired::Desired;
use crate::networks::{Driver, Kernel, Networks, Ready, Simulated, TransitError, Transits};
use crate::reconcile::{self, Reconciler, Round, Wake};
use crate::services::Services;
use crate::survey::Probe;
use api::report::Adopted;
use netlib::dataplane::{Dataplane, DataplaneError};
use std::sync::Arc;
use tokio::sync::watch;

/// All concerns of a host, at work.
pub struct Concerns {
    /// The reconcilers' loops.
    pub rounds: Vec<Round>,
    /// Hand-run containers on managed networks.
    pub adopted: watch::Receiver<Vec<Adopted>>,
    /// What this host may be able to do.
    pub probes: Vec<Probe>,
}

/// Why a concern cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum ConcernsError {
    /// The kernel's network cannot be reached.
    #[error("cannot open the data plane; agentd needs root (or --simulate)")]
    Dataplane(#[from] DataplaneError),
    /// Transit addresses cannot be kept.
    #[error("cannot set up networks")]
    Transits(#[from] TransitError),
}

/// Sets the concerns up and starts their loops.
pub async fn start(
    config: &Config,
    desired: &watch::Sender<Arc<Desired>>,
    stop: &watch::Receiver<bool>,
) -> Result<Concerns, ConcernsError> {
    let driver: Arc<dyn Driver> = match config.simulate {
        true => Arc::new(Simulated::default()),
        false => Arc::new(Kernel(Arc::new(Dataplane::open(&config.run_dir)?))),
    };
    let (sender, ready) = Ready::channel();
    let (_adopt, adopted) = watch::channel(Vec::new());
    let transits = Transits::open(&config.data)?;
    let networks = Networks::new(driver.clone(), transits, config.overlay.clone(), sender);
    let services = Services::new(driver, ready.clone(), adopted.clone());
    let wakes = [Wake::default(), Wake::default()];
    wake_on_ready(ready, vec![wakes[1].clone()]);
    wake_on_adoption(adopted.clone(), wakes[1].clone());
    let reconcilers: [Box<dyn Reconciler>; 2] = [Box::new(networks), Box::new(services)];
    let rounds = reconcilers
        .into_iter()
        .zip(wakes)
        .map(|(reconciler, wake)| {
            reconcile::start(reconciler, desired.subscribe(), wake, stop.clone())
        })
        .collect();
    Ok(Concerns { rounds, adopted, probes: Vec::new() })
}

/// Wakes whoever waits for networks when another one is in place.
fn wake_on_ready(mut ready: Ready, wakes: Vec<Wake>) {
    tokio::spawn(async move {
        while ready.changed().await {
            wakes.iter().for_each(Wake::wake);
        }
    });
}

/// Wakes whoever gives names when a hand-run container came or went.
fn wake_on_adoption(mut adopted: watch::Receiver<Vec<Adopted>>, wake: Wake) {
    tokio::spawn(async move {
        while adopted.changed().await.is_ok() {
            wake.wake();
        }
    });
}
