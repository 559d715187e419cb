//! What state an instance is shown in: one pure, total function of what is wanted and what was seen.
//!
//! No transition is stored, so nothing can be stuck in one: whatever is not yet as wanted is "on its
//! way", named after the request that asked for it.

use crate::model::{Instance, Verdict, Via, Want};
use crate::observed::Seen;
use api::item::Restart;
use api::report::Phase;

/// Whether something is still on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transitioning {
    /// It is.
    Yes,
    /// It is as wanted.
    No,
    /// It ended otherwise.
    Error,
}

impl Transitioning {
    /// As the API writes it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::Error => "error",
        }
    }
}

/// What a view depends on.
#[derive(Clone, Copy, Debug)]
pub struct Basis<'a> {
    /// What it is wanted to be.
    pub want: Want,
    /// The request behind that.
    pub via: Via,
    /// The epoch wanted.
    pub epoch: u64,
    /// Why it failed, if it did.
    pub verdict: Option<&'a Verdict>,
    /// Whether it has a host.
    pub placed: bool,
    /// Whether it is started again when it ends by itself.
    pub restarts: bool,
    /// Adopted: what is wanted is what was seen.
    pub external: bool,
    /// What its host told, in knowledge of what is wanted.
    pub seen: Option<&'a Seen>,
}

impl<'a> Basis<'a> {
    /// The basis of an instance's view.
    #[must_use]
    pub fn of(instance: &'a Instance, seen: Option<&'a Seen>) -> Self {
        Self {
            want: instance.want,
            via: instance.via,
            epoch: instance.run_epoch,
            verdict: instance.verdict.as_ref(),
            placed: instance.host.is_some(),
            restarts: !matches!(instance.restart, Restart::Stop),
            external: instance.external,
            seen,
        }
    }
}

/// The state and whether it is final.
///
/// | want | as wanted when seen | shown | else shown |
/// |---|---|---|---|
/// | running | running in this epoch | `running` | `creating`, `starting`, `restarting`; `stopping` after its end |
/// | stopped | exited | `stopped` | `creating`, `stopping`, `restoring` |
/// | removed | absent or retained | `removed` | `stopping`, `removing` |
/// | purged | off its host | `purged`; `removed` for a failed creation | `purging`; `removing` for a failed creation |
#[must_use]
pub fn view(basis: &Basis<'_>) -> (&'static str, Transitioning) {
    if basis.external {
        return match basis.want {
            Want::Running => ("running", Transitioning::No),
            Want::Stopped => ("stopped", Transitioning::No),
            Want::Removed | Want::Purged => ("removed", Transitioning::No),
        };
    }
    let phase = basis.seen.map(|seen| seen.phase);
    match basis.want {
        Want::Running => running(basis),
        Want::Stopped => stopped(basis, phase),
        Want::Removed => match phase {
            _ if !basis.placed => ended("removed", basis.verdict),
            Some(Phase::Absent | Phase::Retained) => ended("removed", basis.verdict),
            Some(Phase::Running) => ("stopping", Transitioning::Yes),
            _ => ("removing", Transitioning::Yes),
        },
        Want::Purged => match (basis.placed, basis.verdict.is_some()) {
            (true, true) => ("removing", Transitioning::Yes),
            (true, false) => ("purging", Transitioning::Yes),
            (false, true) => ("removed", Transitioning::Error),
            (false, false) => ("purged", Transitioning::No),
        },
    }
}

fn ended(state: &'static str, verdict: Option<&Verdict>) -> (&'static str, Transitioning) {
    let transitioning = if verdict.is_some() { Transitioning::Error } else { Transitioning::No };
    (state, transitioning)
}

fn running(basis: &Basis<'_>) -> (&'static str, Transitioning) {
    let seen = basis.seen.filter(|seen| seen.epoch >= basis.epoch);
    let restarts = basis.restarts && !seen.is_some_and(|seen| seen.over);
    match (seen.map(|seen| seen.phase), basis.via) {
        (Some(Phase::Running), _) => ("running", Transitioning::No),
        (Some(Phase::Exited), _) if !restarts => ("stopping", Transitioning::Yes),
        (Some(Phase::Exited), _) | (_, Via::Restart) => ("restarting", Transitioning::Yes),
        (Some(Phase::Preparing | Phase::Failed), Via::Create) => ("starting", Transitioning::Yes),
        (_, Via::Create) => ("creating", Transitioning::Yes),
        _ => ("starting", Transitioning::Yes),
    }
}

fn stopped(basis: &Basis<'_>, phase: Option<Phase>) -> (&'static str, Transitioning) {
    match (phase, basis.via) {
        (Some(Phase::Exited), _) => ended("stopped", basis.verdict),
        // Stopped before it was ever made, or its remains were taken away by hand.
        (Some(Phase::Absent), Via::Stop) => ended("stopped", basis.verdict),
        (_, Via::Create) if !basis.placed => ("creating", Transitioning::Yes),
        (_, Via::Stop) if !basis.placed => ended("stopped", basis.verdict),
        (Some(Phase::Failed), Via::Stop) => ended("stopped", basis.verdict),
        (_, Via::Create) => ("creating", Transitioning::Yes),
        (_, Via::Restore) => ("restoring", Transitioning::Yes),
        _ => ("stopping", Transitioning::Yes),
    }
}

