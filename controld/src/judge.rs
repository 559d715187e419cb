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
        Restart::OnFailure { .. } if seen.exit != Some(0) => None,
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
