//! Long polls: parked until there is something to tell.

use super::listener::stopped;
use super::routes::Query;
use super::{Answer, Refused, empty, identity, json};
use crate::board::{Held, Outcome};
use crate::core::Core;
use crate::shared::Shared;
use http::StatusCode;
use std::sync::{Arc, RwLockWriteGuard};
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, watch};

/// Longest time a poll is parked, in seconds.
const LONGEST: u64 = 60;

/// Shortest time between two answers with content to one host; the first one is sent at once.
const PACE: Duration = Duration::from_millis(100);

/// Whole truths encoded at a time.
static FULL: Semaphore = Semaphore::const_new(32);

/// Who polls.
pub(super) struct Who<'a> {
    pub(super) host: i64,
    pub(super) uuid: &'a str,
    pub(super) certificate: Option<&'a str>,
}

/// Counts a parked poll for as long as it lives.
struct Parked {
    shared: Arc<Shared>,
    host: i64,
}

impl Parked {
    fn new(core: &Core, host: i64, held: u64) -> Self {
        let shared = core.0.shared.clone();
        shared.write().observed.park(host, held);
        shared.ring();
        Self { shared, host }
    }
}

impl Drop for Parked {
    fn drop(&mut self) {
        self.shared.write().observed.unpark(self.host);
    }
}

/// Answers a poll, when there is something new or the wait is over.
///
/// # Errors
/// When too many whole truths are asked for at once, or the host is fenced or removed meanwhile.
pub(super) async fn poll(
    core: &Core,
    who: &Who<'_>,
    query: Query,
    mut stop: watch::Receiver<bool>,
) -> Result<Answer, Refused> {
    let held = Held {
        store: query.store,
        generation: query.generation,
        hash: query.hash.parse().unwrap_or_default(),
    };
    let _parked = Parked::new(core, who.host, held.generation);
    let mut committed = core.0.shared.committed();
    let deadline = tokio::time::sleep(jittered(query.wait.min(LONGEST)));
    let mut deadline = std::pin::pin!(deadline);
    loop {
        committed.mark_unchanged();
        if let Some(pause) = look(core, who, &held)? {
            tokio::time::sleep(pause).await;
            return send(core, who, &held);
        }
        tokio::select! {
            outcome = committed.changed() => if outcome.is_err() {
                return Ok(empty(StatusCode::NO_CONTENT));
            },
            () = &mut deadline => return Ok(empty(StatusCode::NO_CONTENT)),
            () = stopped(&mut stop) => return Ok(empty(StatusCode::NO_CONTENT)),
        }
    }
}

/// The pause before an answer, if there is anything to tell.
fn look(core: &Core, who: &Who<'_>, held: &Held) -> Result<Option<Duration>, Refused> {
    let state = core.0.shared.read();
    identity::host(&state, who.certificate, who.uuid)?;
    if state.board.holds(who.host, held) {
        return Ok(None);
    }
    let passed = state.observed.answered(who.host).map(|answered: Instant| answered.elapsed());
    Ok(Some(passed.map_or(Duration::ZERO, |passed| PACE.saturating_sub(passed))))
}

fn send(core: &Core, who: &Who<'_>, held: &Held) -> Result<Answer, Refused> {
    let _place = FULL.try_acquire().map_err(|_| Refused::busy())?;
    let outcome = {
        let mut state = core.0.shared.write();
        identity::host(&state, who.certificate, who.uuid)?;
        if state.board.holds(who.host, held) {
            return Ok(empty(StatusCode::NO_CONTENT));
        }
        // Noted before anybody can judge a report without knowing of this answer.
        let generation = state.board.generation();
        state.observed.serve(who.host, generation);
        RwLockWriteGuard::downgrade(state).board.answer(who.host, held)
    };
    Ok(match &outcome {
        Outcome::Same => empty(StatusCode::NO_CONTENT),
        Outcome::Full(full) => json(StatusCode::OK, full),
        Outcome::Delta(delta) => json(StatusCode::OK, delta),
    })
}

/// The wait, a tenth shorter or longer, so that agents do not come back all at once.
fn jittered(seconds: u64) -> Duration {
    let mut random = [0];
    if getrandom::fill(&mut random).is_err() {
        return Duration::from_secs(seconds);
    }
    let share = 0.9 + 0.2 * f64::from(random[0]) / 255.0;
    Duration::from_secs(seconds).mul_f64(share)
}
