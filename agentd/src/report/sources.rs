//! Where every part of a report comes from.

use crate::desired::Desired;
use crate::facts;
use crate::reconcile::{Progress, Round};
use crate::sync::Contact;
use api::report::{Adopted, Capability, Facts, Report};
use futures_util::future::select_all;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::sync::watch;

/// What changes rarely about the host itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// What was probed, by name.
    pub capabilities: BTreeMap<String, Capability>,
    /// Addresses other hosts may reach this one at, the best first.
    pub addresses: Vec<IpAddr>,
}

/// A reconciler's loop, as seen from outside.
#[derive(Clone, Debug)]
pub struct WatchedRound {
    /// The reconciler's name.
    pub name: &'static str,
    /// Its last pass.
    pub progress: watch::Receiver<Progress>,
}

impl From<&Round> for WatchedRound {
    fn from(round: &Round) -> Self {
        Self { name: round.name, progress: round.progress.clone() }
    }
}

/// Everything that is told to controld and shown by `status`.
#[derive(Clone, Debug)]
pub struct Sources {
    /// The id of this run of agentd.
    pub boot: String,
    /// Whether the drivers are simulated.
    pub simulated: bool,
    /// What this host should be.
    pub desired: watch::Receiver<Arc<Desired>>,
    /// How the last exchange with controld went.
    pub contact: watch::Receiver<Contact>,
    /// The reconcilers.
    pub rounds: Vec<WatchedRound>,
    /// Hand-run containers on managed networks.
    pub adopted: watch::Receiver<Vec<Adopted>>,
    /// The host itself; nothing until everything was probed once.
    pub survey: watch::Receiver<Option<Survey>>,
}

impl Sources {
    /// The whole truth as it is now; `seq` is left 0.
    ///
    /// The generation told is the one that *every* reconciler has worked towards, so that an
    /// instance that is missing from the report is really gone.
    #[must_use]
    pub fn report(&self) -> Report {
        let desired = self.desired.borrow().clone();
        let mut report = Report {
            boot: self.boot.clone(),
            facts: self.facts(&desired),
            adopted: self.adopted.borrow().clone(),
            errors: desired.unread.clone(),
            ..Report::default()
        };
        let mut applied: Option<Progress> = None;
        for round in &self.rounds {
            let progress = round.progress.borrow().clone();
            report.instances.extend(progress.status.instances.clone());
            report.errors.extend(progress.status.errors.clone());
            report.facts.conditions.extend(progress.status.conditions.clone());
            if applied.as_ref().is_none_or(|least| progress.generation < least.generation) {
                applied = Some(progress);
            }
        }
        if let Some(least) = applied {
            report.applied_generation = least.generation;
            report.applied_hash = least.hash;
        }
        report
    }

    fn facts(&self, desired: &Desired) -> Facts {
        let survey = self.survey.borrow().clone().unwrap_or_default();
        let memory_mb = facts::memory_mb();
        Facts {
            hostname: facts::hostname(),
            version: env!("CARGO_PKG_VERSION").into(),
            addresses: survey.addresses,
            cpus: facts::processors(),
            memory_mb,
            memory_free_mb: facts::memory_free_mb(memory_mb, desired),
            capabilities: survey.capabilities,
            conditions: BTreeMap::new(),
            simulated: self.simulated,
        }
    }

    /// Waits until a part of the report may have changed.
    pub async fn changed(&mut self) {
        let rounds = self.rounds.iter_mut().map(|round| Box::pin(round.progress.changed()));
        let rounds = rounds.collect::<Vec<_>>();
        let any_round = async {
            match rounds.is_empty() {
                true => std::future::pending().await,
                false => drop(select_all(rounds).await),
            }
        };
        tokio::select! {
            () = any_round => {}
            _ = self.desired.changed() => {}
            Ok(()) = self.adopted.changed() => {}
            Ok(()) = self.survey.changed() => {}
        }
    }

    /// Waits until a report tells what is, rather than what is not known yet: the host was
    /// surveyed, and every reconciler has made its first pass if there is a snapshot to work on.
    pub async fn settled(&self) {
        // A sender that is gone tells nothing more; there is nothing to wait for then.
        let _ = self.survey.clone().wait_for(Option::is_some).await;
        if self.desired.borrow().host.is_some() {
            self.first_pass().await;
        }
    }

    /// Waits until every reconciler has made its first pass.
    pub async fn first_pass(&self) {
        for round in &self.rounds {
            // A loop that ended will make no pass; there is nothing to wait for then.
            let mut progress = round.progress.clone();
            let _ = progress.wait_for(|progress| progress.passes > 0).await;
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::reconcile::Status;
    use api::hash::SetHash;
    use api::report::{ErrorKind, Instance, ItemError, Phase};

    /// Sources over the given passes; the senders keep them alive.
    pub fn sources(passes: Vec<Progress>) -> (Sources, Vec<watch::Sender<Progress>>) {
        let mut senders = Vec::new();
        let mut rounds = Vec::new();
        for progress in passes {
            let (sender, progress) = watch::channel(progress);
            senders.push(sender);
            rounds.push(WatchedRound { name: "concern", progress });
        }
        let sources = Sources {
            boot: "b".into(),
            simulated: true,
            desired: watch::channel(Arc::default()).1,
            contact: watch::channel(Contact::None).1,
            rounds,
            adopted: watch::channel(Vec::new()).1,
            survey: watch::channel(Some(Survey::default())).1,
        };
        (sources, senders)
    }

    #[test]
    fn a_report_tells_the_generation_that_all_have_reached() {
        let instance = Instance { epoch: 1, phase: Phase::Running, ..Instance::default() };
        let error = ItemError { kind: ErrorKind::Transient, message: "later".into() };
        let ahead = Progress {
            generation: 9,
            status: Status {
                instances: [("u".into(), instance.clone())].into(),
                errors: [("container/u".into(), error.clone())].into(),
                conditions: [("forward-blocked".into(), "remedy".into())].into(),
                ..Status::default()
            },
            ..Progress::default()
        };
        let behind =
            Progress { generation: 8, hash: SetHash::of("a", "b", "c"), ..Progress::default() };
        let (sources, _senders) = sources(vec![ahead, behind.clone()]);
        let report = sources.report();
        assert_eq!((report.applied_generation, report.applied_hash), (8, behind.hash));
        assert_eq!(report.instances["u"], instance);
        assert_eq!(report.errors["container/u"], error);
        assert_eq!(report.facts.conditions["forward-blocked"], "remedy");
        assert!(report.facts.simulated && report.facts.cpus > 0);
    }

    #[tokio::test]
    async fn a_pass_is_a_change() {
        let (mut sources, senders) = sources(vec![Progress::default(), Progress::default()]);
        let waiting = tokio::spawn({
            let mut sources = sources.clone();
            async move { sources.changed().await }
        });
        senders[1].send_modify(|progress| progress.passes = 1);
        sources.changed().await;
        waiting.await.unwrap();
        senders[0].send_modify(|progress| progress.passes = 1);
        sources.settled().await;
    }
}
