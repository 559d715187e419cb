//! The loop around a reconciler: wake, pass, publish.

use super::{Reconciler, Status, Wake};
use crate::desired::Desired;
use api::hash::SetHash;
use api::report::{ErrorKind, ItemError};
use futures_util::FutureExt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A look without a reason, against wake-ups that were lost.
const PERIOD: Duration = Duration::from_secs(60);
/// The pause after a pass that panicked.
const AFTER_PANIC: Duration = Duration::from_secs(5);

/// What a reconciler's last pass led to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// How the pass went.
    pub status: Status,
    /// The generation the pass worked towards.
    pub generation: u64,
    /// The hash of that generation's snapshot.
    pub hash: SetHash,
    /// Passes so far.
    pub passes: u64,
    /// Calls that changed something, over all passes.
    pub changes: u64,
}

/// A running loop.
#[derive(Debug)]
pub struct Round {
    /// The reconciler's name.
    pub name: &'static str,
    /// The last pass, published whenever one ends.
    pub progress: watch::Receiver<Progress>,
    /// Ends after the pass that is under way when `stop` turns true.
    pub task: JoinHandle<()>,
}

/// Starts the loop of a reconciler. It looks again when `desired` changes, when `wake` says so,
/// when the last pass asked for it, and every minute. Nothing is touched before the first snapshot
/// tells who this host is: an empty answer is not the same as an empty wish.
pub fn start(
    reconciler: Box<dyn Reconciler>,
    desired: watch::Receiver<Arc<Desired>>,
    wake: Wake,
    stop: watch::Receiver<bool>,
) -> Round {
    start_every(PERIOD, reconciler, desired, wake, stop)
}

