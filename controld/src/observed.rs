//! What hosts reported, and whether they are heard of. In memory; a file per host lets the last
//! report be shown as stale after a restart, and may be lost.

use crate::clock;
use crate::model::{Guest, Instance, Millis};
use api::hash::SetHash;
use api::report::{self, Phase, Report};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// An agent that was silent for longer is disconnected: a poll takes at most 55 s.
const SILENCE: Duration = Duration::from_secs(75);

/// After controld's own start hosts are unknown for two poll periods.
const GRACE: Duration = Duration::from_secs(110);

/// Whether a host is heard of, by monotonic time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// Heard of lately.
    Connected,
    /// Silent for too long.
    Disconnected,
    /// controld has not been up for long enough to tell.
    Unknown,
}

impl Liveness {
    /// As the API writes it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Disconnected => "disconnected",
            Self::Unknown => "unknown",
        }
    }
}

/// What is known of an instance from its host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The epoch the phase belongs to.
    pub epoch: u64,
    /// How far it is.
    pub phase: Phase,
    /// The kind of the failure.
    pub error: Option<report::ErrorKind>,
    /// The exit status.
    pub exit: Option<i32>,
    /// Whether its restart policy starts it no more.
    pub over: bool,
    /// What to tell the user.
    pub message: Option<String>,
    /// Percent of the preparation.
    pub progress: Option<u8>,
}

#[derive(Default)]
struct Contact {
    report: Option<Arc<Report>>,
    stale: bool,
    // Newer than the file of it.
    unsaved: bool,
    heard: Option<Instant>,
    // The same by the wall clock, for display.
    heard_at: Option<Millis>,
    parked: usize,
    // The generation last sent with content by this process: what a report may lag behind.
    served: Option<u64>,
    answered: Option<Instant>,
}

impl Contact {
    fn hear(&mut self) {
        self.heard = Some(Instant::now());
        self.heard_at = Some(clock::now());
    }
}

/// Reports and contacts of all hosts.
pub struct Observed {
    started: Instant,
    hosts: HashMap<i64, Contact>,
}

impl Default for Observed {
    fn default() -> Self {
        Self { started: Instant::now(), hosts: HashMap::new() }
    }
}

impl Observed {
    /// Takes a report unless it is a repetition or older than what is known of the same run.
    /// Returns whether it was taken.
    pub fn accept(&mut self, host: i64, report: Report) -> bool {
        let contact = self.hosts.entry(host).or_default();
        contact.hear();
        let known = contact.report.as_ref().filter(|_| !contact.stale);
        if known.is_some_and(|known| known.boot == report.boot && known.seq >= report.seq) {
            return false;
        }
        contact.stale = false;
        contact.unsaved = true;
        contact.report = Some(Arc::new(report));
        true
    }

    /// Reports that came since the last call, by host.
    pub fn take_unsaved(&mut self) -> Vec<(i64, Arc<Report>)> {
        let unsaved = self.hosts.iter_mut().filter(|(_, contact)| contact.unsaved);
        unsaved
            .filter_map(|(host, contact)| {
                contact.unsaved = false;
                Some((*host, contact.report.clone()?))
            })
            .collect()
    }

    /// Takes a report from a file.
    pub fn recall(&mut self, host: i64, report: Report) {
        let contact = self.hosts.entry(host).or_default();
        contact.stale = true;
        contact.report = Some(Arc::new(report));
    }

    /// Notes that a host asks, and what it holds: an answer that was lost on its way is never
    /// applied.
    pub fn park(&mut self, host: i64, held: u64) {
        let contact = self.hosts.entry(host).or_default();
        contact.hear();
        contact.parked += 1;
        contact.served = contact.served.map(|served| served.min(held));
    }

    /// Notes that a host's request ended. That is no sign of life: its connection may be broken.
    pub fn unpark(&mut self, host: i64) {
        if let Some(contact) = self.hosts.get_mut(&host) {
            contact.parked = contact.parked.saturating_sub(1);
        }
    }

    /// Notes that a generation was sent to a host.
    pub fn serve(&mut self, host: i64, generation: u64) {
        let contact = self.hosts.entry(host).or_default();
        contact.served = Some(generation);
        contact.answered = Some(Instant::now());
    }

    /// When a host was last sent content.
    #[must_use]
    pub fn answered(&self, host: i64) -> Option<Instant> {
        self.hosts.get(&host)?.answered
    }

    /// The last report of a host.
    #[must_use]
    pub fn report(&self, host: i64) -> Option<&Arc<Report>> {
        self.hosts.get(&host)?.report.as_ref()
    }

    /// When a host was last heard of, since controld's start.
    #[must_use]
    pub fn last_heard(&self, host: i64) -> Option<Millis> {
        self.hosts.get(&host)?.heard_at
    }

    /// Whether a host is heard of.
    #[must_use]
    pub fn liveness(&self, host: i64) -> Liveness {
        let contact = self.hosts.get(&host);
        let heard = contact.and_then(|contact| contact.heard);
        match heard {
            Some(heard)
                if contact.is_some_and(|contact| contact.parked > 0)
                    || heard.elapsed() < SILENCE =>
            {
                Liveness::Connected
            }
            None if self.started.elapsed() < GRACE => Liveness::Unknown,
            _ => Liveness::Disconnected,
        }
    }

    /// What is known of an instance: none when its host has said nothing since its want changed.
    /// `hash` is the hash over what the host should hold now, if the host can know of that want.
    #[must_use]
    pub fn seen(&self, instance: &Instance, hash: Option<SetHash>) -> Option<Seen> {
        let contact = self.hosts.get(&instance.host?)?;
        let report = contact.report.as_ref()?;
        let error = report.errors.get(&item_key(instance));
        if let Some(seen) = report.instances.get(&instance.guest_uuid) {
            let mut seen = Seen {
                epoch: seen.epoch,
                phase: seen.phase,
                error: seen.error,
                exit: seen.exit,
                over: seen.over,
                message: seen.message.clone(),
                progress: seen.progress,
            };
            if let Some(error) = error.filter(|_| seen.phase != Phase::Running) {
                seen.add(error, instance.run_epoch);
            }
            return Some(seen);
        }
        if let Some(error) = error {
            let mut seen = Seen::default();
            seen.add(error, instance.run_epoch);
            return Some(seen);
        }
        // Not in the report: absent, if the report was made in knowledge of the present want. When
        // want came and went between two polls the agent was told nothing, and holds the right
        // items at an older generation; that counts if nothing else was sent meanwhile.
        let knows = report.applied_generation >= instance.since
            || Some(report.applied_hash) == hash
                && contact.served.is_none_or(|served| report.applied_generation >= served);
        knows.then(Seen::default)
    }
}

impl Seen {
    // An item that can never be made true has failed, whatever there is of it.
    fn add(&mut self, error: &report::ItemError, epoch: u64) {
        self.error.get_or_insert(error.kind);
        self.message.get_or_insert_with(|| error.message.clone());
        if matches!(error.kind, report::ErrorKind::Invalid | report::ErrorKind::Unsupported) {
            self.phase = Phase::Failed;
            self.epoch = self.epoch.max(epoch);
        }
    }
}

fn item_key(instance: &Instance) -> String {
    match instance.guest {
        Guest::Container(_) => format!("container/{}", instance.guest_uuid),
        Guest::Machine(_) => format!("machine/{}", instance.guest_uuid),
    }
}
