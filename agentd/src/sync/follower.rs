//! What to ask controld next, and what to do with what was heard.

use super::WAIT;
use crate::controld::backoff::Backoff;
use crate::desired::chain;
use crate::ledger::{Ledger, LedgerError};
use api::enrol::Refusal;
use api::snapshot::Snapshot;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What came of a question.
#[derive(Clone, Debug)]
pub enum Heard {
    /// A snapshot or a delta, as received.
    Answer(String),
    /// Nothing new within the wait.
    Nothing,
    /// controld has too much to do; come again after this long.
    Busy(Option<Duration>),
    /// controld refuses this host.
    Refused(Refusal),
    /// No answer, and why.
    Away(String),
}

/// How the last exchange with controld went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "state")]
pub enum Contact {
    /// None yet in this run.
    #[default]
    None,
    /// controld answers.
    Connected,
    /// controld does not answer, or cannot be understood.
    Away {
        /// Why.
        why: String,
    },
    /// This host was taken out of the cloud.
    Fenced,
    /// controld refuses this host.
    Refused {
        /// Short and stable.
        code: String,
        /// For people.
        why: String,
    },
}

impl std::fmt::Display for Contact {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => f.write_str("no answer from controld yet"),
            Self::Connected => f.write_str("connected"),
            Self::Away { why } => write!(f, "controld is away: {why}"),
            Self::Fenced => f.write_str("this host was taken out of the cloud"),
            Self::Refused { code, why } => {
                write!(f, "controld refuses this host ({code}): {why}")
            }
        }
    }
}

/// What to do after an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Next {
    /// Whether another snapshot is in force now.
    pub changed: bool,
    /// How the exchange went.
    pub contact: Contact,
    /// The pause before the next question.
    pub pause: Duration,
}

/// The core of following controld.
#[derive(Debug)]
pub struct Follower {
    ledger: Ledger,
    backoff: Backoff,
    /// Set when the next question is for the whole truth.
    whole: bool,
    /// Set when the next question is not to be parked: the first one, and the first after a
    /// failure. Its answer tells that controld is there, and which run of it.
    greeting: bool,
}

impl Follower {
    /// Continues from what the ledger holds.
    #[must_use]
    pub fn new(ledger: Ledger) -> Self {
        Self { ledger, backoff: Backoff::default(), whole: false, greeting: true }
    }

    /// The snapshot in force.
    #[must_use]
    pub fn snapshot(&self) -> &Snapshot {
        self.ledger.snapshot()
    }

    /// Path and query of the next question.
    #[must_use]
    pub fn question(&self, host: &str) -> String {
        let held = self.ledger.snapshot();
        let generation = if self.whole { 0 } else { held.generation };
        let wait = if self.greeting { 0 } else { WAIT };
        format!(
            "/v1/agent/{host}/snapshot?store={}&gen={generation}&hash={}&wait={wait}",
            held.store, held.hash
        )
    }

    /// Takes what was heard; `random` is from 0 to 1.
    pub fn hear(&mut self, heard: Heard, random: f64) -> Next {
        let next = self.weigh(heard, random);
        self.greeting = next.contact != Contact::Connected;
        next
    }

    fn weigh(&mut self, heard: Heard, random: f64) -> Next {
        match heard {
            Heard::Answer(text) => self.take(&text, random),
            Heard::Nothing => self.connected(false),
            Heard::Busy(asked) => {
                let jitter = self.backoff.failed(random);
                let why = "controld is busy".into();
                let pause = asked.unwrap_or_default() + jitter;
                Next { changed: false, contact: Contact::Away { why }, pause }
            }
            Heard::Refused(Refusal { code, message }) => {
                let contact = match code.as_str() {
                    "fenced" => Contact::Fenced,
                    _ => Contact::Refused { code, why: message },
                };
                Next { changed: false, contact, pause: self.backoff.failed(random) }
            }
            Heard::Away(why) => self.away(why, random),
        }
    }

    fn take(&mut self, text: &str, random: f64) -> Next {
        match self.ledger.accept(text) {
            Ok(changed) => {
                self.whole = false;
                self.connected(changed)
            }
            Err(error @ LedgerError::Refused(_)) if !self.whole => {
                // Something was lost on the way; the whole truth mends it, so there is no wait.
                tracing::warn!("asking for the whole snapshot: {}", chain(&error));
                self.whole = true;
                self.connected(false)
            }
            Err(error) => {
                self.whole = matches!(error, LedgerError::Refused(_));
                self.away(chain(&error), random)
            }
        }
    }

