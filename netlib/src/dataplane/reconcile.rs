//! One pass: looks at everything, makes it what is desired, looks again.
//!
//! Networks that are not desired go first; then the host's rules, then each network, several at a
//! time. Within a network its guards stand before any device does.

use super::apply::Applier;
use super::facts::{Facts, Side};
use super::observe::{self, Topology};
use super::wanted::{self, Surroundings};
use super::{Dataplane, DataplaneError, Host, Inside};
use crate::desired::{HostNetwork, Network, Underlay};
use crate::names::{self, DEVICE_PREFIX, TRANSIT_PREFIX, VXLAN_PREFIX};
use crate::nft::Ruleset;
use crate::{netns, settings};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use std::collections::{BTreeMap, BTreeSet};

/// Networks worked on at a time.
const NETWORKS_AT_A_TIME: usize = 8;
const IP_FORWARD: &str = "net/ipv4/ip_forward";

/// How a reconciliation went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Netlink messages, settings and nft transactions that changed something.
    pub changes: u64,
    /// What is not as it should be, by network; `None` is the host as a whole.
    pub errors: BTreeMap<Option<u32>, String>,
    /// Networks that guests can be attached to. One whose route from the host is in somebody's way
    /// is among them, although it has an error.
    pub ready: BTreeSet<u32>,
}

impl Outcome {
    fn take(&mut self, network: Option<u32>, result: Result<u64, DataplaneError>) {
        match result {
            Ok(changes) => self.changes += changes,
            Err(error) => self.complain(network, &error),
        }
    }

    fn complain(&mut self, network: Option<u32>, error: &DataplaneError) {
        let text = self.errors.entry(network).or_default();
        if !text.is_empty() {
            text.push_str("; ");
        }
        text.push_str(&chain(error));
    }
}

/// An error and its sources on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// How one network went.
struct NetworkOutcome {
    changes: u64,
    error: Option<DataplaneError>,
    ready: bool,
}

impl Dataplane {
    /// Makes the host's network what `desired` says and removes networks that it does not name. A
    /// second pass changes nothing.
    pub async fn reconcile(&self, desired: &HostNetwork) -> Outcome {
        let mut host = self.host.lock().await;
        let mut outcome = Outcome::default();
        match self.present() {
            Ok(present) => {
                for vni in present.into_iter().filter(|vni| !desired.networks.contains_key(vni)) {
                    outcome.take(Some(vni), self.remove_network(vni).await);
                }
            }
            Err(error) => outcome.complain(None, &error),
        }
        outcome.take(None, self.reconcile_strays(desired).await);
        self.reconcile_host(&mut host, desired, &mut outcome).await;
        match observe::topology(&self.root, Side::Root).await {
            Ok(root) => self.reconcile_networks(desired, &root, &mut outcome).await,
            Err(error) => outcome.complain(None, &DataplaneError::Observe(error)),
        }
        outcome
    }

    /// What concerns the root namespace as a whole. Without networks nothing of ours is left there.
    async fn reconcile_host(&self, host: &mut Host, desired: &HostNetwork, outcome: &mut Outcome) {
        let wanted = !desired.networks.is_empty();
        let faces = desired.networks.values();
        let faces = faces.map(|one| (names::transit_name(one.vni), one.transit.inside));
        let rules = wanted.then(|| Ruleset::root(wanted::TRANSITS, faces));
        let file = &self.root.file;
        let changes = host.tables.reconcile(file, rules.as_ref()).await;
        outcome.take(None, changes.map_err(Into::into));
        if wanted {
            outcome.take(None, self.enable_forwarding());
        }
        let Host { tables, forward_accept } = host;
        let generation = || tables.generation().ok();
        let changes = forward_accept.reconcile(file, wanted, generation).await;
        outcome.take(None, changes.map_err(Into::into));
    }

    fn enable_forwarding(&self) -> Result<u64, DataplaneError> {
        let name = IP_FORWARD.to_owned();
        let found = settings::read(&self.root.file, [&name].into_iter())?;
        if found.get(&name).is_some_and(|value| value == "1") {
            return Ok(0);
        }
        settings::write(&self.root.file, &name, "1")?;
        tracing::info!("turned on the host's IP forwarding");
        Ok(1)
    }

    /// Removes transits and VXLAN devices of no desired network from the root namespace; a crash
    /// between two steps can leave one.
    async fn reconcile_strays(&self, desired: &HostNetwork) -> Result<u64, DataplaneError> {
        let wanted: BTreeSet<String> =
            desired.networks.keys().map(|vni| names::transit_name(*vni)).collect();
        let stray = |name: &str| {
            (name.starts_with(TRANSIT_PREFIX) || name.starts_with(VXLAN_PREFIX))
                && !wanted.contains(name)
        };
        self.remove_links(&self.root, stray).await
    }