/// What can be asked of an instance in this state.
#[must_use]
pub fn actions(basis: &Basis<'_>) -> Vec<&'static str> {
    if basis.external {
        return Vec::new();
    }
    match view(basis).0 {
        "running" => vec!["stop", "restart", "remove"],
        "creating" | "starting" | "restarting" => vec!["stop", "remove"],
        "stopped" => vec!["start", "remove"],
        "stopping" | "restoring" => vec!["remove"],
        "removed" if basis.want == Want::Removed => vec!["restore", "purge"],
        "removed" | "removing" => vec!["purge"],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Transitioning::{Error, No, Yes};

    const STATES: &[&str] = &[
        "creating",
        "starting",
        "running",
        "stopping",
        "stopped",
        "restarting",
        "removing",
        "removed",
        "restoring",
        "purging",
        "purged",
    ];
    const WANTS: [Want; 4] = [Want::Stopped, Want::Running, Want::Removed, Want::Purged];
    const VIAS: [Via; 7] =
        [Via::Create, Via::Start, Via::Stop, Via::Restart, Via::Remove, Via::Restore, Via::Purge];
    const PHASES: [Phase; 6] = [
        Phase::Absent,
        Phase::Preparing,
        Phase::Running,
        Phase::Exited,
        Phase::Failed,
        Phase::Retained,
    ];

    fn verdict() -> Verdict {
        Verdict { code: "x".into(), message: "y".into(), generation: 1 }
    }

    fn seen(epoch: u64, phase: Phase) -> Seen {
        Seen { epoch, phase, ..Seen::default() }
    }

    fn basis<'a>(want: Want, via: Via, seen: Option<&'a Seen>) -> Basis<'a> {
        Basis {
            want,
            via,
            epoch: 2,
            verdict: None,
            placed: true,
            restarts: false,
            external: false,
            seen,
        }
    }

    #[test]
    fn every_combination_has_a_state_that_clients_know() {
        let failed = verdict();
        for want in WANTS {
            for via in VIAS {
                for epoch in 0..=3 {
                    for phase in PHASES.map(Some).into_iter().chain([None]) {
                        for bits in 0..16_u8 {
                            let seen = phase.map(|phase| seen(epoch, phase));
                            let basis = Basis {
                                verdict: (bits & 1 != 0).then_some(&failed),
                                placed: bits & 2 != 0,
                                restarts: bits & 4 != 0,
                                external: bits & 8 != 0,
                                ..basis(want, via, seen.as_ref())
                            };
                            let (state, transitioning) = view(&basis);
                            assert!(STATES.contains(&state), "{basis:?}");
                            let moving = state.ends_with("ing") && state != "running";
                            assert_eq!(moving, transitioning == Yes, "{basis:?}");
                            assert!(transitioning != Error || basis.verdict.is_some(), "{basis:?}");
                        }
                    }
                }
            }
        }
    }

    // The order in which a host brings something about; it may skip steps, never go back.
    fn never_rests_before(want: Want, via: Via, way: &[(u64, Phase)], last: &str) {
        let steps: Vec<Option<Seen>> =
            std::iter::once(None).chain(way.iter().map(|(e, p)| Some(seen(*e, *p)))).collect();
        for skipped in 0..1_u32 << (steps.len() - 1) {
            let kept = steps[..steps.len() - 1]
                .iter()
                .enumerate()
                .filter(|(step, _)| skipped & 1 << step == 0)
                .map(|(_, step)| step);
            for step in kept {
                let shown = view(&basis(want, via, step.as_ref()));
                assert_eq!(shown.1, Yes, "{want:?} {via:?} {step:?} shows {shown:?}");
            }
        }
        assert_eq!(view(&basis(want, via, steps[steps.len() - 1].as_ref())), (last, No));
    }

    #[test]
    fn nothing_rests_before_it_is_as_wanted() {
        use Phase::{Absent, Exited, Preparing, Retained, Running};
        let made = [(0, Absent), (0, Preparing), (0, Exited), (2, Preparing), (2, Running)];
        never_rests_before(Want::Running, Via::Create, &made, "running");
        let started = [(1, Exited), (2, Preparing), (2, Running)];
        never_rests_before(Want::Running, Via::Start, &started, "running");
        let again = [(1, Running), (1, Exited), (2, Preparing), (2, Running)];
        never_rests_before(Want::Running, Via::Restart, &again, "running");
        never_rests_before(
            Want::Stopped,
            Via::Create,
            &[(0, Absent), (0, Preparing), (0, Exited)],
            "stopped",
        );
        never_rests_before(Want::Stopped, Via::Stop, &[(2, Running), (2, Exited)], "stopped");
        let back = [(2, Retained), (2, Preparing), (2, Exited)];
        never_rests_before(Want::Stopped, Via::Restore, &back, "stopped");
        let removed = [(2, Running), (2, Exited), (2, Retained)];
        never_rests_before(Want::Removed, Via::Remove, &removed, "removed");
    }

    #[test]
    fn purged_means_that_nothing_is_held_any_more() {
        let failed = verdict();
        for (verdict, moving, last) in
            [(None, "purging", ("purged", No)), (Some(&failed), "removing", ("removed", Error))]
        {
            for phase in PHASES {
                let seen = seen(2, phase);
                let placed = Basis { verdict, ..basis(Want::Purged, Via::Purge, Some(&seen)) };
                assert_eq!(view(&placed), (moving, Yes), "its addresses are not freed yet");
                assert_eq!(view(&Basis { placed: false, ..placed }), last);
            }
        }
    }
}
