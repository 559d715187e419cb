//! Work on single containers, beside the reconcile loop: a download or a slow stop of one never
//! delays another. At most one job per instance; a failed one is tried again after a pause.

use crate::reconcile::Wake;
use api::report::{ErrorKind, ItemError};
use futures_util::FutureExt;
use std::collections::BTreeMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// Pauses after a first and after many failures.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// Docker's own pauses between restarts, and the run after which they begin anew.
const RESTART_PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(60));
const RAN_WELL: Duration = Duration::from_secs(10);

/// What a job worked towards; a failure counts only as long as that is still wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aim {
    /// What the container is made from.
    pub specification: String,
    /// The epoch.
    pub epoch: u64,
}

/// How far a job is, in percent; 255 until it says so.
#[derive(Clone, Debug)]
pub struct Percent(Arc<AtomicU8>);

impl Percent {
    /// Says how far the job is.
    pub fn set(&self, percent: u8) -> bool {
        self.0.swap(percent, Ordering::Relaxed) != percent
    }
}

/// Set as the job's last act, before the wake-up: the pass that follows must find it.
type Outcome = Arc<OnceLock<Result<(), ItemError>>>;

struct Job {
    task: JoinHandle<()>,
    outcome: Outcome,
    percent: Percent,
    aim: Option<Aim>,
}

struct Failure {
    aim: Option<Aim>,
    error: ItemError,
    times: u32,
    not_before: Instant,
}

#[derive(Default)]
struct Restarts {
    count: u32,
    last: Option<Instant>,
    due: Option<Instant>,
}

/// The jobs of all instances.
pub struct Jobs {
    running: BTreeMap<String, Job>,
    failures: BTreeMap<String, Failure>,
    restarts: BTreeMap<String, Restarts>,
    wake: Wake,
}

/// Whether an instance may be worked on.
#[derive(Clone, Debug, PartialEq)]
pub enum Turn {
    /// Now.
    Now,
    /// A job is at it; percent if it said so.
    Busy(Option<u8>),
    /// It failed; after so long, or never when none is given.
    Failed(ItemError, Option<Duration>),
}

impl Jobs {
    /// No jobs; `wake` is told when one ends.
    #[must_use]
    pub fn new(wake: Wake) -> Self {
        let (running, failures) = (BTreeMap::new(), BTreeMap::new());
        Self { running, failures, restarts: BTreeMap::new(), wake }
    }

    /// Takes in the jobs that have ended.
    pub fn collect(&mut self, now: Instant) {
        let ended = self.running.iter().filter(|(_, job)| job.outcome.get().is_some());
        let ended: Vec<String> = ended.map(|(uuid, _)| uuid.clone()).collect();
        for uuid in ended {
            let Some(job) = self.running.remove(&uuid) else { continue };
            match job.outcome.get() {
                Some(Err(error)) => self.failed(uuid, job.aim, error.clone(), now),
                Some(Ok(())) | None => {
                    self.failures.remove(&uuid);
                }
            }
        }
    }

    fn failed(&mut self, uuid: String, aim: Option<Aim>, error: ItemError, now: Instant) {
        let before = self.failures.get(&uuid).filter(|failure| failure.aim == aim);
        let times = before.map_or(1, |failure| failure.times.saturating_add(1));
        let not_before = now + doubled(PAUSE, times - 1);
        self.failures.insert(uuid, Failure { aim, error, times, not_before });
    }

    /// Whether an instance may be worked on towards `aim`.
    pub fn turn(&mut self, uuid: &str, aim: Option<&Aim>, now: Instant) -> Turn {
        if let Some(job) = self.running.get(uuid) {
            let percent = job.percent.0.load(Ordering::Relaxed);
            return Turn::Busy(Some(percent).filter(|percent| *percent <= 100));
        }
        let Some(failure) = self.failures.get(uuid) else { return Turn::Now };
        if failure.aim.as_ref() != aim {
            self.failures.remove(uuid);
            return Turn::Now;
        }
        let error = failure.error.clone();
        match error.kind {
            ErrorKind::Invalid | ErrorKind::Unsupported => Turn::Failed(error, None),
            _ if now < failure.not_before => Turn::Failed(error, Some(failure.not_before - now)),
            _ => Turn::Now,
        }
    }

