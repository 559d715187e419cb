//! One pass over machines: observe, plan, and begin each next step as a job. A pass never waits for a
//! step; when one ends, it brings the next pass about, which sees what became of it.

use super::driver::{DriverError, Observation};
use super::plan::{Step, Wish, plan};
use super::record::Record;
use super::status::{Known, instance};
use super::store::{StoreError, Stored};
use super::work::{Tools, Workshop};
use crate::containers::jobs::{Aim, Jobs, Percent, Turn};
use crate::desired::{Desired, chain};
use crate::durable::DurableError;
use crate::reconcile::{Reconciler, Status, Wake};
use api::item::Machine;
use api::report::{ErrorKind, Instance, ItemError};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// When libvirt is away.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// Makes virtual machines be what the snapshot says.
pub struct Machines {
    shop: Arc<Workshop>,
    jobs: Jobs,
    /// The step that each running job is at.
    doing: BTreeMap<String, Step>,
    last: BTreeMap<String, Instance>,
}

/// What a pass starts from.
struct Sight {
    observation: Observation,
    stored: BTreeMap<String, Result<Stored, StoreError>>,
    wishes: BTreeMap<String, Wish>,
}

/// Why a pass sees nothing.
#[derive(Debug, thiserror::Error)]
enum Blind {
    #[error("cannot see this host's machines")]
    Driver(#[from] DriverError),
    #[error("cannot see this host's machines")]
    Store(#[from] DurableError),
}

#[async_trait::async_trait]
impl Reconciler for Machines {
    fn name(&self) -> &'static str {
        "machines"
    }

    async fn reconcile(&mut self, desired: &Arc<Desired>) -> Status {
        self.jobs.collect(Instant::now());
        let sight = match self.look(desired).await {
            Ok(sight) => sight,
            Err(error) => return self.out_of_sight(desired, &error),
        };
        self.publish(&sight);
        let mut status = Status::default();
        let steps = plan(&sight.wishes, &sight.observation.domains, &sight.plannable());
        for (uuid, step) in steps {
            if !desired.unread.contains_key(&format!("machine/{uuid}")) {
                self.step(desired, &uuid, step, &mut status);
            }
        }
        self.report(desired, &sight, &mut status);
        self.jobs.retain(|uuid| sight.wishes.contains_key(uuid) || sight.stored.contains_key(uuid));
        status.changes = self.shop.take_changes();
        self.last.clone_from(&status.instances);
        status
    }
}

impl Sight {
    /// What is stored, for the plan. A folder that cannot be read is planned for only when nobody
    /// wants the machine any more: then it goes.
    fn plannable(&self) -> BTreeMap<String, Stored> {
        let readable = self.stored.iter().filter_map(|(uuid, stored)| match stored {
            Ok(stored) => Some((uuid.clone(), stored.clone())),
            Err(_) if self.wishes.contains_key(uuid) => None,
            Err(_) => Some((uuid.clone(), Stored::default())),
        });
        readable.collect()
    }

    fn record(&self, uuid: &str) -> Option<&Record> {
        self.stored.get(uuid)?.as_ref().ok().map(|stored| &stored.record)
    }

    fn uuids(&self) -> BTreeSet<String> {
        let domains = self.observation.domains.keys();
        domains.chain(self.stored.keys()).chain(self.wishes.keys()).cloned().collect()
    }
}

impl Machines {
    /// A reconciler with these tools; `wake` wakes its loop.
    #[must_use]
    pub fn new(tools: Tools, wake: Wake) -> Self {
        Self {
            shop: Arc::new(Workshop::new(tools, wake.clone())),
            jobs: Jobs::new(wake),
            doing: BTreeMap::new(),
            last: BTreeMap::new(),
        }
    }

    async fn look(&self, desired: &Desired) -> Result<Sight, Blind> {
        let stored = self.shop.tools.store.list()?;
        let retained = desired.retained.keys().map(|uuid| (uuid.clone(), Wish::Retain));
        // A retained container is none of ours: it has no folder here.
        let retained = retained.filter(|(uuid, _)| stored.contains_key(uuid));
        let machines = desired.machines.values().map(|machine| &machine.guest);
        let machines = machines.map(|guest| (guest.uuid.clone(), Wish::of(guest)));
        let wishes: BTreeMap<_, _> = retained.chain(machines).collect();
        // A host without machines needs no libvirt: every domain of ours has a folder.
        let observation = match stored.is_empty() && wishes.is_empty() {
            true => Observation::default(),
            false => self.shop.tools.driver.observe().await?,
        };
        Ok(Sight { observation, stored, wishes })
    }

    /// Libvirt does not answer: what was known is still told, and nothing is done.
    fn out_of_sight(&self, desired: &Desired, blind: &Blind) -> Status {
        let error = ItemError { kind: ErrorKind::Transient, message: chain(blind) };
        let keys = desired.machines.keys().map(|uuid| format!("machine/{uuid}"));
        Status {
            changes: self.shop.take_changes(),
            instances: self.last.clone(),
            errors: keys.map(|key| (key, error.clone())).collect(),
            conditions: [("libvirt".into(), format!("{}; is libvirtd running?", chain(blind)))]
                .into(),
            retry_after: Some(LOOK_AGAIN),
        }
    }

