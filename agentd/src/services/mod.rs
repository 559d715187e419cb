//! What every network offers its guests here: addresses by DHCP, names by DNS, metadata.
//!
//! One process serves all networks: a socket is opened inside the network's namespace and used from
//! outside. Answers come from views in memory that are swapped as a whole, so a change never
//! restarts a server. Owns the servers; the addresses they listen on belong to [`crate::networks`].

mod instances;
mod resolvers;
mod server;
mod views;

pub use server::OpenServiceError;
pub use views::{Inputs, NamesError};

use crate::desired::{Desired, chain};
use crate::networks::{Driver, Ready};
use crate::reconcile::{Reconciler, Status};
use api::report::{Adopted, ErrorKind, ItemError};
use server::Server;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// A server that could not be opened is tried again this soon.
const RETRY: Duration = Duration::from_secs(5);

/// Keeps the servers of this host's networks running and up to date.
pub struct Services {
    driver: Arc<dyn Driver>,
    ready: Ready,
    adopted: watch::Receiver<Vec<Adopted>>,
    servers: BTreeMap<u32, Server>,
    last: Option<Last>,
}

/// What the views were made from.
struct Last {
    desired: Arc<Desired>,
    adopted: Vec<Adopted>,
    resolvers: Vec<SocketAddr>,
}

impl Services {
    /// A reconciler that serves the networks of `ready`, and names the containers of `adopted` too.
    #[must_use]
    pub fn new(
        driver: Arc<dyn Driver>,
        ready: Ready,
        adopted: watch::Receiver<Vec<Adopted>>,
    ) -> Self {
        Self { driver, ready, adopted, servers: BTreeMap::new(), last: None }
    }

    /// Ends servers whose network is not wished for, is another one now, or that broke.
    async fn retire(&mut self, desired: &Desired) -> u64 {
        let retired = self.servers.extract_if(.., |vni, server| {
            let wish = desired.networks.get(vni);
            let fits = wish.is_some_and(|network| network.gateway == server.gateway());
            !fits || !server.is_sound()
        });
        let retired: Vec<_> = retired.collect();
        let count = retired.len() as u64;
        for (_, server) in retired {
            server.end().await;
        }
        count
    }

    /// The networks that are in place and have no server yet, with their namespaces.
    fn missing(&self, desired: &Desired) -> Vec<(u32, PathBuf)> {
        let ready = self.ready.now();
        let networks = desired.networks.keys().filter(|vni| ready.contains_key(vni));
        networks
            .filter(|vni| !self.servers.contains_key(vni))
            .filter_map(|vni| Some((*vni, self.driver.namespace(*vni)?)))
            .collect()
    }

    /// Whether the views were made from these very inputs.
    fn is_last(&self, inputs: &Inputs<'_>, desired: &Arc<Desired>) -> bool {
        self.last.as_ref().is_some_and(|last| {
            Arc::ptr_eq(&last.desired, desired)
                && last.adopted == inputs.adopted
                && last.resolvers == inputs.resolvers
        })
    }
}

#[async_trait::async_trait]
impl Reconciler for Services {
    fn name(&self) -> &'static str {
        "services"
    }

    async fn reconcile(&mut self, desired: &Arc<Desired>) -> Status {
        let mut status = Status { changes: self.retire(desired).await, ..Status::default() };
        let adopted = self.adopted.borrow_and_update().clone();
        let resolvers = resolvers::of_host();
        let inputs = Inputs { desired, adopted: &adopted, resolvers: &resolvers };
        let unchanged = self.is_last(&inputs, desired);
        let mut fail = |vni: u32, kind, message| {
            status.errors.insert(format!("network/{vni}"), ItemError { kind, message });
            status.retry_after = Some(RETRY);
        };
        if !unchanged {
            for (vni, server) in &mut self.servers {
                let Some(network) = desired.networks.get(vni) else { continue };
                if let Err(error) = server.update(network, &inputs) {
                    fail(*vni, ErrorKind::Invalid, chain(&error));
                }
            }
        }
        for (vni, namespace) in self.missing(desired) {
            let Some(network) = desired.networks.get(&vni) else { continue };
            match Server::open(&namespace, network, &inputs) {
                Ok(server) => {
                    self.servers.insert(vni, server);
                    status.changes += 1;
                }
                Err(error) => fail(vni, ErrorKind::Transient, chain(&error)),
            }
        }
        // What failed is tried, and told, again.
        let whole = status.errors.is_empty();
        self.last = whole.then(|| Last { desired: desired.clone(), adopted, resolvers });
        status
    }
}
