//! One pass over containers: observe, plan, apply. Quick steps are done at once, others become jobs;
//! the next pass, which they bring about, verifies them.

use super::adoption::{self, Leftovers};
use super::book::{Book, BookError};
use super::creation::{Creation, specification};
use super::driver::{DriverError, Observation, RunInfo, RunState};
use super::jobs::{Aim, Jobs, Turn};
use super::journal::State;
use super::plan::{self, Memory, NetworkStep, Step};
use super::steps::Tools;
use super::view::{self, Sight};
use crate::desired::{Desired, chain};
use crate::reconcile::{Reconciler, Status};
use api::item::Want;
use api::report::{Adopted, ErrorKind, Instance, ItemError};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// When the engine is away, or a network is in somebody's way.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// While somebody may be restarting a container by hand.
const SETTLE_LOOK: Duration = Duration::from_secs(1);

/// Makes containers be what the snapshot says.
pub struct Containers {
    pub(super) tools: Tools,
    pub(super) jobs: Jobs,
    pub(super) allow: BTreeSet<String>,
    /// None in a simulation, which has no plugin.
    pub(super) book: Option<Book>,
    pub(super) leftovers: Leftovers,
    pub(super) adopted: watch::Sender<Vec<Adopted>>,
    pub(super) last: BTreeMap<String, Instance>,
    /// What must live as long as the reconciler.
    pub(super) _held: Box<dyn std::any::Any + Send + Sync>,
}

#[async_trait::async_trait]
impl Reconciler for Containers {
    fn name(&self) -> &'static str {
        "containers"
    }

    async fn reconcile(&mut self, desired: &Arc<Desired>) -> Status {
        let mut status = Status::default();
        self.jobs.collect(Instant::now());
        let seen = match self.look(desired, &mut status).await {
            Ok(seen) => seen,
            Err(error) => return self.out_of_sight(desired, &error),
        };
        self.keep_book(desired, &seen).await;
        let infos = self.infos(desired, &seen).await;
        let steps = self.tools.with_runs(|runs| {
            let memory = Memory { runs: runs.all(), infos: &infos, boot: self.tools.boot() };
            plan::containers(desired, &seen, memory)
        });
        for (uuid, step) in &steps {
            self.step(desired, &seen, uuid, step, &mut status).await;
        }
        self.remove_volumes(desired, &seen, &mut status).await;
        self.forget(desired, &steps);
        self.last.clone_from(&status.instances);
        status
    }
}

impl Containers {
    /// Observes; makes and removes networks; observes again if that changed anything.
    async fn look(
        &mut self,
        desired: &Desired,
        status: &mut Status,
    ) -> Result<Observation, DriverError> {
        let seen = self.tools.driver().observe().await?;
        let before = status.changes;
        for step in plan::networks(desired, &seen) {
            self.network_step(step, status).await;
        }
        if status.changes == before { Ok(seen) } else { self.tools.driver().observe().await }
    }

    async fn network_step(&self, step: NetworkStep, status: &mut Status) {
        let driver = self.tools.driver();
        let (vni, error) = match step {
            NetworkStep::Make(network) => {
                (network.vni, driver.create_network(&network).await.err().map(item_error))
            }
            NetworkStep::Remove { id, vni, .. } => {
                (vni, driver.remove_network(&id).await.err().map(item_error))
            }
            NetworkStep::NameTaken { vni, name } => (vni, Some(name_taken(&name))),
            NetworkStep::InUse { vni, name, by } => (vni, Some(in_use(&name, &by))),
        };
        match error {
            None => status.changes += 1,
            Some(error) => {
                status.errors.insert(format!("network/{vni}/docker"), error);
                sooner(status, LOOK_AGAIN);
            }
        }
    }

    /// Brings the journal up to what Docker shows, and tells of hand-run containers.
    async fn keep_book(&mut self, desired: &Arc<Desired>, seen: &Observation) {
        let Some(book) = &self.book else { return };
        let state = book.state();
        let lacking = adoption::lacking(desired, seen, &state, |id| book.has_ended(id));
        let ripe = self.leftovers.ripe(seen, &state, Instant::now());
        let work = !lacking.is_empty() || !ripe.is_empty();
        // Decided again with nobody deciding at the same time: Docker goes on meanwhile.
        let (decider, desired, looked) = (book.clone(), desired.clone(), seen.clone());
        let decide = move |state: &State| {
            let ended = |id: &str| decider.has_ended(id);
            let mut records = adoption::lacking(&desired, &looked, state, ended);
            records.extend(ripe);
            Ok::<_, BookError>(((), records))
        };
        if work && let Err(error) = book.decide(decide).await {
            tracing::warn!(error = chain(&error), "the driver's journal lags behind Docker");
        }
        let adopted = adoption::adopted(seen, &book.state());
        self.adopted.send_if_modified(|held| {
            let changed = *held != adopted;
            *held = adopted;
            changed
        });
    }

    /// How containers ended that are wanted running and do not run.
    async fn infos(&self, desired: &Desired, seen: &Observation) -> BTreeMap<String, RunInfo> {
        let mut infos = BTreeMap::new();
        for (id, held) in &seen.containers {
            let wanted = desired.containers.get(&held.uuid);
            let runs = wanted.is_some_and(|container| container.guest.want == Want::Running);
            if held.state != RunState::Exited || !runs {
                continue;
            }
            match self.tools.driver().inspect(id).await {
                Ok(Some(info)) => {
                    infos.insert(id.clone(), info);
                }
                Ok(None) => {}
                Err(error) => tracing::warn!(error = chain(&error), "an end is not understood yet"),
            }
        }
        infos
    }