    /// Tells the jobs under way what has become of their reasons.
    fn publish(&self, sight: &Sight) {
        let ended = sight.observation.ended.iter();
        let ours = ended.filter(|(uuid, _)| sight.stored.contains_key(*uuid));
        let ours: Vec<_> = ours.map(|(uuid, end)| (uuid.clone(), *end)).collect();
        self.shop.ends.send_if_modified(|ends| {
            let news = !ours.is_empty();
            ends.extend(ours);
            news
        });
        self.shop.wishes.send_replace(sight.wishes.clone());
        self.shop.domains.send_replace(sight.observation.domains.keys().cloned().collect());
    }

    /// Begins a step, if it is this machine's turn.
    fn step(&mut self, desired: &Arc<Desired>, uuid: &str, step: Step, status: &mut Status) {
        let machine = desired.machines.get(uuid);
        let aim = machine.map(aim_of);
        let now = Instant::now();
        match self.jobs.turn(uuid, aim.as_ref(), now) {
            Turn::Busy(_) => return,
            Turn::Failed(_, pause) => {
                if let Some(pause) = pause {
                    sooner(status, pause);
                }
                return;
            }
            Turn::Now => {}
        }
        if step == (Step::Start { again: true })
            && let Some(pause) = self.jobs.restart_pause(uuid, now)
        {
            return sooner(status, pause);
        }
        let (shop, desired) = (Arc::clone(&self.shop), Arc::clone(desired));
        let id = uuid.to_owned();
        self.doing.insert(id.clone(), step);
        self.jobs.begin(uuid, aim, move |percent| run(shop, desired, id, step, percent));
    }

    fn report(&mut self, desired: &Desired, sight: &Sight, status: &mut Status) {
        for uuid in sight.uuids() {
            let machine = desired.machines.get(&uuid);
            let progress = match self.jobs.turn(&uuid, machine.map(aim_of).as_ref(), Instant::now())
            {
                Turn::Busy(percent) => Some(percent),
                Turn::Now | Turn::Failed(..) => None,
            };
            let error = match sight.stored.get(&uuid) {
                Some(Err(error)) => {
                    let kind = ErrorKind::Internal;
                    Some(ItemError { kind, message: chain(error) })
                }
                _ => self.jobs.last_error(&uuid).cloned(),
            };
            let step = self.doing.get(&uuid).copied();
            let known = Known {
                wish: sight.wishes.get(&uuid),
                domain: sight.observation.domains.get(&uuid),
                record: sight.record(&uuid),
                doing: progress.and_then(|percent| Some((step?, percent))),
                error: error.as_ref(),
            };
            if let Some(shown) = instance(&known) {
                status.instances.insert(uuid.clone(), shown);
            }
            if let Some(error) = error {
                let kind = if machine.is_some() { "machine" } else { "retained" };
                status.errors.insert(format!("{kind}/{uuid}"), error);
            }
        }
    }
}

/// What a failure was about: it counts until something else is wanted.
fn aim_of(machine: &Machine) -> Aim {
    let text = serde_json::to_vec(machine).unwrap_or_default();
    let specification = blake3::hash(&text).to_hex().to_string();
    Aim { specification, epoch: machine.guest.epoch }
}

fn sooner(status: &mut Status, pause: Duration) {
    status.retry_after = Some(status.retry_after.map_or(pause, |held| held.min(pause)));
}

type Job = Pin<Box<dyn Future<Output = Result<(), ItemError>> + Send>>;

/// One step, as a job.
fn run(
    shop: Arc<Workshop>,
    desired: Arc<Desired>,
    uuid: String,
    step: Step,
    percent: Percent,
) -> Job {
    Box::pin(async move {
        let machine = desired.machines.get(&uuid);
        let wake = shop.wake.clone();
        let progress = Arc::new(move |value| {
            if percent.set(value) {
                wake.wake();
            }
        });
        let outcome = match (step, machine) {
            (Step::Start { again }, Some(machine)) => {
                shop.start(machine, again, &desired, progress).await
            }
            (Step::Release, Some(machine)) => shop.release(machine, &desired).await,
            (Step::Stop(patience), _) => shop.stop(&uuid, patience).await,
            (Step::NoteEnd, _) => shop.note_end(&uuid).await,
            (Step::Free, _) => shop.free(&uuid, desired.retained.contains_key(&uuid)).await,
            (Step::Remove, _) => shop.remove(&uuid).await,
            // The plan starts only what is wanted, from the same snapshot.
            (Step::Start { .. } | Step::Release, None) => Ok(()),
        };
        outcome.map_err(ItemError::from)
    })
}

#[cfg(test)]
mod tests;
