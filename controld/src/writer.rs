//! The one writer: takes jobs, commits them in groups, publishes what was committed.
//!
//! All jobs that wait go into one transaction, each behind a savepoint; they are answered after the
//! commit. The writer's own world runs ahead of the published one by the transaction at hand.

use crate::clock;
use crate::core::Refusal;
use crate::draft::{Draft, take_back};
use crate::shared::Shared;
use crate::store::{Store, StoreError, Work};
use crate::world::World;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Jobs that may go into one transaction.
const GROUP: usize = 256;

/// Hands jobs to the writer; clones share it.
#[derive(Clone)]
pub struct Writer {
    jobs: mpsc::Sender<Box<dyn Job>>,
}

impl Writer {
    /// Starts the writer over an open store and the world that was loaded from it.
    #[must_use]
    pub fn start(
        store: Store,
        world: World,
        shared: Arc<Shared>,
    ) -> (Self, tokio::task::JoinHandle<()>) {
        let (jobs, queue) = mpsc::channel(4 * GROUP);
        let next_id = world.last_id() + 1;
        let generation = shared.read().board.generation();
        let task = Task { store, world, shared, next_id, generation };
        (Self { jobs }, tokio::spawn(task.run(queue)))
    }

    /// Runs `work` in a transaction; returns after its commit. What `work` changed is taken back
    /// when it refuses.
    ///
    /// # Errors
    /// The refusal of `work`, or that of the store.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Draft<'_>) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let (reply, answer) = oneshot::channel();
        let job = Pending { work: Some(work), outcome: None, reply };
        self.jobs.send(Box::new(job)).await.map_err(|_| Refusal::unavailable())?;
        answer.await.map_err(|_| Refusal::unavailable())?
    }
}

/// A job in the queue.
trait Job: Send {
    /// Does the work; false when it refused.
    fn perform(&mut self, draft: &mut Draft<'_>) -> bool;
    /// Tells the outcome, or the failure that took it back.
    fn answer(self: Box<Self>, failure: Option<Refusal>);
}

struct Pending<F, T> {
    work: Option<F>,
    outcome: Option<Result<T, Refusal>>,
    reply: oneshot::Sender<Result<T, Refusal>>,
}

impl<F, T> Job for Pending<F, T>
where
    F: FnOnce(&mut Draft<'_>) -> Result<T, Refusal> + Send,
    T: Send,
{
    fn perform(&mut self, draft: &mut Draft<'_>) -> bool {
        let outcome = self.work.take().map(|work| work(draft));
        let done = matches!(outcome, Some(Ok(_)));
        self.outcome = outcome;
        done
    }

    fn answer(self: Box<Self>, failure: Option<Refusal>) {
        let outcome = match failure {
            Some(refusal) => Err(refusal),
            None => self.outcome.unwrap_or_else(|| Err(Refusal::unavailable())),
        };
        // Nobody may be waiting any more; the work counts all the same.
        let _ = self.reply.send(outcome);
    }
}

struct Task {
    store: Store,
    world: World,
    shared: Arc<Shared>,
    next_id: i64,
    generation: u64,
}

impl Task {
    async fn run(mut self, mut queue: mpsc::Receiver<Box<dyn Job>>) {
        let mut jobs = Vec::with_capacity(GROUP);
        while queue.recv_many(&mut jobs, GROUP).await > 0 {
            self.group(std::mem::take(&mut jobs)).await;
        }
        if let Err(error) = self.store.close().await {
            tracing::warn!(error = %crate::chain(&error), "store not closed cleanly");
        }
    }

    /// One transaction.
    async fn group(&mut self, jobs: Vec<Box<dyn Job>>) {
        let mut done: Vec<Work> = Vec::new();
        let mut answers: Vec<(Box<dyn Job>, Option<Refusal>)> = Vec::new();
        let mut broken = false;
        for mut job in jobs {
            if broken {
                answers.push((job, Some(Refusal::unavailable())));
                continue;
            }
            let (work, kept) = self.perform(job.as_mut());
            if !kept || work.is_empty() {
                take_back(&mut self.world, work);
                answers.push((job, None));
                continue;
            }
            match self.write(done.is_empty(), &work).await {
                Ok(()) => {
                    done.push(work);
                    answers.push((job, None));
                }
                Err(error) => {
                    take_back(&mut self.world, work);
                    broken = matches!(error, StoreError::Sql { .. });
                    answers.push((job, Some(refuse(&error))));
                }
            }
        }
        let failure = self.end(done, broken).await;
        for (job, refusal) in answers {
            job.answer(refusal.or_else(|| failure.clone()));
        }
    }

    fn perform(&mut self, job: &mut dyn Job) -> (Work, bool) {
        let mut draft =
            Draft::new(&mut self.world, &mut self.next_id, self.generation + 1, clock::now());
        let kept = job.perform(&mut draft);
        (draft.finish(), kept)
    }

    async fn write(&mut self, first: bool, work: &Work) -> Result<(), StoreError> {
        if first && let Err(error) = self.store.begin().await {
            let _ = self.store.roll_back().await;
            return Err(error);
        }
        let outcome = self.store.write(work).await;
        if first && outcome.is_err() {
            self.store.roll_back().await?;
        }
        outcome
    }

    /// Commits and publishes, or takes everything back.
    async fn end(&mut self, done: Vec<Work>, broken: bool) -> Option<Refusal> {
        if done.is_empty() {
            return None;
        }
        let outcome = if broken { self.store.roll_back().await } else { self.store.commit().await };
        match outcome {
            Ok(()) if !broken => {
                self.generation += 1;
                self.shared.publish(done, self.generation);
                return None;
            }
            Ok(()) => {}
            Err(error) => {
                tracing::error!(error = %crate::chain(&error), "the store refused a group of writes");
                let _ = self.store.roll_back().await;
            }
        }
        for work in done.into_iter().rev() {
            take_back(&mut self.world, work);
        }
        Some(Refusal::unavailable())
    }
}

fn refuse(error: &StoreError) -> Refusal {
    match error {
        StoreError::Uuid(uuid) => Refusal::taken(uuid),
        StoreError::Claimed { space, value } => Refusal {
            status: 409,
            code: "Conflict",
            field: None,
            message: format!("{space} {value} was taken by another request; try again"),
        },
        other => {
            tracing::error!(error = %crate::chain(other), "the store refused a write");
            Refusal::unavailable()
        }
    }
}
