//! Whether a container ended of its own, or was cut off by somebody's hand or by Docker's own end.
//!
//! `docker restart` looks like an end for a moment, and a restart of dockerd like the end of
//! everything. Telling the cloud of such an end would stop for good what was only restarted. Fed by
//! Docker's events and lists; a loss of this memory costs an end told too early, no more.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// A container that was killed by hand counts as running for so long: it may be a restart, whose
/// network may take a moment.
const SETTLE: Duration = Duration::from_secs(6);

/// What is known of ends that were not the container's own.
#[derive(Debug, Default)]
pub struct Interruptions {
    running: BTreeSet<String>,
    killed: BTreeMap<String, Instant>,
    /// Running when Docker went away; true when Docker killed them before it went.
    lost: BTreeMap<String, bool>,
}

/// What an end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The container's own.
    Own,
    /// Perhaps none: somebody may be restarting it.
    Settling,
    /// Docker went away below it.
    CutOff,
}

impl Interruptions {
    /// Takes in an event of a container.
    pub fn event(&mut self, action: &str, id: &str, now: Instant) {
        match action {
            "kill" => {
                self.killed.insert(id.into(), now);
            }
            "die" => {
                if let Some(killed) = self.killed.get_mut(id) {
                    *killed = now;
                }
            }
            "start" | "destroy" => {
                self.killed.remove(id);
                self.lost.remove(id);
            }
            _ => {}
        }
    }

    /// Takes in which containers run now.
    pub fn observed(&mut self, running: BTreeSet<String>) {
        self.lost.retain(|id, _| !running.contains(id));
        self.running = running;
    }

    /// Docker cannot be heard any more.
    pub fn disconnected(&mut self, now: Instant) {
        let running = std::mem::take(&mut self.running);
        self.lost.extend(running.into_iter().map(|id| (id, false)));
        let killed = self.killed.iter().filter(|(_, at)| is_recent(**at, now));
        self.lost.extend(killed.map(|(id, _)| (id.clone(), true)));
        self.killed.clear();
    }

    /// What the end of a container is, by its exit status.
    #[must_use]
    pub fn ending(&self, id: &str, exit: i32, now: Instant) -> Ending {
        // Killed by SIGKILL or SIGTERM, or the engine lost track of it.
        let by_force = matches!(exit, 137 | 143 | 255);
        match (self.lost.get(id), self.killed.get(id)) {
            (Some(killed), _) if *killed || by_force => Ending::CutOff,
            (_, Some(at)) if is_recent(*at, now) => Ending::Settling,
            _ => Ending::Own,
        }
    }
}

fn is_recent(at: Instant, now: Instant) -> bool {
    now.saturating_duration_since(at) < SETTLE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_by_hand_is_no_end() {
        let (mut known, start) = (Interruptions::default(), Instant::now());
        assert_eq!(known.ending("c", 137, start), Ending::Own);
        known.event("kill", "c", start);
        known.event("die", "c", start + SETTLE);
        assert_eq!(known.ending("c", 0, start + SETTLE), Ending::Settling);
        assert_eq!(known.ending("c", 0, start + 2 * SETTLE), Ending::Own, "it was a stop");
        known.event("start", "c", start + SETTLE);
        assert_eq!(known.ending("c", 0, start + SETTLE), Ending::Own);
    }

    #[test]
    fn an_end_of_docker_is_not_the_containers_own() {
        let (mut known, now) = (Interruptions::default(), Instant::now());
        known.observed(["crashed", "stopped", "survivor"].map(String::from).into());
        known.event("kill", "stopped", now);
        known.event("die", "stopped", now);
        known.disconnected(now);
        assert_eq!(known.ending("stopped", 0, now + SETTLE), Ending::CutOff);
        assert_eq!(known.ending("crashed", 137, now), Ending::CutOff);
        assert_eq!(known.ending("crashed", 0, now), Ending::Own);
        known.observed(["survivor".to_owned()].into());
        assert_eq!(known.ending("survivor", 137, now), Ending::Own);
        known.event("start", "crashed", now);
        assert_eq!(known.ending("crashed", 137, now), Ending::Own);
    }
}
