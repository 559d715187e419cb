use super::super::driver::{HandRun, Observation};
use super::super::fixture::{self, uuid};
use super::super::simulated::SimulatedDriver;
use super::*;
use crate::config::Config;
use crate::reconcile::Wake;
use api::item::{Restart, Retained};
use api::report::Phase;
use proptest::prelude::*;

struct Bed {
    driver: Arc<SimulatedDriver>,
    containers: Containers,
    wake: Wake,
}

impl Bed {
    fn new() -> Self {
        let (driver, wake) = (Arc::new(SimulatedDriver::default()), Wake::default());
        let containers = Containers::simulated(&Config::default(), driver.clone(), wake.clone());
        Self { driver, containers, wake }
    }

    /// Passes until one changes nothing and nothing is under way.
    async fn settle(&mut self, desired: &Desired) -> Status {
        let desired = Arc::new(desired.clone());
        loop {
            let status = self.containers.reconcile(&desired).await;
            let idle = self.containers.jobs.is_idle();
            if status.changes == 0 && status.retry_after.is_none() && idle {
                return status;
            }
            let pause = status.retry_after.unwrap_or(Duration::from_secs(5));
            let _ = tokio::time::timeout(pause, self.wake.woken()).await;
        }
    }

    fn seen(&self) -> Observation {
        let mut seen = Observation::default();
        self.driver.disturb(|held| seen = held.clone());
        seen
    }
}

fn change(desired: &mut Desired, low: u8, change: impl FnOnce(&mut api::item::Container)) {
    change(desired.containers.get_mut(&uuid(low)).unwrap());
}

#[tokio::test]
async fn a_container_lives_its_life() {
    let mut bed = Bed::new();
    let mut desired = fixture::desired(&[], &[9]);
    let told = bed.settle(&desired).await.instances[&uuid(9)].clone();
    assert_eq!((told.phase, told.epoch), (Phase::Running, 1));
    let calls = bed.driver.calls();
    assert_eq!(bed.settle(&desired).await.changes, 0);
    assert_eq!(bed.driver.calls(), calls, "a second pass changes nothing");
    // It ends by itself: told, and not started again.
    bed.driver.end(&uuid(9), 7);
    let told = bed.settle(&desired).await.instances[&uuid(9)].clone();
    assert_eq!((told.phase, told.epoch, told.exit), (Phase::Exited, 1, Some(7)));
    assert_eq!(bed.driver.calls(), calls);
    // The next epoch starts, the one after restarts.
    for epoch in [2, 3] {
        change(&mut desired, 9, |container| container.guest.epoch = epoch);
        let told = bed.settle(&desired).await.instances[&uuid(9)].clone();
        assert_eq!((told.phase, told.epoch), (Phase::Running, epoch));
    }
    assert_eq!(bed.driver.calls(), calls + 3, "a start, a stop and a start");
    // Removed: kept stopped; then purged: nothing is left.
    desired.containers.clear();
    desired.retained.insert(uuid(9), Retained { uuid: uuid(9) });
    let told = bed.settle(&desired).await.instances[&uuid(9)].clone();
    assert_eq!(told.phase, Phase::Retained);
    desired.retained.clear();
    desired.networks.clear();
    bed.settle(&desired).await;
    assert_eq!(bed.seen(), Observation::default());
}

#[tokio::test]
async fn a_refused_container_is_told_with_its_reason_and_not_tried_again() {
    let mut bed = Bed::new();
    let mut desired = fixture::desired(&[], &[9, 10]);
    change(&mut desired, 9, |container| container.privileged = true);
    let status = bed.settle(&desired).await;
    let told = &status.instances[&uuid(9)];
    assert_eq!((told.phase, told.epoch), (Phase::Failed, 1));
    assert_eq!(told.error, Some(ErrorKind::Invalid));
    assert!(told.message.as_ref().unwrap().contains("allow = [\"privileged\"]"), "{told:?}");
    assert!(status.errors.contains_key(&format!("container/{}", uuid(9))));
    assert_eq!(status.instances[&uuid(10)].phase, Phase::Running, "the other one is not held up");
    change(&mut desired, 9, |container| container.privileged = false);
    let status = bed.settle(&desired).await;
    assert_eq!(status.instances[&uuid(9)].phase, Phase::Running);
}

#[tokio::test]
async fn the_policy_starts_it_again() {
    let mut bed = Bed::new();
    let mut desired = fixture::desired(&[], &[9]);
    change(&mut desired, 9, |container| {
        container.guest.restart = Restart::OnFailure { maximum: 1 };
    });
    bed.settle(&desired).await;
    bed.driver.end(&uuid(9), 1);
    let told = loop {
        let told = bed.settle(&desired).await.instances[&uuid(9)].clone();
        if told.phase == Phase::Running {
            break told;
        }
    };
    assert_eq!(told.epoch, 1);
    bed.driver.end(&uuid(9), 1);
    let told = bed.settle(&desired).await.instances[&uuid(9)].clone();
    assert_eq!((told.phase, told.exit), (Phase::Exited, Some(1)));
}

