//! The reconcilers of a host with their drivers, real or simulated, and what wakes them.

use crate::config::Config;
use crate::containers::{self, Containers, KernelAttacher};
use crate::desired::Desired;
use crate::durable::DurableError;
use crate::machines::{HostPorts, Machines};
use crate::networks::{Driver, Kernel, Networks, Ready, Simulated, TransitError, Transits};
use crate::reconcile::{self, Reconciler, Round, Wake};
use crate::services::Services;
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
    /// Wakes all reconcilers.
    pub wakes: Wakes,
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
    /// Containers cannot be driven.
    #[error("cannot set up containers")]
    Containers(#[from] containers::OpenError),
    /// Machines cannot be driven.
    #[error("cannot set up machines")]
    Machines(#[source] DurableError),
}

/// What differs between a real and a simulated host.
struct Drivers {
    network: Arc<dyn Driver>,
    containers: Containers,
    machines: Machines,
}

/// What wakes each reconciler.
#[derive(Clone, Debug, Default)]
pub struct Wakes {
    networks: Wake,
    services: Wake,
    containers: Wake,
    machines: Wake,
}

impl Wakes {
    /// Asks every reconciler for another look.
    pub fn wake_all(&self) {
        [&self.networks, &self.services, &self.containers, &self.machines]
            .into_iter()
            .for_each(Wake::wake);
    }
}

/// Sets the concerns up and starts their loops.
///
/// # Errors
/// When something that a concern needs from the start is not to be had.
pub fn start(
    config: &Config,
    desired: &watch::Sender<Arc<Desired>>,
    stop: &watch::Receiver<bool>,
) -> Result<Concerns, ConcernsError> {
    let (sender, ready) = Ready::channel();
    let wakes = Wakes::default();
    let drivers = match config.simulate {
        true => simulated(config, &wakes)?,
        false => real(config, desired, &ready, &wakes)?,
    };
    let adopted = drivers.containers.adoptions();
    let transits = Transits::open(&config.data)?;
    let allowed = config.overlay.clone();
    let networks = Networks::new(drivers.network.clone(), transits, allowed, sender);
    let services = Services::new(drivers.network, ready.clone(), adopted.clone());
    wake_on_ready(ready, wakes.clone());
    wake_on_adoption(adopted.clone(), wakes.services.clone());
    let start = |reconciler: Box<dyn Reconciler>, wake: Wake| {
        reconcile::start(reconciler, desired.subscribe(), wake, stop.clone())
    };
    let rounds = vec![
        start(Box::new(networks), wakes.networks.clone()),
        start(Box::new(services), wakes.services.clone()),
        start(Box::new(drivers.containers), wakes.containers.clone()),
        start(Box::new(drivers.machines), wakes.machines.clone()),
    ];
    Ok(Concerns { rounds, adopted, wakes })
}

fn real(
    config: &Config,
    desired: &watch::Sender<Arc<Desired>>,
    ready: &Ready,
    wakes: &Wakes,
) -> Result<Drivers, ConcernsError> {
    let dataplane = Arc::new(Dataplane::open(&config.run_dir)?);
    let attacher = Arc::new(KernelAttacher::new(dataplane.clone(), ready.clone()));
    let wake = wakes.containers.clone();
    let containers = Containers::open(config, attacher, desired.subscribe(), wake)?;
    let ports = Arc::new(HostPorts::new(dataplane.clone(), ready.clone()));
    let machines = Machines::open(config, ports, wakes.machines.clone());
    let machines = machines.map_err(ConcernsError::Machines)?;
    Ok(Drivers { network: Arc::new(Kernel(dataplane)), containers, machines })
}

fn simulated(config: &Config, wakes: &Wakes) -> Result<Drivers, ConcernsError> {
    let machines = Machines::simulated(config, wakes.machines.clone());
    Ok(Drivers {
        network: Arc::new(Simulated::default()),
        containers: Containers::simulated(config, Arc::default(), wakes.containers.clone()),
        machines: machines.map_err(ConcernsError::Machines)?,
    })
}

/// Wakes whoever waits for networks when another one is in place.
fn wake_on_ready(mut ready: Ready, wakes: Wakes) {
    tokio::spawn(async move {
        while ready.changed().await {
            wakes.services.wake();
            wakes.containers.wake();
            wakes.machines.wake();
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