    /// Whether no job is under way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.running.is_empty()
    }

    /// The last failure of an instance that is being tried again.
    #[must_use]
    pub fn last_error(&self, uuid: &str) -> Option<&ItemError> {
        self.failures.get(uuid).map(|failure| &failure.error)
    }

    /// Starts a job.
    pub fn begin<F>(&mut self, uuid: &str, aim: Option<Aim>, job: impl FnOnce(Percent) -> F)
    where
        F: Future<Output = Result<(), ItemError>> + Send + 'static,
    {
        let percent = Percent(Arc::new(AtomicU8::new(u8::MAX)));
        let (outcome, wake) = (Outcome::default(), self.wake.clone());
        let work = AssertUnwindSafe(job(percent.clone())).catch_unwind();
        let told = outcome.clone();
        let task = tokio::spawn(async move {
            let result = work.await.unwrap_or_else(|_| {
                let message = "the work on this container panicked; see agentd's log".into();
                Err(ItemError { kind: ErrorKind::Internal, message })
            });
            told.get_or_init(|| result);
            wake.wake();
        });
        self.running.insert(uuid.into(), Job { task, outcome, percent, aim });
    }

    /// How long to wait before the restart policy starts an instance again; none means now, and
    /// counts as started.
    pub fn restart_pause(&mut self, uuid: &str, now: Instant) -> Option<Duration> {
        let restarts = self.restarts.entry(uuid.into()).or_default();
        let ran_well = |last: Instant| now.saturating_duration_since(last) >= RAN_WELL;
        if restarts.due.is_none() && restarts.last.is_some_and(ran_well) {
            restarts.count = 0;
        }
        let due = *restarts.due.get_or_insert(now + doubled(RESTART_PAUSE, restarts.count));
        if now < due {
            return Some(due - now);
        }
        let count = restarts.count.saturating_add(1);
        *restarts = Restarts { count, last: Some(now), due: None };
        None
    }

    /// Forgets failures and restarts of instances that are gone, and ends the work on them: nobody
    /// waits any more for an image that is still downloading, and others wait for its turn.
    pub fn retain(&mut self, exists: impl Fn(&str) -> bool) {
        self.failures.retain(|uuid, _| exists(uuid));
        self.restarts.retain(|uuid, _| exists(uuid));
        for (_, job) in self.running.extract_if(.., |uuid, _| !exists(uuid)) {
            job.task.abort();
        }
    }
}

impl Drop for Jobs {
    fn drop(&mut self) {
        self.running.values().for_each(|job| job.task.abort());
    }
}

fn doubled((first, last): (Duration, Duration), times: u32) -> Duration {
    first.saturating_mul(2u32.saturating_pow(times)).min(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aim(epoch: u64) -> Aim {
        Aim { specification: "s".into(), epoch }
    }

    fn error(kind: ErrorKind) -> ItemError {
        ItemError { kind, message: "no".into() }
    }

    #[tokio::test]
    async fn a_failure_is_tried_again_later_unless_something_else_is_wanted() {
        let wake = Wake::default();
        let mut jobs = Jobs::new(wake.clone());
        let start = Instant::now();
        let fail = |kind| move |_: Percent| async move { Err(error(kind)) };
        jobs.begin("u", Some(aim(1)), fail(ErrorKind::Transient));
        wake.woken().await;
        jobs.collect(start);
        let second = Some(Duration::from_secs(1));
        let failed = Turn::Failed(error(ErrorKind::Transient), second);
        assert_eq!(jobs.turn("u", Some(&aim(1)), start), failed);
        assert_eq!(jobs.turn("u", Some(&aim(1)), start + PAUSE.0), Turn::Now);
        jobs.begin("u", Some(aim(1)), fail(ErrorKind::Invalid));
        wake.woken().await;
        jobs.collect(start);
        let refused = Turn::Failed(error(ErrorKind::Invalid), None);
        assert_eq!(jobs.turn("u", Some(&aim(1)), start + 100 * PAUSE.1), refused);
        assert_eq!(jobs.turn("u", Some(&aim(2)), start), Turn::Now);
    }

    #[tokio::test]
    async fn a_job_says_how_far_it_is_and_a_panic_is_an_error() {
        let wake = Wake::default();
        let mut jobs = Jobs::new(wake.clone());
        let (told, go) = tokio::sync::oneshot::channel::<()>();
        jobs.begin("u", None, |percent| async move {
            percent.set(40);
            told.send(()).unwrap();
            std::future::pending().await
        });
        go.await.unwrap();
        assert_eq!(jobs.turn("u", None, Instant::now()), Turn::Busy(Some(40)));
        jobs.begin("v", None, |_| async { panic!("on purpose") });
        wake.woken().await;
        let now = Instant::now();
        jobs.collect(now);
        assert!(matches!(jobs.turn("v", None, now), Turn::Failed(ItemError { kind, .. }, _)
            if kind == ErrorKind::Internal));
    }

    #[tokio::test]
    async fn work_on_what_nobody_wants_ends() {
        let mut jobs = Jobs::new(Wake::default());
        let slot = Arc::new(tokio::sync::Semaphore::new(1));
        for uuid in ["gone", "wanted"] {
            let slot = slot.clone();
            jobs.begin(uuid, None, |_| async move {
                let _slot = slot.acquire().await;
                std::future::pending().await
            });
        }
        jobs.retain(|uuid| uuid == "wanted");
        assert_eq!(jobs.turn("gone", None, Instant::now()), Turn::Now);
        assert_eq!(jobs.turn("wanted", None, Instant::now()), Turn::Busy(None));
        jobs.retain(|_| false);
        drop(slot.acquire().await.unwrap());
    }

    #[test]
    fn restarts_come_slower_until_one_ran_well() {
        let mut jobs = Jobs::new(Wake::default());
        let mut now = Instant::now();
        for millis in [100, 200, 400] {
            assert_eq!(jobs.restart_pause("u", now), Some(Duration::from_millis(millis)));
            now += Duration::from_millis(millis);
            assert_eq!(jobs.restart_pause("u", now), None);
        }
        now += RAN_WELL;
        assert_eq!(jobs.restart_pause("u", now), Some(RESTART_PAUSE.0));
    }
}