fn foreign() -> HandRun {
    HandRun {
        name: "hand".into(),
        image: "bb:1".into(),
        running: true,
        networks: BTreeSet::new(),
        endpoints: Vec::new(),
    }
}

#[derive(Clone, Debug)]
enum Event {
    Want(u8, bool),
    Epoch(u8),
    Drop(u8),
    Retain(u8),
    End(u8),
    RemoveByHand(u8),
}

fn event() -> impl Strategy<Value = Event> {
    let low = || 9u8..12;
    prop_oneof![
        (low(), any::<bool>()).prop_map(|(low, runs)| Event::Want(low, runs)),
        low().prop_map(Event::Epoch),
        low().prop_map(Event::Drop),
        low().prop_map(Event::Retain),
        low().prop_map(Event::End),
        low().prop_map(Event::RemoveByHand),
    ]
}

fn happen(bed: &Bed, desired: &mut Desired, event: &Event) {
    match event {
        Event::Want(low, runs) => {
            let want = if *runs { Want::Running } else { Want::Stopped };
            desired.retained.remove(&uuid(*low));
            let made = || fixture::container(*low);
            desired.containers.entry(uuid(*low)).or_insert_with(made).guest.want = want;
        }
        Event::Epoch(low) => {
            if let Some(container) = desired.containers.get_mut(&uuid(*low)) {
                container.guest.epoch += 1;
            }
        }
        Event::Drop(low) => {
            desired.containers.remove(&uuid(*low));
            desired.retained.remove(&uuid(*low));
        }
        Event::Retain(low) => {
            if desired.containers.remove(&uuid(*low)).is_some() {
                desired.retained.insert(uuid(*low), Retained { uuid: uuid(*low) });
            }
        }
        Event::End(low) => bed.driver.end(&uuid(*low), 1),
        Event::RemoveByHand(low) => bed.driver.disturb(|seen| {
            seen.containers.retain(|_, held| held.uuid != uuid(*low));
        }),
    }
}

fn check(desired: &Desired, seen: &Observation) -> Result<(), TestCaseError> {
    for held in seen.containers.values() {
        let retained = desired.retained.contains_key(&held.uuid);
        let wanted = desired.containers.get(&held.uuid);
        prop_assert!(wanted.is_some() || retained, "{held:?} is not wanted");
        let runs = wanted.is_some_and(|container| container.guest.want == Want::Running);
        prop_assert!(runs || held.state != RunState::Running, "{held:?} runs");
    }
    prop_assert!(seen.hand_run.contains_key("hand"), "a foreign container is gone");
    prop_assert!(seen.foreign_networks.contains("bridge"), "a foreign network is gone");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn whatever_happens_it_settles_and_leaves_others_alone(
        events in prop::collection::vec(prop::collection::vec(event(), 1..4), 1..6)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut bed = Bed::new();
            bed.driver.disturb(|seen| {
                seen.hand_run.insert("hand".into(), foreign());
                seen.foreign_networks.insert("bridge".into());
            });
            let mut desired = fixture::desired(&[], &[9]);
            for batch in &events {
                batch.iter().for_each(|event| happen(&bed, &mut desired, event));
                bed.settle(&desired).await;
                check(&desired, &bed.seen())?;
                let calls = bed.driver.calls();
                prop_assert_eq!(bed.settle(&desired).await.changes, 0);
                prop_assert_eq!(bed.driver.calls(), calls);
            }
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn what_the_operator_no_longer_allows_is_not_started_again() {
    let mut bed = Bed::new();
    bed.containers.allow.insert("privileged".into());
    let mut desired = fixture::desired(&[], &[9]);
    change(&mut desired, 9, |container| container.privileged = true);
    let told = bed.settle(&desired).await.instances[&uuid(9)].clone();
    assert_eq!(told.phase, Phase::Running);
    bed.driver.end(&uuid(9), 0);
    bed.settle(&desired).await;
    let calls = bed.driver.calls();
    bed.containers.allow.clear();
    change(&mut desired, 9, |container| container.guest.epoch = 2);
    let desired = Arc::new(desired);
    let told = loop {
        let told = bed.containers.reconcile(&desired).await.instances[&uuid(9)].clone();
        if told.error.is_some() {
            break told;
        }
        bed.wake.woken().await;
    };
    assert_eq!((told.phase, told.error), (Phase::Failed, Some(ErrorKind::MissingCapability)));
    assert_eq!(bed.driver.calls(), calls, "nothing was asked of the engine");
}
