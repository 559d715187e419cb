//! Waiting for something that announces itself only by being there.

use anyhow::{Result, bail};
use std::time::{Duration, Instant};

/// Between two looks at something that cannot wake us.
const LOOK: Duration = Duration::from_millis(25);

/// Looks again and again until `look` gives something, or says what was missing after `limit`.
///
/// For state that has no event to wait for (a socket that is not there yet, a page of the API);
/// what has one is awaited by it.
///
/// # Errors
/// After `limit`, with the last reason that `look` gave.
pub fn until<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Result<T>) -> Result<T> {
    let end = Instant::now() + limit;
    loop {
        match look() {
            Ok(found) => return Ok(found),
            Err(reason) if Instant::now() >= end => {
                bail!("waited {} s for {what}, in vain: {reason:#}", limit.as_secs_f32());
            }
            Err(_) => std::thread::sleep(LOOK),
        }
    }
}
