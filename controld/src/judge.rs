//! From observation to intent: what a report means for what is wanted.
//!
//! Pure and idempotent: judging the outcome of a judgement again gives nothing. Only the writer acts
//! on it, so that observation never writes intent by itself.

use crate::model::{Instance, Via, Want};
use crate::observed::Seen;
use api::item::Restart;
use api::report::{ErrorKind, Phase};

/// What is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// The creation failed for good: purge at once, and say why.
    Fail {
        /// For people.
        message: String,
    },
    /// It cannot be started: leave it stopped, and say why.
    Stop {
        /// For people; none when it simply ended.
        message: Option<String>,
    },
    /// It ended, and is to be removed then.
    Remove,
    /// Nothing of it is left on its host: its addresses may go.
    Free,
}

/// What an instance's last sign means for its intent.
#[must_use]
pub fn judge(instance: &Instance, seen: Option<&Seen>) -> Option<Judgement> {
    let seen = seen?;
    if instance.external || instance.host.is_none() {
        return None;
    }
    match (instance.want, seen.phase) {
        (Want::Purged, Phase::Absent) => Some(Judgement::Free),
        (Want::Running, Phase::Failed) if is_final(seen) && seen.epoch >= instance.run_epoch => {
            let message = message_of(seen);
            Some(if instance.via == Via::Create {
                Judgement::Fail { message }
            } else {
                Judgement::Stop { message: Some(message) }
            })
        }
        (Want::Stopped, Phase::Failed) if is_final(seen) && instance.via == Via::Create => {
            Some(Judgement::Fail { message: message_of(seen) })
        }
        (Want::Running, Phase::Exited) if seen.epoch >= instance.run_epoch => ended(instance, seen),
        _ => None,
    }
}

// With a restart policy the agent starts it again by itself.
fn ended(instance: &Instance, seen: &Seen) -> Option<Judgement> {
    match instance.restart {
        Restart::Always => None,
        Restart::OnFailure { .. } if seen.exit != Some(0) && !seen.over => None,
        Restart::OnFailure { .. } | Restart::Stop => {
            Some(if instance.triggered_stop.as_deref() == Some("remove") {
                Judgement::Remove
            } else {
                Judgement::Stop { message: None }
            })
        }
    }
}

/// Whether it is of no use to try again.
fn is_final(seen: &Seen) -> bool {
    matches!(seen.error, Some(ErrorKind::Invalid | ErrorKind::Unsupported))
}

fn message_of(seen: &Seen) -> String {
    seen.message.clone().unwrap_or_else(|| "the host refuses it without a reason".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ContainerFields, Guest};

    fn instance(want: Want, via: Via) -> Instance {
        Instance {
            want,
            via,
            run_epoch: 2,
            verdict: None,
            since: 1,
            host: Some(1),
            requested_host: None,
            guest_uuid: "a".into(),
            stop_timeout: 30,
            image_uuid: "docker:a".into(),
            hostname: None,
            memory_mb: None,
            vcpu: None,
            userdata: None,
            public_keys: Default::default(),
            restart: Restart::Stop,
            triggered_stop: None,
            nics: Vec::new(),
            purge_at: None,
            place_by: None,
            external: false,
            guest: Guest::Container(ContainerFields::default()),
        }
    }

    fn seen(epoch: u64, phase: Phase, error: Option<ErrorKind>) -> Seen {
        Seen { epoch, phase, error, message: Some("why".into()), ..Seen::default() }
    }

    #[test]
    fn only_what_is_final_ends_an_instance() {
        let first = instance(Want::Running, Via::Create);
        let again = instance(Want::Running, Via::Start);
        let invalid = seen(2, Phase::Failed, Some(ErrorKind::Invalid));
        let message = "why".to_owned();
        assert_eq!(
            judge(&first, Some(&invalid)),
            Some(Judgement::Fail { message: message.clone() })
        );
        assert_eq!(judge(&again, Some(&invalid)), Some(Judgement::Stop { message: Some(message) }));
        for kind in [
            ErrorKind::Transient,
            ErrorKind::MissingCapability,
            ErrorKind::ConflictWithForeign,
            ErrorKind::Internal,
        ] {
            assert_eq!(judge(&first, Some(&seen(2, Phase::Failed, Some(kind)))), None, "{kind:?}");
        }
    }

    #[test]
    fn what_was_seen_of_an_earlier_epoch_means_nothing() {
        let wanted = instance(Want::Running, Via::Restart);
        for phase in [Phase::Exited, Phase::Failed, Phase::Running, Phase::Absent] {
            let old = seen(1, phase, Some(ErrorKind::Invalid));
            assert_eq!(judge(&wanted, Some(&old)), None, "{phase:?}");
        }
        assert_eq!(judge(&wanted, None), None);
    }

    #[test]
    fn an_end_by_itself_follows_the_policy() {
        let ended = |restart, stop: Option<&str>, exit| {
            let restarts = Instance {
                restart,
                triggered_stop: stop.map(str::to_owned),
                ..instance(Want::Running, Via::Create)
            };
            judge(&restarts, Some(&Seen { exit: Some(exit), ..seen(2, Phase::Exited, None) }))
        };
        let stopped = Some(Judgement::Stop { message: None });
        let on_failure = Restart::OnFailure { maximum: 3 };
        assert_eq!(ended(Restart::Stop, None, 1), stopped);
        assert_eq!(ended(Restart::Stop, Some("remove"), 0), Some(Judgement::Remove));
        assert_eq!(ended(Restart::Always, None, 1), None);
        assert_eq!(ended(on_failure, None, 1), None);
        assert_eq!(ended(on_failure, None, 0), stopped);
    }

    #[test]
    fn a_failure_whose_retries_are_used_up_is_an_end() {
        let restart = Restart::OnFailure { maximum: 2 };
        let wanted = Instance { restart, ..instance(Want::Running, Via::Start) };
        let failed = Seen { exit: Some(1), ..seen(2, Phase::Exited, None) };
        assert_eq!(judge(&wanted, Some(&failed)), None, "it is tried again");
        let over = Seen { over: true, ..failed };
        assert_eq!(judge(&wanted, Some(&over)), Some(Judgement::Stop { message: None }));
        let remove = Instance { triggered_stop: Some("remove".into()), ..wanted };
        assert_eq!(judge(&remove, Some(&over)), Some(Judgement::Remove));
    }

    #[test]
    fn addresses_go_when_nothing_is_left_on_the_host() {
        let purged = instance(Want::Purged, Via::Purge);
        assert_eq!(judge(&purged, Some(&Seen::default())), Some(Judgement::Free));
        assert_eq!(judge(&purged, Some(&seen(2, Phase::Retained, None))), None);
        assert_eq!(judge(&purged, None), None, "an unheard host may still have it");
        let freed = Instance { host: None, ..purged };
        assert_eq!(judge(&freed, Some(&Seen::default())), None, "once is enough");
    }
}