    fn connected(&mut self, changed: bool) -> Next {
        self.backoff.succeeded();
        Next { changed, contact: Contact::Connected, pause: Duration::ZERO }
    }

    fn away(&mut self, why: String, random: f64) -> Next {
        let pause = self.backoff.failed(random);
        Next { changed: false, contact: Contact::Away { why }, pause }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::hash::SetHash;

    const SUM: &str = "0000000000000000000000000000000000000000000000000000000000000000";

    fn follower() -> (tempfile::TempDir, Follower) {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(folder.path()).unwrap();
        (folder, Follower::new(ledger))
    }

    fn full(generation: u64) -> Heard {
        Heard::Answer(format!(r#"{{"store":"s.1","gen":{generation},"hash":"{SUM}","items":[]}}"#))
    }

    fn delta(from: u64, to: u64) -> Heard {
        Heard::Answer(format!(
            r#"{{"store":"s.1","from":{from},"gen":{to},"hash":"{SUM}","put":[],"del":[]}}"#
        ))
    }

    #[test]
    fn the_next_question_acknowledges_what_was_taken() {
        let (_folder, mut follower) = follower();
        assert!(follower.question("h").contains("store=&gen=0&"));
        assert!(follower.question("h").ends_with("&wait=0"), "the first one is not parked");
        let next = follower.hear(full(5), 1.0);
        assert_eq!(
            next,
            Next { changed: true, contact: Contact::Connected, pause: Duration::ZERO }
        );
        assert!(follower.question("h").starts_with("/v1/agent/h/snapshot?store=s.1&gen=5&hash=0"));
        assert!(follower.hear(delta(5, 6), 1.0).changed);
        assert!(follower.question("h").ends_with("&wait=50"));
        assert!(!follower.hear(Heard::Nothing, 1.0).changed);
        assert_eq!(follower.snapshot().generation, 6);
        assert_eq!(follower.snapshot().hash, SetHash::default());
    }

    #[test]
    fn a_gap_asks_for_the_whole_truth_at_once_and_only_once() {
        let (_folder, mut follower) = follower();
        follower.hear(full(5), 1.0);
        let next = follower.hear(delta(7, 8), 1.0);
        assert_eq!((next.changed, next.pause), (false, Duration::ZERO));
        assert!(follower.question("h").contains("gen=0&"));
        let next = follower.hear(full(4), 1.0);
        assert!(matches!(next.contact, Contact::Away { .. }), "an older truth is no truth");
        assert_eq!(next.pause, Duration::from_secs(1), "controld is not asked in a tight loop");
        assert!(follower.hear(full(9), 1.0).changed);
        assert!(follower.question("h").contains("gen=9&"));
    }

    #[test]
    fn failures_wait_longer_and_busy_is_obeyed() {
        let (_folder, mut follower) = follower();
        assert_eq!(follower.hear(Heard::Away("x".into()), 1.0).pause, Duration::from_secs(1));
        assert_eq!(follower.hear(Heard::Away("x".into()), 1.0).pause, Duration::from_secs(2));
        assert!(follower.question("h").ends_with("&wait=0"));
        let busy = Heard::Busy(Some(Duration::from_secs(7)));
        assert_eq!(follower.hear(busy, 0.0).pause, Duration::from_secs(7));
        follower.hear(Heard::Nothing, 1.0);
        assert_eq!(follower.hear(Heard::Away("x".into()), 1.0).pause, Duration::from_secs(1));
    }

    #[test]
    fn nonsense_changes_nothing() {
        let (_folder, mut follower) = follower();
        follower.hear(full(5), 1.0);
        let next = follower.hear(Heard::Answer("<html>".into()), 1.0);
        assert!(matches!(next.contact, Contact::Away { .. }));
        assert_eq!(follower.snapshot().generation, 5);
    }

    #[test]
    fn fenced_is_told_apart_from_other_refusals() {
        let (_folder, mut follower) = follower();
        let refuse =
            |code: &str| Heard::Refused(Refusal { code: code.into(), message: "because".into() });
        assert_eq!(follower.hear(refuse("fenced"), 1.0).contact, Contact::Fenced);
        let other = follower.hear(refuse("certificate"), 1.0).contact;
        assert!(matches!(other, Contact::Refused { .. }));
    }
}
