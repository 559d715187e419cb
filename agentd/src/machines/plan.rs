//! What to do next with each machine: pure, from what is wanted, what runs and what is stored.
//!
//! One step per machine and pass. Steps take long (an image, a guest that shuts down), so they run
//! beside the passes, and the next pass plans from what has become of them.

use super::driver::{Domain, DomainState};
use super::record::{Record, Stage};
use super::store::Stored;
use api::item::{Guest, Restart, Want};
use std::collections::BTreeMap;

/// What is wanted of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// It runs in this epoch.
    Run {
        /// The epoch.
        epoch: u64,
        /// What happens when it ends by itself.
        restart: Restart,
    },
    /// It is there and does not run. Seconds for it to shut down.
    Stop(u32),
    /// Only its disk is there.
    Retain,
}

impl Wish {
    /// What a machine's item asks for.
    #[must_use]
    pub fn of(guest: &Guest) -> Self {
        match guest.want {
            Want::Running => Self::Run { epoch: guest.epoch, restart: guest.restart },
            Want::Stopped => Self::Stop(guest.stop_timeout),
        }
    }
}

/// The next step for a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Make what is missing and start it, for the first time in this epoch or again.
    Start {
        /// The restart policy asks for it.
        again: bool,
    },
    /// Its domain exists: attach it, let it run, and remember that.
    Release,
    /// Ask it to shut down; make it after so many seconds.
    Stop(u32),
    /// Remember that it ended.
    NoteEnd,
    /// Give back its devices, and its config drive too when it is retained.
    Free,
    /// Remove everything of it.
    Remove,
}

/// The next step of every machine that needs one.
#[must_use]
pub fn plan(
    wishes: &BTreeMap<String, Wish>,
    domains: &BTreeMap<String, Domain>,
    stored: &BTreeMap<String, Stored>,
) -> BTreeMap<String, Step> {
    let uuids = wishes.keys().chain(domains.keys()).chain(stored.keys());
    uuids
        .filter_map(|uuid| {
            let step = next(wishes.get(uuid), domains.get(uuid), stored.get(uuid))?;
            Some((uuid.clone(), step))
        })
        .collect()
}

fn next(wish: Option<&Wish>, domain: Option<&Domain>, stored: Option<&Stored>) -> Option<Step> {
    let record = stored.map(|stored| &stored.record);
    match (wish, domain) {
        (None, _) => Some(Step::Remove),
        // A shell of a domain is in the way of a start, and of nothing else.
        (Some(_), Some(domain)) if domain.state == DomainState::Dead => Some(Step::Stop(0)),
        (Some(Wish::Run { epoch, .. }), Some(domain)) => running(*epoch, domain, record),
        (Some(Wish::Stop(patience)), Some(_)) => Some(Step::Stop(*patience)),
        (Some(Wish::Retain), Some(domain)) => Some(Step::Stop(domain.label.stop_timeout)),
        (Some(wish), None) => absent(wish, stored),
    }
}

/// A domain that is to run, and exists.
fn running(epoch: u64, domain: &Domain, record: Option<&Record>) -> Option<Step> {
    if domain.label.epoch < epoch {
        return Some(Step::Stop(domain.label.stop_timeout));
    }
    let known = record
        .is_some_and(|record| record.epoch == domain.label.epoch && record.stage == Stage::Running);
    // One that was seen running and is held now is held by an operator.
    (!known).then_some(Step::Release)
}

/// A machine without a domain.
fn absent(wish: &Wish, stored: Option<&Stored>) -> Option<Step> {
    let none = Stored::default();
    let stored = stored.unwrap_or(&none);
    let record = &stored.record;
    if matches!(record.stage, Stage::Released | Stage::Running) {
        return Some(Step::NoteEnd);
    }
    let start = match wish {
        Wish::Run { epoch, restart } => starts(*epoch, *restart, record),
        Wish::Stop(_) | Wish::Retain => None,
    };
    let left = !record.ports.is_empty() || (*wish == Wish::Retain && stored.drive);
    start.or_else(|| left.then_some(Step::Free))
}

/// The start that a machine without a domain needs to run in `epoch`.
pub(super) fn starts(epoch: u64, restart: Restart, record: &Record) -> Option<Step> {
    if record.epoch < epoch || record.stage <= Stage::Begun {
        return Some(Step::Start { again: false });
    }
    // An epoch that has ended is not started again, unless the policy says so.
    let again = match restart {
        Restart::Stop => false,
        Restart::Always => true,
        Restart::OnFailure { maximum } => {
            record.exit != Some(0) && (maximum == 0 || record.restarts < maximum)
        }
    };
    again.then_some(Step::Start { again: true })
}

#[cfg(test)]
mod tests;
