//! The rules of the plan one by one, and its end state from any beginning.

use super::*;
use crate::machines::driver::Label;
use crate::machines::record::Port;
use proptest::prelude::*;

const RUN: Wish = Wish::Run { epoch: 3, restart: Restart::Stop };

fn domain(epoch: u64, state: DomainState) -> Domain {
    Domain { state, label: Label { storage: "s".into(), epoch, stop_timeout: 7 } }
}

fn stored(epoch: u64, stage: Stage) -> Stored {
    Stored { record: Record { epoch, stage, ..Record::default() }, drive: false }
}

fn step(wish: Wish, domain: Option<Domain>, stored: Option<Stored>) -> Option<Step> {
    next(Some(&wish), domain.as_ref(), stored.as_ref())
}

#[test]
fn an_epoch_is_started_once() {
    let start = Some(Step::Start { again: false });
    assert_eq!(step(RUN, None, None), start);
    assert_eq!(step(RUN, None, Some(stored(2, Stage::Ended))), start, "a new epoch");
    assert_eq!(step(RUN, None, Some(stored(3, Stage::Begun))), start, "no instruction ran");
    for ran in [Stage::Released, Stage::Running] {
        assert_eq!(step(RUN, None, Some(stored(3, ran))), Some(Step::NoteEnd));
    }
    assert_eq!(step(RUN, None, Some(stored(3, Stage::Ended))), None);
}

#[test]
fn the_policy_starts_it_again() {
    let policy = |restart| Wish::Run { epoch: 3, restart };
    let ended = |exit, restarts| {
        let mut stored = stored(3, Stage::Ended);
        stored.record.exit = exit;
        stored.record.restarts = restarts;
        Some(stored)
    };
    let again = Some(Step::Start { again: true });
    assert_eq!(step(policy(Restart::Always), None, ended(Some(0), 9)), again);
    let failures = policy(Restart::OnFailure { maximum: 2 });
    assert_eq!(step(failures, None, ended(Some(0), 0)), None);
    assert_eq!(step(failures, None, ended(Some(1), 1)), again);
    assert_eq!(step(failures, None, ended(None, 2)), None);
}

#[test]
fn a_domain_of_the_epoch_is_adopted() {
    let held = Some(domain(3, DomainState::Paused));
    assert_eq!(step(RUN, held.clone(), Some(stored(3, Stage::Begun))), Some(Step::Release));
    assert_eq!(step(RUN, held.clone(), Some(stored(3, Stage::Released))), Some(Step::Release));
    assert_eq!(step(RUN, held, Some(stored(3, Stage::Running))), None, "held by an operator");
    let runs = Some(domain(3, DomainState::Running));
    assert_eq!(step(RUN, runs.clone(), Some(stored(3, Stage::Running))), None);
    assert_eq!(step(RUN, runs, None), Some(Step::Release), "also when the record is lost");
    let old = Some(domain(2, DomainState::Running));
    assert_eq!(step(RUN, old, Some(stored(2, Stage::Running))), Some(Step::Stop(7)));
}

#[test]
fn what_is_not_wanted_goes() {
    let runs = domain(3, DomainState::Running);
    assert_eq!(next(None, Some(&runs), None), Some(Step::Remove));
    assert_eq!(next(None, None, Some(&stored(3, Stage::Ended))), Some(Step::Remove));
    assert_eq!(step(Wish::Stop(30), Some(runs.clone()), None), Some(Step::Stop(30)));
    assert_eq!(step(Wish::Retain, Some(runs), None), Some(Step::Stop(7)));
    let mut left = stored(3, Stage::Ended);
    left.drive = true;
    assert_eq!(step(Wish::Stop(30), None, Some(left.clone())), None, "a stopped one keeps it");
    assert_eq!(step(Wish::Retain, None, Some(left.clone())), Some(Step::Free));
    left.record.ports = vec![Port { vni: 1, ip: [10, 42, 0, 1].into() }];
    assert_eq!(step(Wish::Stop(30), None, Some(left)), Some(Step::Free));
}

