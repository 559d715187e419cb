//! The one loop that all reconcilers share, and what a reconciler is.
//!
//! Wake-ups carry no data: they say "look again". A reconciler cannot fail: every problem becomes
//! a status of the item it concerns.

mod round;
mod wake;

pub use round::{Progress, Round, start};
pub use wake::Wake;

use crate::desired::Desired;
use api::report::{Instance, ItemError};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// One concern of the host, made true step by step: observe, plan, apply, verify.
#[async_trait::async_trait]
pub trait Reconciler: Send + 'static {
    /// The concern's name, for logs and `status`.
    fn name(&self) -> &'static str;

    /// Looks at what is, makes it what it should be as far as possible, and says how that went.
    /// Called again when anything wakes the loop; doing it twice changes nothing.
    async fn reconcile(&mut self, desired: &Arc<Desired>) -> Status;
}

/// How a pass went.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    /// Calls that changed something on the host; zero on a second pass.
    pub changes: u64,
    /// Instances this reconciler knows about, by uuid; empty for other concerns.
    pub instances: BTreeMap<String, Instance>,
    /// Items that are not as they should be, by snapshot key.
    pub errors: BTreeMap<String, ItemError>,
    /// Conditions of the host as a whole, by name, with their remedy.
    pub conditions: BTreeMap<String, String>,
    /// Look again after this long at the latest, although nothing woke the loop.
    pub retry_after: Option<Duration>,
}
