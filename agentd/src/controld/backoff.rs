//! How long to wait after a failure: full jitter, so that a thousand agents do not come at once.

use std::time::Duration;

/// The longest wait.
const LONGEST: Duration = Duration::from_secs(30);
/// The longest wait after the first failure.
const FIRST: Duration = Duration::from_secs(1);

/// Counts failures in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The wait after one more failure: uniform over 0 … min(30 s, 1 s·2ⁿ). `random` is from 0 to 1.
    pub fn failed(&mut self, random: f64) -> Duration {
        let longest = FIRST.saturating_mul(1 << self.failures.min(10)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        longest.mul_f64(random.clamp(0.0, 1.0))
    }

    /// Forgets the failures.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }
}

/// A number from 0 to 1, evenly spread. Without a source of randomness all agents wait alike, which
/// is slow and never wrong.
#[must_use]
pub fn random() -> f64 {
    getrandom::u32().map_or(1.0, |number| f64::from(number) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_half_a_minute_and_starts_anew() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..8).map(|_| backoff.failed(1.0).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30, 30]);
        assert_eq!(backoff.failed(0.0), Duration::ZERO);
        backoff.succeeded();
        assert_eq!(backoff.failed(0.5), Duration::from_millis(500));
    }
}
