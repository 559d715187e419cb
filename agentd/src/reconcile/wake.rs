//! Waking a reconciler: "look again", without saying why.

use std::sync::Arc;
use tokio::sync::Notify;

/// Wakes one reconciler's loop. Clones wake the same loop; any number of wake-ups during a pass
/// lead to one more pass.
#[derive(Clone, Debug, Default)]
pub struct Wake(Arc<Notify>);

impl Wake {
    /// Asks for another look.
    pub fn wake(&self) {
        self.0.notify_one();
    }

    /// Waits until somebody asked for another look since the last time this returned.
    pub async fn woken(&self) {
        self.0.notified().await;
    }
}
