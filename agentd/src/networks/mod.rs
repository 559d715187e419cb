//! Managed networks of this host: what the snapshot says becomes what the kernel does.
//!
//! Translates ([`translate`]), gives every network a transit ([`transit`]), lets the data plane
//! observe, plan, apply and verify ([`driver`]), and tells the others which networks are in place
//! ([`ready`]). Owns the data plane as a whole; devices of guests come and go by its calls.

mod driver;
#[cfg(test)]
pub(crate) mod fixture;
mod ready;
mod transit;
mod translate;

pub use driver::{Driver, Kernel, ProbeError, Simulated};
pub use ready::{NotReady, Ready, ReadyNetworks};
pub use transit::{TransitError, Transits};
pub use translate::{UntranslatedError, host_network};

use crate::desired::{Desired, chain};
use crate::reconcile::{Reconciler, Status};
use api::item::Overlay;
use api::report::{ErrorKind, ItemError};
use netlib::dataplane::{Forwarding, Outcome};
use netlib::desired::HostNetwork;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// After a failure the networks are looked at again this soon.
const RETRY: Duration = Duration::from_secs(5);
/// A healthy forwarding probe is believed this long: passes that follow closely are about endpoints,
/// not about a firewall.
const BELIEVED: Duration = Duration::from_secs(2);
/// The name of the condition that somebody's firewall drops what networks send out.
pub const FORWARD_BLOCKED: &str = "forward-blocked";
const FORWARD_REMEDY: &str = "another firewall on this host drops what managed networks send and receive: for firewalld put the interfaces stt+ into the zone `trusted`; for ufw run `ufw route allow`; for a rule set of your own accept forwarding from and to interfaces stt+";

/// Makes this host's networks true.
pub struct Networks {
    driver: Arc<dyn Driver>,
    transits: Transits,
    allowed: Vec<Overlay>,
    ready: watch::Sender<ReadyNetworks>,
    /// When the last probe found forwarding open.
    open_at: Option<Instant>,
}

impl Networks {
    /// A reconciler over `driver` that tells `ready` what is in place.
    #[must_use]
    pub fn new(
        driver: Arc<dyn Driver>,
        transits: Transits,
        allowed: Vec<Overlay>,
        ready: watch::Sender<ReadyNetworks>,
    ) -> Self {
        Self { driver, transits, allowed, ready, open_at: None }
    }

    fn translate(&mut self, desired: &Desired) -> Result<HostNetwork, ItemError> {
        let wanted = desired.networks.keys().copied().collect();
        let transits = self
            .transits
            .assign(&wanted)
            .map_err(|error| ItemError { kind: ErrorKind::Internal, message: chain(&error) })?;
        host_network(desired, &transits, &self.allowed).map_err(|error| ItemError {
            kind: match error {
                UntranslatedError::NoAddress | UntranslatedError::NoHost => ErrorKind::Transient,
                UntranslatedError::Overlay | UntranslatedError::NotAllowed { .. } => {
                    ErrorKind::MissingCapability
                }
            },
            message: chain(&error),
        })
    }

    fn publish(&self, plane: &HostNetwork, outcome: &Outcome) {
        let in_place = plane.networks.iter().filter(|(vni, _)| outcome.ready.contains(vni));
        let next: ReadyNetworks = in_place
            .map(|(vni, network)| (*vni, network.local.iter().map(|local| local.ip).collect()))
            .collect();
        self.ready.send_if_modified(|held| {
            let changed = *held != next;
            *held = next;
            changed
        });
    }

    /// Whether the outside is reached, tried through one network: all take the same way out.
    async fn probe(&mut self, outcome: &Outcome, status: &mut Status) {
        let believed = self.open_at.is_some_and(|at| at.elapsed() < BELIEVED);
        let Some(vni) = outcome.ready.first() else { return };
        if believed && outcome.changes == 0 {
            return;
        }
        self.open_at = None;
        match self.driver.forwarding(*vni).await {
            // No route out is a host's own affair, not a firewall's.
            Ok(Forwarding::Open | Forwarding::NoRoute) => self.open_at = Some(Instant::now()),
            Ok(Forwarding::Blocked) => {
                status.conditions.insert(FORWARD_BLOCKED.into(), FORWARD_REMEDY.into());
                status.retry_after = Some(RETRY);
            }
            Err(error) => {
                let message = chain(&error);
                let error = ItemError { kind: ErrorKind::Transient, message };
                status.errors.insert("host/forwarding".into(), error);
                status.retry_after = Some(RETRY);
            }
        }
    }
}

