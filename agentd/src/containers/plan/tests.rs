use super::super::driver::{EndpointInfo, HandRun};
use super::super::fixture::{self, VNI, uuid};
use super::*;

const BOOT: &str = "this boot";

struct Case {
    desired: Desired,
    seen: Observation,
    runs: BTreeMap<String, Run>,
    infos: BTreeMap<String, RunInfo>,
}

impl Case {
    /// Container 9 wanted in epoch 2 and held in `state`.
    fn held(state: RunState) -> Self {
        let mut case = Self::absent();
        let container = &case.desired.containers[&uuid(9)];
        let held = DockerContainer {
            uuid: uuid(9),
            specification: specification(container),
            state,
            networks: ["n".to_owned()].into(),
            endpoints: Vec::new(),
        };
        case.seen.containers.insert("c".into(), held);
        let info = RunInfo {
            started_at: "noon".into(),
            exit: 3,
            error: String::new(),
            ending: Ending::Own,
        };
        case.infos.insert("c".into(), info);
        case
    }

    fn absent() -> Self {
        let mut desired = fixture::desired(&[], &[9]);
        desired.containers.get_mut(&uuid(9)).unwrap().guest.epoch = 2;
        let mut seen = Observation::default();
        seen.networks.insert("n".into(), docker_network(&fixture::network()));
        Self { desired, seen, runs: BTreeMap::new(), infos: BTreeMap::new() }
    }

    fn run(mut self, run: Run) -> Self {
        self.runs.insert(uuid(9), run);
        self
    }

    fn want(mut self, change: impl FnOnce(&mut Container)) -> Self {
        change(self.desired.containers.get_mut(&uuid(9)).unwrap());
        self
    }

    fn step(&self) -> Step {
        let memory = Memory { runs: &self.runs, infos: &self.infos, boot: BOOT };
        containers(&self.desired, &self.seen, memory)[&uuid(9)].clone()
    }
}

fn started(epoch: u64) -> Run {
    Run { epoch, boot: BOOT.into(), before: "never".into(), ended: None, restarts: 0 }
}

fn id() -> String {
    "c".into()
}

#[test]
fn an_epoch_is_started_once() {
    let start = Step::Start { id: id(), epoch: 2 };
    assert_eq!(Case::absent().step(), Step::Make);
    assert_eq!(Case::held(RunState::Created).step(), start);
    assert_eq!(Case::held(RunState::Exited).run(started(1)).step(), start);
    assert_eq!(Case::held(RunState::Running).run(started(2)).step(), Step::Keep);
    let ended = Case::held(RunState::Exited).run(started(2));
    assert_eq!(ended.step(), Step::End { exit: 3 });
    let noted = Case::held(RunState::Exited).run(Run { ended: Some(3), ..started(2) });
    assert_eq!(noted.step(), Step::Keep);
}

#[test]
fn a_start_that_never_took_place_is_made_up_for() {
    let noted = Run { before: "noon".into(), ..started(2) };
    let start = Step::Start { id: id(), epoch: 2 };
    assert_eq!(Case::held(RunState::Exited).run(noted).step(), start);
    assert_eq!(Case::held(RunState::Created).run(started(2)).step(), start);
}

#[test]
fn a_reboot_is_not_the_end_of_an_epoch() {
    let cut_off = Run { boot: "another".into(), ..started(2) };
    let start = Step::Start { id: id(), epoch: 2 };
    assert_eq!(Case::held(RunState::Exited).run(cut_off.clone()).step(), start);
    let ended = Run { ended: Some(0), ..cut_off };
    assert_eq!(Case::held(RunState::Exited).run(ended).step(), Step::Keep);
}

#[test]
fn an_end_that_is_not_its_own_is_none() {
    let mut case = Case::held(RunState::Exited).run(started(2));
    case.infos.get_mut("c").unwrap().ending = Ending::Settling;
    assert_eq!(case.step(), Step::Settle);
    case.infos.get_mut("c").unwrap().ending = Ending::CutOff;
    assert_eq!(case.step(), Step::Start { id: id(), epoch: 2 });
    case = case.run(Run { ended: Some(3), ..started(2) });
    assert_eq!(case.step(), Step::Keep, "it had ended before");
}

#[test]
fn a_failed_restart_by_hand_is_made_up_for() {
    let mut case = Case::held(RunState::Exited).run(started(2));
    case.infos.get_mut("c").unwrap().error = "cannot join network managed yet".into();
    assert_eq!(case.step(), Step::Start { id: id(), epoch: 2 });
    case = case.run(Run { ended: Some(3), ..started(2) });
    assert_eq!(case.step(), Step::Keep, "a start by hand that failed starts no epoch twice");
}

#[test]
fn a_restart_stops_the_old_epoch_first() {
    let stop = Step::Stop { id: id(), timeout: Some(1) };
    assert_eq!(Case::held(RunState::Running).run(started(1)).step(), stop);
    // A lost note or a start by hand is no reason to restart.
    let adopt = Step::Adopt { epoch: 2 };
    assert_eq!(Case::held(RunState::Running).step(), adopt);
    let by_hand = Run { ended: Some(0), ..started(2) };
    assert_eq!(Case::held(RunState::Running).run(by_hand).step(), adopt);
}

