//! What is told of an instance. Pure.

use super::driver::{DockerContainer, RunState};
use super::jobs::Turn;
use super::plan::Step;
use super::runs::Run;
use api::item::{Container, Restart, Want};
use api::report::{Instance, ItemError, Phase};

/// Everything that is known of an instance in one pass.
pub struct Sight<'a> {
    /// What is wanted.
    pub container: Option<&'a Container>,
    /// Whether only its storage is.
    pub retained: bool,
    /// What the engine holds.
    pub held: Option<&'a DockerContainer>,
    /// Its last start.
    pub run: Option<Run>,
    /// What is to be done.
    pub step: &'a Step,
    /// Whether it is being done.
    pub turn: Turn,
    /// The failure that is being tried again.
    pub last_error: Option<&'a ItemError>,
}

/// What to tell of an instance that was never seen.
#[must_use]
pub fn unknown() -> Instance {
    Instance { phase: Phase::Preparing, ..Instance::default() }
}

/// What to tell.
#[must_use]
pub fn instance(sight: &Sight<'_>) -> Instance {
    let run = sight.run.as_ref();
    let mut told = Instance { epoch: run.map_or(0, |run| run.epoch), ..Instance::default() };
    let Some(container) = sight.container else {
        told.phase = match sight.held.map(|held| held.state) {
            Some(RunState::Running) => Phase::Running,
            Some(_) if sight.retained => Phase::Retained,
            Some(_) => Phase::Exited,
            None => Phase::Absent,
        };
        failure(&mut told, sight);
        return told;
    };
    let wanted = container.guest.epoch;
    let runs = container.guest.want == Want::Running;
    if let Turn::Failed(error, _) = &sight.turn {
        // It is the wanted epoch that failed, also where it came to no start.
        let epoch = if runs { wanted } else { told.epoch };
        let running = sight.held.is_some_and(|held| held.state == RunState::Running);
        told.phase = if running { Phase::Running } else { Phase::Failed };
        told.epoch = if running { told.epoch } else { epoch };
        told.error = Some(error.kind);
        told.message = Some(error.message.clone());
        return told;
    }
    told.phase = phase(sight, runs);
    match told.phase {
        Phase::Preparing => {
            told.epoch = if runs { wanted } else { told.epoch };
            if let Turn::Busy(percent) = sight.turn {
                told.progress = percent;
            }
            failure(&mut told, sight);
        }
        Phase::Exited => {
            told.exit = exit(sight);
            told.over = runs && is_over(sight, container.guest.restart);
        }
        _ => {}
    }
    told
}

fn phase(sight: &Sight<'_>, runs: bool) -> Phase {
    let state = sight.held.map(|held| held.state);
    match (sight.step, state) {
        // Asked to stop and not there yet; or restarted by hand and not there again yet.
        (_, Some(RunState::Running)) | (Step::Settle, _) => Phase::Running,
        (Step::Again { .. } | Step::End { .. }, _) => Phase::Exited,
        (Step::Make | Step::AwaitNetwork { .. } | Step::Start { .. }, _) => Phase::Preparing,
        (Step::Remove { .. }, Some(_)) => Phase::Preparing,
        (_, Some(_)) => Phase::Exited,
        // Removed by hand after it had started.
        (_, None) if runs && sight.run.is_some() => Phase::Exited,
        (_, None) => Phase::Absent,
    }
}

fn exit(sight: &Sight<'_>) -> Option<i32> {
    match sight.step {
        Step::Again { exit, .. } | Step::End { exit } => Some(*exit),
        _ => sight.run.as_ref().and_then(|run| run.ended),
    }
}

/// Whether its end is noted and its policy starts it no more.
fn is_over(sight: &Sight<'_>, restart: Restart) -> bool {
    let Some(run) = sight.run.as_ref().filter(|_| !matches!(sight.step, Step::Again { .. })) else {
        return false;
    };
    let Some(exit) = run.ended else { return false };
    match restart {
        Restart::Stop => true,
        Restart::Always => false,
        // Whom somebody removed by hand the policy does not bring back either.
        Restart::OnFailure { maximum } => {
            exit == 0 || sight.held.is_none() || maximum > 0 && run.restarts >= maximum
        }
    }
}

fn failure(told: &mut Instance, sight: &Sight<'_>) {
    let error = match &sight.turn {
        Turn::Failed(error, _) => Some(error),
        _ => sight.last_error,
    };
    if let Some(error) = error {
        told.error = Some(error.kind);
        told.message = Some(error.message.clone());
    }
}