fn start_every(
    period: Duration,
    mut reconciler: Box<dyn Reconciler>,
    mut desired: watch::Receiver<Arc<Desired>>,
    wake: Wake,
    mut stop: watch::Receiver<bool>,
) -> Round {
    let (publish, progress) = watch::channel(Progress::default());
    let name = reconciler.name();
    let task = tokio::spawn(async move {
        loop {
            let wish = desired.borrow_and_update().clone();
            let mut pause = period;
            if wish.host.is_some() {
                let status = pass(reconciler.as_mut(), &wish).await;
                pause = status.retry_after.unwrap_or(period).min(period);
                publish.send_modify(|progress| progress.advance(status, &wish));
            }
            tokio::select! {
                changed = desired.changed() => if changed.is_err() { return },
                () = wake.woken() => {}
                () = tokio::time::sleep(pause) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    });
    Round { name, progress, task }
}

/// One pass. A panic is a bug of one concern and must not take the others down.
async fn pass(reconciler: &mut dyn Reconciler, wish: &Arc<Desired>) -> Status {
    let name = reconciler.name();
    let status = match AssertUnwindSafe(reconciler.reconcile(wish)).catch_unwind().await {
        Ok(status) => status,
        Err(_) => {
            let message = format!("reconciler {name} panicked; see the log");
            let error = ItemError { kind: ErrorKind::Internal, message };
            Status {
                errors: [(format!("reconciler/{name}"), error)].into(),
                retry_after: Some(AFTER_PANIC),
                ..Status::default()
            }
        }
    };
    if status.changes > 0 {
        tracing::info!(reconciler = name, changes = status.changes, "changed the host");
    }
    status
}

impl Progress {
    fn advance(&mut self, status: Status, wish: &Desired) {
        for (key, error) in &status.errors {
            if self.status.errors.get(key) != Some(error) {
                tracing::warn!(item = key, kind = ?error.kind, "{}", error.message);
            }
        }
        self.generation = wish.generation;
        self.hash = wish.hash;
        self.passes += 1;
        self.changes += status.changes;
        self.status = status;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::item::{Host, Overlay};
    use tokio::sync::mpsc;

    /// Tells the generation of each pass and answers with what it is told.
    struct Scripted {
        seen: mpsc::UnboundedSender<u64>,
        answers: mpsc::UnboundedReceiver<Option<Status>>,
    }

    #[async_trait::async_trait]
    impl Reconciler for Scripted {
        fn name(&self) -> &'static str {
            "scripted"
        }

        async fn reconcile(&mut self, desired: &Arc<Desired>) -> Status {
            self.seen.send(desired.generation).unwrap();
            self.answers.recv().await.unwrap().expect("a scripted panic")
        }
    }

    struct Bed {
        seen: mpsc::UnboundedReceiver<u64>,
        answer: mpsc::UnboundedSender<Option<Status>>,
        desired: watch::Sender<Arc<Desired>>,
        wake: Wake,
        stop: watch::Sender<bool>,
        round: Round,
    }

    fn wish(generation: u64) -> Arc<Desired> {
        let host = Host {
            id: "1h1".into(),
            uuid: "u".into(),
            number: 1,
            overlay: Overlay::Vxlan,
            address: None,
            fenced: false,
        };
        Arc::new(Desired { generation, host: Some(host), ..Desired::default() })
    }

    /// Long enough for a pass that is due to begin.
    const MOMENT: Duration = Duration::from_millis(50);

    fn bed(period: Duration, first: Arc<Desired>) -> Bed {
        let (tell, seen) = mpsc::unbounded_channel();
        let (answer, answers) = mpsc::unbounded_channel();
        let (desired, receiver) = watch::channel(first);
        let (stop, stopped) = watch::channel(false);
        let wake = Wake::default();
        let scripted = Box::new(Scripted { seen: tell, answers });
        let round = start_every(period, scripted, receiver, wake.clone(), stopped);
        Bed { seen, answer, desired, wake, stop, round }
    }

    #[tokio::test]
    async fn wake_ups_during_a_pass_become_one_more_pass() {
        let mut bed = bed(PERIOD, wish(1));
        assert_eq!(bed.seen.recv().await, Some(1));
        for _ in 0..5 {
            bed.wake.wake();
        }
        bed.answer.send(Some(Status::default())).unwrap();
        assert_eq!(bed.seen.recv().await, Some(1));
        bed.answer.send(Some(Status::default())).unwrap();
        let quiet = tokio::time::timeout(MOMENT, bed.seen.recv()).await;
        assert!(quiet.is_err(), "five wake-ups are one more pass, not five");
        bed.stop.send(true).unwrap();
        bed.round.task.await.unwrap();
    }

    #[tokio::test]
    async fn looks_without_a_reason_and_when_asked_to() {
        let mut bed = bed(MOMENT, wish(1));
        assert_eq!(bed.seen.recv().await, Some(1));
        bed.answer.send(Some(Status::default())).unwrap();
        assert_eq!(bed.seen.recv().await, Some(1), "the timer");
        let soon = Status { retry_after: Some(Duration::ZERO), ..Status::default() };
        bed.answer.send(Some(soon)).unwrap();
        assert_eq!(bed.seen.recv().await, Some(1), "the last pass");
    }

    #[tokio::test]
    async fn nothing_is_touched_before_the_first_snapshot() {
        let mut bed = bed(MOMENT, Arc::default());
        bed.wake.wake();
        assert!(tokio::time::timeout(3 * MOMENT, bed.seen.recv()).await.is_err());
        bed.desired.send(wish(7)).unwrap();
        assert_eq!(bed.seen.recv().await, Some(7));
    }

    #[tokio::test]
    async fn a_panic_is_reported_and_tried_again() {
        let mut bed = bed(MOMENT, wish(1));
        bed.seen.recv().await.unwrap();
        bed.answer.send(None).unwrap();
        bed.round.progress.changed().await.unwrap();
        let error = bed.round.progress.borrow().status.errors["reconciler/scripted"].clone();
        assert_eq!(error.kind, ErrorKind::Internal);
        assert_eq!(bed.seen.recv().await, Some(1), "looked again after the panic");
        let status = Status { changes: 2, ..Status::default() };
        bed.answer.send(Some(status.clone())).unwrap();
        bed.round.progress.changed().await.unwrap();
        let progress = bed.round.progress.borrow().clone();
        assert_eq!((progress.passes, progress.changes, progress.status), (2, 2, status));
    }
}