    async fn reconcile_networks(
        &self,
        desired: &HostNetwork,
        root: &Topology,
        outcome: &mut Outcome,
    ) {
        // Boxed and collected, or the compiler cannot prove this future to be `Send`.
        let mut work: Vec<BoxFuture<'_, (u32, NetworkOutcome)>> = Vec::new();
        for network in desired.networks.values() {
            let result = self.reconcile_network(network, &desired.underlay, root);
            work.push(result.map(|result| (network.vni, result)).boxed());
        }
        let mut results = futures_util::stream::iter(work).buffer_unordered(NETWORKS_AT_A_TIME);
        while let Some((vni, result)) = results.next().await {
            outcome.changes += result.changes;
            if let Some(error) = result.error {
                outcome.complain(Some(vni), &error);
            }
            if result.ready {
                outcome.ready.insert(vni);
            }
        }
    }

    async fn reconcile_network(
        &self,
        network: &Network,
        underlay: &Underlay,
        root: &Topology,
    ) -> NetworkOutcome {
        let mut changes = 0;
        let result = self.try_network(network, underlay, root, &mut changes).await;
        match result {
            Ok(collision) => NetworkOutcome { changes, error: collision, ready: true },
            Err(error) => NetworkOutcome { changes, error: Some(error), ready: false },
        }
    }

    /// Makes a network so. What is returned is the trouble that does not keep guests off.
    async fn try_network(
        &self,
        network: &Network,
        underlay: &Underlay,
        root: &Topology,
        changes: &mut u64,
    ) -> Result<Option<DataplaneError>, DataplaneError> {
        if netns::create(&self.namespace(network.vni))? {
            *changes += 1;
            // Somebody removed the namespace we knew.
            self.forget(network.vni);
        }
        let inside = self.inside(network.vni)?;
        let mut inside = inside.lock().await;
        let Inside { namespace, tables } = &mut *inside;
        *changes += tables.reconcile(&namespace.file, Some(&wanted::rules(network))).await?;

        let collision = collision(network, root);
        let mut network = network.clone();
        network.root_route &= collision.is_none();
        let (wanted, observed) = self.compare(&inside, &network, underlay, root).await?;
        let steps = super::plan::plan(&wanted, &observed);
        if steps.is_empty() {
            return Ok(collision);
        }
        let (done, error) = Applier::new(&inside.namespace, &self.root).apply(&steps).await;
        *changes += done;
        if let Some(error) = error {
            return Err(error.into());
        }
        let root =
            observe::topology(&self.root, Side::Root).await.map_err(DataplaneError::Observe)?;
        let (wanted, observed) = self.compare(&inside, &network, underlay, &root).await?;
        match super::plan::plan(&wanted, &observed).first() {
            Some(step) => Err(DataplaneError::Unkept { step: step.to_string() }),
            None => Ok(collision),
        }
    }

    /// The facts that a network wants and those that the kernel shows.
    async fn compare(
        &self,
        inside: &Inside,
        network: &Network,
        underlay: &Underlay,
        root: &Topology,
    ) -> Result<(Facts, Facts), DataplaneError> {
        let namespace = &inside.namespace;
        let failed = DataplaneError::Observe;
        let topology = observe::topology(namespace, Side::Inside).await.map_err(failed)?;
        let mut observed = observe::facts(&topology, root, &names::transit_name(network.vni));
        observe::entries(namespace, &topology, &mut observed).await.map_err(failed)?;
        let strict = self.observe_settings(inside, network.vni, &mut observed)?;
        let around = Surroundings {
            devices: topology.links.into_keys().filter(|name| is_guest(name)).collect(),
            settings: observed.settings.keys().cloned().collect(),
            strict_reverse_path: strict,
        };
        Ok((wanted::facts(network, underlay, &around), observed))
    }

    /// Reads the settings that a network may want; tells whether the host is strict about the ways
    /// that senders come.
    fn observe_settings(
        &self,
        inside: &Inside,
        vni: u32,
        observed: &mut Facts,
    ) -> Result<bool, DataplaneError> {
        let strictness = "net/ipv4/conf/all/rp_filter".to_owned();
        let names = wanted::settings(vni, false);
        let of = |side| names.keys().filter(move |key| key.0 == side).map(|key| &key.1);
        let found = settings::read(&inside.namespace.file, of(Side::Inside))?;
        let found = found.into_iter().map(|(name, value)| ((Side::Inside, name), value));
        observed.settings.extend(found);
        let mut found = settings::read(&self.root.file, of(Side::Root).chain([&strictness]))?;
        let strict = found.remove(&strictness).is_some_and(|value| value == "1");
        let found = found.into_iter().map(|(name, value)| ((Side::Root, name), value));
        observed.settings.extend(found);
        Ok(strict)
    }
}

fn is_guest(name: &str) -> bool {
    name.starts_with(DEVICE_PREFIX)
}

/// Another route of the host that the route into a network would cut or be cut by. The default
/// route is no such thing.
fn collision(network: &Network, root: &Topology) -> Option<DataplaneError> {
    let transit = names::transit_name(network.vni);
    let cidr = network.cidr.trunc();
    let overlaps = |other: &ipnet::Ipv4Net| cidr.contains(other) || other.contains(&cidr);
    let mut routes = root.routes.iter().map(|found| &found.route).filter(|_| network.root_route);
    let foreign = routes.find(|route| {
        route.device != transit
            && route.destination.prefix_len() > 0
            && overlaps(&route.destination)
    })?;
    let (foreign, device) = (foreign.destination, foreign.device.clone());
    Some(DataplaneError::RouteCollision { cidr, foreign, device })
}
