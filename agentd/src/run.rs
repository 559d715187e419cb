//! The daemon as a whole: which part is wired to which.
//!
//! Order: the lock, what is durable, the reconcilers (which begin from the ledger, without
//! controld), the control socket, and only then the way to controld. The end leaves everything on
//! the host as it is: the data path does not need this process.

use crate::concerns::{self, Concerns, ConcernsError, Wakes};
use crate::config::Config;
use crate::control::{self, ControlError};
use crate::controld::enrol::{self, EnrolError};
use crate::desired::chain;
use crate::durable::DurableError;
use crate::ledger::{Ledger, LedgerError};
use crate::lock::{Lock, LockError};
use crate::report::{self, Sources, Survey};
use crate::sync::{self, Fence, Follower, Publish};
use crate::{probes, survey};
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Passes under way get this long to end.
const PARTING: Duration = Duration::from_secs(10);

/// Why the daemon cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Another one runs.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The ledger cannot be opened.
    #[error("cannot open the ledger")]
    Ledger(#[from] LedgerError),
    /// Something durable cannot be read.
    #[error("cannot open the data folder")]
    Durable(#[from] DurableError),
    /// A concern cannot be set up.
    #[error(transparent)]
    Concerns(#[from] ConcernsError),
    /// The control socket cannot be opened.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The host is no member of a cloud and cannot become one.
    #[error("cannot join a cloud")]
    Enrol(#[from] EnrolError),
    /// Signals cannot be waited for.
    #[error("cannot wait for signals")]
    Signals(#[source] std::io::Error),
    /// There is no randomness.
    #[error("cannot get random bytes")]
    Random(#[source] getrandom::Error),
}

/// Runs the daemon until SIGTERM or SIGINT.
///
/// # Errors
/// What cannot be cured by waiting; see [`RunError`].
pub async fn run(config: Config) -> Result<(), RunError> {
    let _lock = Lock::take(&config.data)?;
    let ledger = Ledger::open(&config.data.join("ledger"))?;
    let fence = Fence::open(&config.data)?;
    let (stop, stopped) = watch::channel(false);
    let hang_up = signal(SignalKind::hangup()).map_err(RunError::Signals)?;
    let publish = Publish { desired: watch::Sender::default(), contact: watch::Sender::default() };
    publish.snapshot(ledger.snapshot(), fence.is_set());
    let concerns = concerns::start(&config, &publish.desired, &stopped)?;
    let (survey, surveyed) = watch::channel(None);
    let sources = sources(&config, &publish, &concerns, surveyed)?;

    let mut tasks = JoinSet::new();
    let listener = control::listen(&config.control_socket())?;
    tasks.spawn(control::serve(listener, sources.clone(), stopped.clone()));
    tasks.spawn(survey::run(config.clone(), probes::all(&config), survey, stopped.clone()));
    tasks.spawn(look_again(hang_up, concerns.wakes, stopped.clone()));
    tasks.spawn(tell_ready(sources.clone(), stopped.clone()));
    let has_truth = ledger.snapshot().generation > 0;
    let joined = join(&config, publish, Follower::new(ledger), fence, sources, stopped);
    tokio::pin!(joined);
    let outcome = tokio::select! {
        outcome = &mut joined => outcome,
        signal = end_signal() => signal,
    };
    let outcome = match outcome {
        // A host that knows what it should be goes on being that, whatever controld says.
        Err(RunError::Enrol(error)) if has_truth => {
            tracing::error!("running on without controld: {}", chain(&error));
            end_signal().await
        }
        other => other,
    };
    tracing::info!("stopping; what runs on this host goes on");
    stop.send_replace(true);
    part(concerns.rounds, tasks).await;
    // A socket without an agent behind it would only mislead; a left-over one is replaced.
    drop(std::fs::remove_file(config.control_socket()));
    outcome
}

fn sources(
    config: &Config,
    publish: &Publish,
    concerns: &Concerns,
    survey: watch::Receiver<Option<Survey>>,
) -> Result<Sources, RunError> {
    Ok(Sources {
        boot: format!("{:016x}", getrandom::u64().map_err(RunError::Random)?),
        simulated: config.simulate,
        desired: publish.desired.subscribe(),
        contact: publish.contact.subscribe(),
        rounds: concerns.rounds.iter().map(Into::into).collect(),
        adopted: concerns.adopted.clone(),
        survey,
    })
}

/// Joins the cloud, then follows its controld and reports to it until told to stop.
async fn join(
    config: &Config,
    publish: Publish,
    follower: Follower,
    fence: Fence,
    sources: Sources,
    stop: watch::Receiver<bool>,
) -> Result<(), RunError> {
    let membership = enrol::membership(config).await?;
    let (client, host) = (membership.client, membership.host);
    let report = report::send(client.clone(), host.clone(), sources, stop.clone());
    let follow = sync::follow(client, host, follower, fence, publish, stop);
    tokio::join!(report, follow);
    Ok(())
}

/// On SIGHUP every reconciler looks again at once, rather than within a minute.
async fn look_again(mut hang_up: Signal, wakes: Wakes, mut stop: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            Some(()) = hang_up.recv() => wakes.wake_all(),
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

async fn end_signal() -> Result<(), RunError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(RunError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(RunError::Signals)?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Tells the service manager that this host is what its ledger says, or that it has none yet and
/// waits for controld.
async fn tell_ready(sources: Sources, mut stop: watch::Receiver<bool>) {
    if sources.desired.borrow().host.is_some() {
        tokio::select! {
            () = sources.first_pass() => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
    let contact = sources.contact.borrow().to_string();
    let states = [sd_notify::NotifyState::Ready, sd_notify::NotifyState::Status(&contact)];
    if let Err(error) = sd_notify::notify(false, &states) {
        tracing::warn!("cannot tell the service manager: {error}");
    }
    tracing::info!("ready");
}

/// Lets what is under way end, for a while.
async fn part(rounds: Vec<crate::reconcile::Round>, mut tasks: JoinSet<()>) {
    let parting = async {
        for round in rounds {
            let name = round.name;
            if let Err(error) = round.task.await {
                tracing::warn!("reconciler {name} ended badly: {error}");
            }
        }
        while tasks.join_next().await.is_some() {}
    };
    if tokio::time::timeout(PARTING, parting).await.is_err() {
        tracing::warn!("ending in the middle of a pass; the next start takes it up");
    }
}