#[async_trait::async_trait]
impl Reconciler for Networks {
    fn name(&self) -> &'static str {
        "networks"
    }

    async fn reconcile(&mut self, desired: &Arc<Desired>) -> Status {
        let plane = match self.translate(desired) {
            Ok(plane) => plane,
            Err(error) => {
                return Status {
                    errors: [("host/self".into(), error)].into(),
                    retry_after: Some(RETRY),
                    ..Status::default()
                };
            }
        };
        let mut outcome = self.driver.reconcile(&plane).await;
        if !outcome.errors.is_empty() {
            // A container that ends in the middle of a pass takes its port with it, which looks
            // like a failure. A second look tells; until then the network would count as not
            // ready, and whoever starts a container does not wait as long as the next pass takes.
            let changes = outcome.changes;
            outcome = self.driver.reconcile(&plane).await;
            outcome.changes += changes;
        }
        self.publish(&plane, &outcome);
        let mut status = Status { changes: outcome.changes, ..Status::default() };
        for (place, message) in &outcome.errors {
            let key = place.map_or_else(|| "host/network".into(), |vni| format!("network/{vni}"));
            let error = ItemError { kind: ErrorKind::Transient, message: message.clone() };
            status.errors.insert(key, error);
            status.retry_after = Some(RETRY);
        }
        self.probe(&outcome, &mut status).await;
        status
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fixture::{GUEST, RESERVED, VNI, desired};

    fn networks(
        data: &std::path::Path,
        driver: Arc<dyn Driver>,
        allowed: Vec<Overlay>,
    ) -> (Networks, Ready) {
        let (sender, ready) = Ready::channel();
        (Networks::new(driver, Transits::open(data).unwrap(), allowed, sender), ready)
    }

    #[tokio::test]
    async fn networks_get_ready_and_a_second_pass_changes_nothing() {
        let data = tempfile::tempdir().unwrap();
        let driver = Arc::new(Simulated::default());
        let (mut networks, ready) = networks(data.path(), driver, vec![Overlay::Vxlan]);
        let wish = Arc::new(desired());
        let first = networks.reconcile(&wish).await;
        assert_eq!((first.changes, first.errors.len()), (1, 0));
        assert!(ready.has(VNI, GUEST) && ready.has(VNI, RESERVED));
        assert_eq!(networks.reconcile(&wish).await, Status::default());
        networks.reconcile(&Arc::new(Desired { networks: [].into(), ..desired() })).await;
        assert!(ready.now().is_empty());
    }

    #[tokio::test]
    async fn an_overlay_that_is_not_allowed_is_told_and_touches_nothing() {
        let data = tempfile::tempdir().unwrap();
        let driver = Arc::new(Simulated::default());
        let (mut networks, ready) = networks(data.path(), driver, vec![Overlay::Ipsec]);
        let status = networks.reconcile(&Arc::new(desired())).await;
        assert_eq!(status.errors["host/self"].kind, ErrorKind::MissingCapability);
        assert!(ready.now().is_empty());
    }

    /// Fails once, as when a port goes in the middle of a pass.
    #[derive(Default)]
    struct Stumbling(Simulated, std::sync::atomic::AtomicBool);

    #[async_trait::async_trait]
    impl Driver for Stumbling {
        async fn reconcile(&self, desired: &HostNetwork) -> Outcome {
            if self.1.swap(true, std::sync::atomic::Ordering::Relaxed) {
                return self.0.reconcile(desired).await;
            }
            let errors = [(Some(VNI), "no such device".to_owned())].into();
            Outcome { changes: 1, errors, ..Outcome::default() }
        }
        async fn forwarding(&self, vni: u32) -> Result<Forwarding, ProbeError> {
            self.0.forwarding(vni).await
        }
        fn namespace(&self, _vni: u32) -> Option<std::path::PathBuf> {
            None
        }
    }

    #[tokio::test]
    async fn a_failure_that_is_over_on_a_second_look_keeps_nobody_waiting() {
        let data = tempfile::tempdir().unwrap();
        let driver = Arc::new(Stumbling::default());
        let (mut networks, ready) = networks(data.path(), driver, vec![Overlay::Vxlan]);
        let status = networks.reconcile(&Arc::new(desired())).await;
        assert!(status.errors.is_empty() && ready.has(VNI, GUEST));
        assert_eq!(status.changes, 2, "what both looks changed");
    }

    /// A host whose firewall drops everything.
    struct Blocked(Simulated);

    #[async_trait::async_trait]
    impl Driver for Blocked {
        async fn reconcile(&self, desired: &HostNetwork) -> Outcome {
            self.0.reconcile(desired).await
        }
        async fn forwarding(&self, _vni: u32) -> Result<Forwarding, ProbeError> {
            Ok(Forwarding::Blocked)
        }
        fn namespace(&self, _vni: u32) -> Option<std::path::PathBuf> {
            None
        }
    }

    #[tokio::test]
    async fn a_firewall_in_the_way_is_a_condition_until_it_is_gone() {
        let data = tempfile::tempdir().unwrap();
        let driver = Arc::new(Blocked(Simulated::default()));
        let (mut networks, _ready) = networks(data.path(), driver, vec![Overlay::Vxlan]);
        let wish = Arc::new(desired());
        for _ in 0..2 {
            let status = networks.reconcile(&wish).await;
            assert!(status.conditions.contains_key(FORWARD_BLOCKED), "told on every pass");
        }
        networks.driver = Arc::new(Simulated::default());
        assert!(networks.reconcile(&wish).await.conditions.is_empty());
    }
}
