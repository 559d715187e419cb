//! Looking at the host itself: what it can do, and where it is reached.
//!
//! Everything is probed at start. A service that was not there is tried again every few seconds,
//! since Docker or libvirt may be started after agentd; what worked is not, for its own reconciler
//! tells when it breaks.

use crate::config::Config;
use crate::facts;
use crate::report::Survey;
use api::report::Capability;
use futures_util::future::{BoxFuture, join_all};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How often addresses are looked up and missing services are tried again.
const PERIOD: Duration = Duration::from_secs(5);
/// How long a probe may take; the first report waits for all of them.
const PATIENCE: Duration = Duration::from_secs(10);

/// Tries one thing that a host may be able to do.
pub type Try = Arc<dyn Fn() -> BoxFuture<'static, Capability> + Send + Sync>;

/// A probe by the name of what it probes.
#[derive(Clone)]
pub struct Probe {
    /// The capability's name.
    pub name: &'static str,
    /// Tries it.
    pub attempt: Try,
    /// Whether it is worth trying again: the kernel does not change, services come up.
    pub again: bool,
}

impl Probe {
    /// A probe that gives a detail, for instance a version, or an error.
    pub fn new<F, E>(name: &'static str, attempt: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<String, E>> + Send + 'static,
        E: std::error::Error,
    {
        let attempt: Try = Arc::new(move || {
            let outcome = attempt();
            Box::pin(async move {
                match outcome.await {
                    Ok(detail) => Capability { ok: true, detail },
                    Err(error) => Capability { ok: false, detail: crate::desired::chain(&error) },
                }
            })
        });
        Self { name, attempt, again: false }
    }

    /// The same, tried again until it works.
    #[must_use]
    pub fn until_it_works(self) -> Self {
        Self { again: true, ..self }
    }
}

/// Surveys the host until `stop` turns true.
pub async fn run(
    config: Config,
    probes: Vec<Probe>,
    publish: watch::Sender<Option<Survey>>,
    mut stop: watch::Receiver<bool>,
) {
    let mut survey = Survey::default();
    loop {
        let held = &survey.capabilities;
        let due = probes
            .iter()
            .filter(|probe| held.get(probe.name).is_none_or(|it| probe.again && !it.ok));
        let outcomes = join_all(due.map(|probe| async { (probe.name, attempt(probe).await) }));
        for (name, capability) in outcomes.await {
            survey.capabilities.insert(name.into(), capability);
        }
        let config = config.clone();
        let addresses = tokio::task::spawn_blocking(move || addresses(&config)).await;
        survey.addresses = addresses.unwrap_or_default();
        publish.send_if_modified(|held| {
            let changed = held.as_ref() != Some(&survey);
            *held = Some(survey.clone());
            changed
        });
        tokio::select! {
            () = tokio::time::sleep(PERIOD) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

async fn attempt(probe: &Probe) -> Capability {
    let late = || {
        let detail = format!("no answer within {} s", PATIENCE.as_secs());
        Capability { ok: false, detail }
    };
    tokio::time::timeout(PATIENCE, (probe.attempt)()).await.unwrap_or_else(|_| late())
}

/// Where other hosts reach this one, the best first: what the operator says; else the address on
/// the way to controld, or towards the world when controld is on this very host.
fn addresses(config: &Config) -> Vec<IpAddr> {
    if let Some(advertised) = config.advertise {
        return vec![advertised];
    }
    let towards_controld = config.controld.as_deref().and_then(facts::address_towards);
    let found = match towards_controld {
        Some(address) if !address.is_loopback() => Some(address),
        loopback => facts::address_towards(facts::SOMEWHERE).or(loopback),
    };
    found.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[tokio::test]
    async fn probes_are_named_and_told() {
        let tries = Arc::new(AtomicU32::new(0));
        let counted = tries.clone();
        let good = Probe::new("good", move || {
            counted.fetch_add(1, Ordering::Relaxed);
            std::future::ready(Ok::<_, std::io::Error>("1.2".into()))
        });
        let bad = Probe::new("bad", || {
            std::future::ready(Err::<String, _>(std::io::Error::other("no such thing")))
        });
        let (publish, mut survey) = watch::channel(None);
        let (stop, stopped) = watch::channel(false);
        let config = Config { advertise: "192.0.2.7".parse().ok(), ..Config::default() };
        let running = tokio::spawn(run(config, vec![good, bad], publish, stopped));
        survey.changed().await.unwrap();
        let found = survey.borrow_and_update().clone().unwrap();
        assert_eq!(found.addresses, ["192.0.2.7".parse::<IpAddr>().unwrap()]);
        assert_eq!(found.capabilities["good"], Capability { ok: true, detail: "1.2".into() });
        assert!(!found.capabilities["bad"].ok);
        assert_eq!(found.capabilities["bad"].detail, "no such thing");
        stop.send(true).unwrap();
        running.await.unwrap();
        assert_eq!(tries.load(Ordering::Relaxed), 1);
    }
}
