//! The servers of one network.

use super::instances::{self, Instances};
use super::views::{Inputs, METADATA, NameView, NamesError, dhcp_view};
use api::item::Network;
use arc_swap::ArcSwap;
use netlib::{dhcp, dns};
use std::error::Error;
use std::future::Future;
use std::net::Ipv4Addr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

/// Why a network has no servers.
#[derive(Debug, thiserror::Error)]
pub enum OpenServiceError {
    /// The namespace is not there.
    #[error("cannot find the network's namespace {}", path.display())]
    Namespace {
        /// The namespace.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// No DHCP server.
    #[error("cannot open the DHCP server")]
    Dhcp(#[from] dhcp::OpenError),
    /// No DNS server.
    #[error("cannot open the DNS server")]
    Dns(#[from] dns::OpenError),
    /// No metadata service.
    #[error("cannot open the metadata service")]
    Metadata(#[from] instances::OpenError),
    /// The names cannot be served.
    #[error(transparent)]
    Names(#[from] NamesError),
}

/// The servers of one network; they end when it is dropped.
pub struct Server {
    gateway: Ipv4Addr,
    namespace: PathBuf,
    /// Which namespace the sockets are in: one that was removed and made again is another.
    inode: u64,
    leases: Arc<ArcSwap<dhcp::View>>,
    served: Arc<ArcSwap<dns::View>>,
    /// What `served` was made from.
    names: NameView,
    instances: Arc<ArcSwap<Instances>>,
    /// What can be ended at any point.
    tasks: JoinSet<()>,
    /// The DNS server has tasks of its own and closes their sockets when it is told to stop.
    dns: JoinHandle<()>,
    stop_dns: oneshot::Sender<()>,
}

impl Server {
    /// Opens the servers' sockets inside `namespace` and starts to answer.
    pub fn open(
        namespace: &Path,
        network: &Network,
        inputs: &Inputs<'_>,
    ) -> Result<Self, OpenServiceError> {
        let names = NameView::new(network, inputs)?;
        let leases = Arc::new(ArcSwap::from_pointee(dhcp_view(network, inputs.desired)));
        let served = Arc::new(ArcSwap::from_pointee(names.view.clone()));
        let inode = inode(namespace)?;
        let dhcp_socket = dhcp::open(namespace)?;
        let dns_sockets = dns::open(namespace, network.gateway)?;
        let listener = instances::open(namespace, METADATA)?;
        let instances =
            Arc::new(ArcSwap::from_pointee(instances::of_network(network.vni, inputs.desired)));
        let mut tasks = JoinSet::new();
        let vni = network.vni;
        tasks.spawn(watched("DHCP", vni, dhcp::serve(dhcp_socket, leases.clone())));
        let (stop_dns, stopped) = oneshot::channel::<()>();
        let stopped = async move { drop(stopped.await) };
        let dns = watched("DNS", vni, dns::serve(dns_sockets, served.clone(), stopped));
        let lookup = instances::lookup(instances.clone());
        tasks.spawn(watched("metadata", vni, metadata::serve(listener, lookup)));
        Ok(Self {
            gateway: network.gateway,
            namespace: namespace.into(),
            inode,
            leases,
            served,
            names,
            instances,
            tasks,
            dns: tokio::spawn(dns),
            stop_dns,
        })
    }

    /// The address the servers answer on.
    pub fn gateway(&self) -> Ipv4Addr {
        self.gateway
    }

    /// Whether every server runs, in the namespace that is there now.
    pub fn is_sound(&mut self) -> bool {
        self.tasks.try_join_next().is_none()
            && !self.dns.is_finished()
            && inode(&self.namespace).is_ok_and(|inode| inode == self.inode)
    }

    /// Ends the servers. Their sockets are closed when this returns: they would keep a namespace
    /// that was removed, and the devices in it, alive.
    pub async fn end(mut self) {
        drop(self.stop_dns);
        self.tasks.shutdown().await;
        if let Err(error) = self.dns.await {
            tracing::error!(%error, "DNS server failed");
        }
    }

    /// Swaps the views for new ones.
    pub fn update(&mut self, network: &Network, inputs: &Inputs<'_>) -> Result<(), NamesError> {
        self.leases.store(Arc::new(dhcp_view(network, inputs.desired)));
        let instances = instances::of_network(network.vni, inputs.desired);
        self.instances.store(Arc::new(instances));
        self.names = self.names.updated(network, inputs)?;
        self.served.store(Arc::new(self.names.view.clone()));
        Ok(())
    }
}

fn inode(namespace: &Path) -> Result<u64, OpenServiceError> {
    let failed = |source| OpenServiceError::Namespace { path: namespace.into(), source };
    Ok(std::fs::metadata(namespace).map_err(failed)?.ino())
}

/// Runs a server, and tells the error that it ends by.
async fn watched<T, E: Error>(
    name: &'static str,
    vni: u32,
    server: impl Future<Output = Result<T, E>>,
) {
    if let Err(error) = server.await {
        tracing::error!(vni, "{name} server ended: {}", crate::desired::chain(&error));
    }
}