/// One machine and what happens to it when a step is done as it should be.
#[derive(Clone, Debug)]
struct World {
    wish: Option<Wish>,
    domain: Option<Domain>,
    stored: Option<Stored>,
}

impl World {
    fn done(mut self, step: Step) -> Self {
        let record = |world: &Self| world.stored.clone().unwrap_or_default();
        match step {
            Step::Start { .. } | Step::Release => {
                let Some(Wish::Run { epoch, .. }) = self.wish else { panic!("not wanted") };
                let domain = self.domain.take().unwrap_or(domain(epoch, DomainState::Running));
                let mut stored = record(&self);
                stored.record.epoch = domain.label.epoch;
                stored.record.stage = Stage::Running;
                stored.drive = true;
                (self.domain, self.stored) = (Some(domain), Some(stored));
            }
            Step::Stop(_) => self.domain = None,
            Step::NoteEnd => {
                let mut stored = record(&self);
                stored.record.stage = Stage::Ended;
                self.stored = Some(stored);
            }
            Step::Free => {
                let mut stored = record(&self);
                stored.record.ports.clear();
                stored.drive &= self.wish != Some(Wish::Retain);
                self.stored = Some(stored);
            }
            Step::Remove => (self.domain, self.stored) = (None, None),
        }
        self
    }
}

fn worlds() -> impl Strategy<Value = World> {
    let stages = [Stage::New, Stage::Begun, Stage::Released, Stage::Running, Stage::Ended];
    let states = [DomainState::Running, DomainState::Paused, DomainState::Dead];
    let restarts = [Restart::Stop, Restart::OnFailure { maximum: 1 }];
    let wish = prop_oneof![
        (1..5u64, proptest::sample::select(restarts.to_vec()))
            .prop_map(|(epoch, restart)| Wish::Run { epoch, restart }),
        (0..9u32).prop_map(Wish::Stop),
        Just(Wish::Retain),
    ];
    let there = (0..5u64, proptest::sample::select(states.to_vec()));
    let kept = (0..5u64, proptest::sample::select(stages.to_vec()), any::<bool>(), any::<bool>());
    (
        proptest::option::of(wish),
        proptest::option::of(there.prop_map(|(epoch, state)| domain(epoch, state))),
        proptest::option::of(kept.prop_map(|(epoch, stage, ports, drive)| {
            let mut stored = stored(epoch, stage);
            stored.record.exit = Some(0);
            stored.drive = drive;
            if ports {
                stored.record.ports = vec![Port { vni: 1, ip: [10, 42, 0, 1].into() }];
            }
            stored
        })),
    )
        .prop_map(|(wish, domain, stored)| World { wish, domain, stored })
}

proptest! {
    #[test]
    fn comes_to_rest_where_it_should(mut world in worlds()) {
        let wanted = world.wish;
        for _ in 0..6 {
            let step = next(world.wish.as_ref(), world.domain.as_ref(), world.stored.as_ref());
            let Some(step) = step else { break };
            if wanted.is_none() && world.domain.is_none() && world.stored.is_none() {
                break;
            }
            world = world.done(step);
        }
        match wanted {
            None => prop_assert!(world.domain.is_none() && world.stored.is_none()),
            Some(wish) => {
                let step = next(Some(&wish), world.domain.as_ref(), world.stored.as_ref());
                prop_assert_eq!(step, None, "a second pass does nothing");
                if let Wish::Run { epoch, .. } = wish {
                    let ended = world.stored.map(|stored| stored.record.stage) == Some(Stage::Ended);
                    let runs = world.domain.is_some_and(|domain| domain.label.epoch >= epoch);
                    prop_assert!(runs || ended);
                } else {
                    prop_assert!(world.domain.is_none());
                }
            }
        }
    }
}
