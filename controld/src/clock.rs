//! The wall clock, for display, expiry and rest times only; durations use the monotonic one.

use crate::model::Millis;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970.
#[must_use]
pub fn now() -> Millis {
    millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// A duration in milliseconds.
#[must_use]
pub fn millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX)
}

/// As the API writes it, for instance `2014-08-21T16:54:52Z`; empty for what no calendar has.
#[must_use]
pub fn text(time: Millis) -> String {
    jiff::Timestamp::from_millisecond(time)
        .map(|stamp| stamp.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
        .unwrap_or_default()
}