    async fn step(
        &mut self,
        desired: &Arc<Desired>,
        seen: &Observation,
        uuid: &str,
        step: &Step,
        status: &mut Status,
    ) {
        let container = desired.containers.get(uuid);
        let aim = container.map(|container| Aim {
            specification: specification(container),
            epoch: container.guest.epoch,
        });
        let mut turn = self.jobs.turn(uuid, aim.as_ref(), Instant::now());
        match step {
            Step::Keep | Step::AwaitNetwork { .. } => {}
            Step::Settle => sooner(status, SETTLE_LOOK),
            Step::Adopt { .. } | Step::End { .. } => {
                if let Err(error) = self.tools.note_seen(uuid, step).await {
                    turn = Turn::Failed(error, Some(LOOK_AGAIN));
                }
            }
            _ if turn == Turn::Now && self.may_begin(uuid, step, status) => {
                let creation = container
                    .filter(|_| step.needs_creation())
                    .map(|container| Creation::of(container, desired, &self.allow));
                let (tools, name, work) = (self.tools.clone(), uuid.to_owned(), step.clone());
                let job = |percent| tools.perform(name, work, creation, percent);
                self.jobs.begin(uuid, aim, job);
                status.changes += 1;
                turn = Turn::Busy(None);
            }
            _ => {}
        }
        self.tell(desired, seen, uuid, step, turn, status);
    }

    /// Whether a step may begin now; the restart policy wants pauses.
    fn may_begin(&mut self, uuid: &str, step: &Step, status: &mut Status) -> bool {
        let Step::Again { .. } = step else { return true };
        let pause = self.jobs.restart_pause(uuid, Instant::now());
        if let Some(pause) = pause {
            sooner(status, pause);
        }
        pause.is_none()
    }

    fn tell(
        &self,
        desired: &Desired,
        seen: &Observation,
        uuid: &str,
        step: &Step,
        turn: Turn,
        status: &mut Status,
    ) {
        if let Turn::Failed(error, pause) = &turn {
            status.errors.insert(format!("container/{uuid}"), error.clone());
            if let Some(pause) = pause {
                sooner(status, *pause);
            }
        }
        let sight = Sight {
            container: desired.containers.get(uuid),
            retained: desired.retained.contains_key(uuid),
            held: seen.containers.values().find(|held| held.uuid == uuid),
            run: self.tools.with_runs(|runs| runs.all().get(uuid).cloned()),
            step,
            turn,
            last_error: self.jobs.last_error(uuid),
        };
        status.instances.insert(uuid.into(), view::instance(&sight));
    }

    async fn remove_volumes(&self, desired: &Desired, seen: &Observation, status: &mut Status) {
        for name in plan::unused_volumes(desired, seen) {
            match self.tools.driver().remove_volume(&name).await {
                Ok(()) => status.changes += 1,
                // A container made of it in this moment; the next pass sees it.
                Err(error) => tracing::debug!(error = chain(&error), "a volume stays"),
            }
        }
    }

    fn forget(&mut self, desired: &Desired, steps: &BTreeMap<String, Step>) {
        let known = |uuid: &str| {
            let wanted = desired.containers.contains_key(uuid);
            wanted || desired.retained.contains_key(uuid) || steps.contains_key(uuid)
        };
        self.jobs.retain(known);
        if let Err(error) = self.tools.with_runs(|runs| runs.retain(known)) {
            tracing::warn!(error = chain(&error), "starts of containers that are gone stay noted");
        }
    }

    /// Docker cannot be asked: what was seen last is told, and that it may be old.
    fn out_of_sight(&self, desired: &Desired, error: &DriverError) -> Status {
        let mut status = Status { retry_after: Some(LOOK_AGAIN), ..Status::default() };
        let error = ItemError { kind: error.kind, message: chain(error) };
        if !desired.containers.is_empty() {
            let remedy = format!("{}; start Docker, or see its log", error.message);
            status.conditions.insert("docker-unreachable".into(), remedy);
        }
        for uuid in desired.containers.keys() {
            let last = self.last.get(uuid).cloned().unwrap_or_else(view::unknown);
            status.instances.insert(uuid.clone(), last);
            status.errors.insert(format!("container/{uuid}"), error.clone());
        }
        for (uuid, last) in &self.last {
            status.instances.entry(uuid.clone()).or_insert_with(|| last.clone());
        }
        status
    }
}

fn sooner(status: &mut Status, pause: Duration) {
    status.retry_after = Some(status.retry_after.map_or(pause, |held| held.min(pause)));
}

fn item_error(error: DriverError) -> ItemError {
    ItemError { kind: error.kind, message: chain(&error) }
}

fn name_taken(name: &str) -> ItemError {
    let message = format!(
        "cannot make Docker network {name}: there is one of this name that Stampede did not make; \
         remove it with `docker network rm {name}`"
    );
    ItemError { kind: ErrorKind::ConflictWithForeign, message }
}

pub(super) fn in_use(name: &str, by: &[String]) -> ItemError {
    let by = by.join(", ");
    let message = format!(
        "cannot remove Docker network {name}: containers that were started by hand are on it: \
         {by}; remove them, or take them off with `docker network disconnect {name} CONTAINER`"
    );
    ItemError { kind: ErrorKind::ConflictWithForeign, message }
}

#[cfg(test)]
mod tests;