#[test]
fn the_restart_policy_decides_about_ends() {
    let again = Step::Again { id: id(), exit: 3 };
    let end = Step::End { exit: 3 };
    let step = |restart, restarts| {
        let run = Run { restarts, ..started(2) };
        let case = Case::held(RunState::Exited).run(run);
        case.want(|container| container.guest.restart = restart).step()
    };
    assert_eq!(step(Restart::Stop, 0), end);
    assert_eq!(step(Restart::Always, 99), again);
    assert_eq!(step(Restart::OnFailure { maximum: 0 }, 99), again);
    assert_eq!(step(Restart::OnFailure { maximum: 2 }, 1), again);
    assert_eq!(step(Restart::OnFailure { maximum: 2 }, 2), end);
}

#[test]
fn what_is_not_to_run_is_stopped_and_kept() {
    let stopped = |container: &mut Container| container.guest.want = Want::Stopped;
    let stop = Step::Stop { id: id(), timeout: Some(1) };
    assert_eq!(Case::held(RunState::Running).run(started(2)).want(stopped).step(), stop);
    assert_eq!(Case::held(RunState::Exited).run(started(2)).want(stopped).step(), Step::Keep);
    assert_eq!(Case::held(RunState::Created).want(stopped).step(), Step::Keep);
    assert_eq!(Case::absent().want(stopped).step(), Step::Make);
    let mut fenced = Case::held(RunState::Running).run(started(2));
    fenced.desired.host.as_mut().unwrap().fenced = true;
    assert_eq!(fenced.step(), stop);
    fenced.seen.containers.clear();
    assert_eq!(fenced.step(), Step::Keep);
}

#[test]
fn what_is_not_wanted_goes_and_what_is_retained_stays() {
    let mut case = Case::held(RunState::Running);
    case.desired.containers.clear();
    assert_eq!(case.step(), Step::Remove { id: id() });
    let retained = api::item::Retained { uuid: uuid(9) };
    case.desired.retained.insert(uuid(9), retained);
    assert_eq!(case.step(), Step::Stop { id: id(), timeout: None });
    case.seen.containers.get_mut("c").unwrap().state = RunState::Exited;
    assert_eq!(case.step(), Step::Keep);
}

#[test]
fn a_changed_container_is_made_anew_only_before_it_ran() {
    let changed = |container: &mut Container| container.command.clear();
    assert_eq!(Case::held(RunState::Created).want(changed).step(), Step::Remove { id: id() });
    let running = Case::held(RunState::Running).run(started(2)).want(changed);
    assert_eq!(running.step(), Step::Keep);
    let mut half = Case::held(RunState::Created);
    half.seen.containers.get_mut("c").unwrap().networks.clear();
    assert_eq!(half.step(), Step::Remove { id: id() });
}

#[test]
fn one_removed_by_hand_has_ended() {
    let gone = Case::absent().run(started(2));
    assert_eq!(gone.step(), Step::End { exit: 137 });
    assert_eq!(Case::absent().run(Run { ended: Some(137), ..started(2) }).step(), Step::Keep);
    assert_eq!(Case::absent().run(started(1)).step(), Step::Make);
    let always = Case::absent().run(started(2));
    let always = always.want(|container| container.guest.restart = Restart::Always);
    assert_eq!(always.step(), Step::Make);
}

#[test]
fn networks_come_before_containers_and_go_after_them() {
    let mut case = Case::absent();
    case.seen.networks.clear();
    assert_eq!(case.step(), Step::AwaitNetwork { vni: VNI });
    let wanted = docker_network(&fixture::network());
    assert_eq!(networks(&case.desired, &case.seen), [NetworkStep::Make(wanted.clone())]);
    case.seen.foreign_networks.insert("managed".into());
    let taken = NetworkStep::NameTaken { vni: VNI, name: "managed".into() };
    assert_eq!(networks(&case.desired, &case.seen), [taken]);

    let mut case = Case::held(RunState::Exited);
    assert_eq!(networks(&case.desired, &case.seen), []);
    case.desired.networks.clear();
    assert_eq!(networks(&case.desired, &case.seen), [], "a container of ours is still on it");
    case.seen.containers.clear();
    let remove = NetworkStep::Remove { id: "n".into(), name: "managed".into(), vni: VNI };
    assert_eq!(networks(&case.desired, &case.seen), [remove]);
    let hand = HandRun {
        name: "hand".into(),
        image: "bb:1".into(),
        running: true,
        networks: ["n".to_owned()].into(),
        endpoints: Vec::<EndpointInfo>::new(),
    };
    case.seen.hand_run.insert("h".into(), hand);
    let by = vec!["hand".to_owned()];
    let in_use = NetworkStep::InUse { vni: VNI, name: "managed".into(), by };
    assert_eq!(networks(&case.desired, &case.seen), [in_use]);
    // A network of our driver that somebody made by hand is theirs.
    case.seen.networks.get_mut("n").unwrap().uuid.clear();
    assert_eq!(networks(&case.desired, &case.seen), []);
}

#[test]
fn a_volume_goes_with_its_last_container() {
    let mut case = Case::held(RunState::Created);
    let volumes = vec!["data:/data".into(), "/etc:/etc".into()];
    case.desired.containers.get_mut(&uuid(9)).unwrap().volumes = volumes;
    case.seen.volumes = [("data".to_owned(), false), ("used".to_owned(), true)].into();
    assert_eq!(unused_volumes(&case.desired, &case.seen), Vec::<String>::new());
    case.desired.containers.clear();
    assert_eq!(unused_volumes(&case.desired, &case.seen), ["data"]);
}
