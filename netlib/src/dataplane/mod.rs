//! The kernel state of managed networks on one host: made, kept, shown and removed.
//!
//! One network namespace per network keeps overlapping ranges apart. It owns those namespaces, the
//! devices whose names begin with `stn`, `stt` and `stx`, the routes through them, the nft tables
//! called `stampede` and two marked rules in `DOCKER-USER`; it touches nothing else, and never
//! turns off the host's IP forwarding, which others may have come to rely on. Everything goes on
//! working when the process dies, and is adopted by the next one.
//!
//! Work is done relative to the namespace in which the data plane was opened, on whatever thread.

pub mod apply;
pub mod attach;
pub mod clean;
pub mod facts;
pub mod forwarding;
pub mod message;
pub mod observe;
pub mod plan;
pub mod reconcile;
pub mod wanted;

pub use clean::CleanError;
pub use forwarding::Forwarding;
pub use reconcile::Outcome;

use crate::forward_accept::{ForwardAccept, ForwardAcceptError};
use crate::namespace::{Namespace, OpenError};
use crate::netns::{self, NetnsError};
use crate::nft::ruleset::{NETWORK_FAMILIES, ROOT_FAMILIES};
use crate::nft::{NftError, Tables};
use crate::settings::SettingError;
use apply::ApplyError;
use ipnet::Ipv4Net;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// What went wrong with the data plane.
#[derive(Debug, thiserror::Error)]
pub enum DataplaneError {
    /// The network has no namespace on this host.
    #[error("network {vni} has no namespace on this host")]
    NoNetwork {
        /// The network.
        vni: u32,
    },
    /// A device that is to be attached is not in the root namespace.
    #[error("there is no device {device} to attach")]
    NoDevice {
        /// The device.
        device: String,
    },
    /// A namespace cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A namespace cannot be made or removed.
    #[error(transparent)]
    Namespace(#[from] NetnsError),
    /// The folder of our namespaces cannot be read.
    #[error("cannot read folder {}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Rules cannot be made.
    #[error(transparent)]
    Rules(#[from] NftError),
    /// The kernel has no nftables, or does not let us use them.
    #[error("cannot open nftables")]
    NoRules(#[source] io::Error),
    /// The rules in the container engine's chain cannot be made.
    #[error(transparent)]
    ForwardAccept(#[from] ForwardAcceptError),
    /// A kernel setting cannot be read or written.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// The kernel's state cannot be read.
    #[error("cannot read devices, addresses and routes")]
    Observe(#[source] io::Error),
    /// A step cannot be done.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// A device cannot be attached.
    #[error("cannot {action} {device}")]
    Device {
        /// What was to be done.
        action: &'static str,
        /// The device.
        device: String,
        /// The kernel's word.
        #[source]
        source: io::Error,
    },
    /// All steps were done, yet the kernel shows something else.
    #[error("the kernel did not keep what it was told: would have to {step} again")]
    Unkept {
        /// The first step of a new plan.
        step: String,
    },
    /// Somebody else's route is in the way of the host's route into a network.
    #[error("no route from the host into {cidr}: the host has a route to {foreign} on {device}")]
    RouteCollision {
        /// The network's range.
        cidr: Ipv4Net,
        /// The other route's destination.
        foreign: Ipv4Net,
        /// The other route's device.
        device: String,
    },
    /// The forwarding probe could not be sent.
    #[error("cannot send a probe from network {vni}")]
    Probe {
        /// The network.
        vni: u32,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// The kernel state of managed networks on one host.
#[derive(Debug)]
pub struct Dataplane {
    folder: PathBuf,
    root: Namespace,
    /// Held for the length of a pass: one at a time.
    host: tokio::sync::Mutex<Host>,
    networks: Mutex<BTreeMap<u32, Arc<tokio::sync::Mutex<Inside>>>>,
}

/// What is kept of the root namespace between passes.
#[derive(Debug)]
struct Host {
    tables: Tables,
    forward_accept: ForwardAccept,
}

/// One network's namespace. Its lock is held for the length of each change, so that a pass and an
/// attachment do not see each other's halves.
#[derive(Debug)]
struct Inside {
    namespace: Namespace,
    tables: Tables,
}

impl Dataplane {
    /// Opens the data plane of the network namespace that the calling thread is in, inside a tokio
    /// runtime. Networks' namespaces are kept in `<run_dir>/netns/<vni>`.
    ///
    /// # Errors
    /// When the kernel gives no netlink socket or has no nftables.
    pub fn open(run_dir: &Path) -> Result<Self, DataplaneError> {
        let root = Namespace::open(Path::new(netns::CURRENT))?;
        let tables = Tables::open(&root.file, ROOT_FAMILIES).map_err(DataplaneError::NoRules)?;
        let host = Host { tables, forward_accept: ForwardAccept::default() };
        Ok(Self {
            folder: run_dir.join("netns"),
            root,
            host: tokio::sync::Mutex::new(host),
            networks: Mutex::default(),
        })
    }

    /// Where the network's namespace is kept.
    #[must_use]
    pub fn namespace(&self, vni: u32) -> PathBuf {
        self.folder.join(vni.to_string())
    }

    /// The network's namespace, opened if that was not done yet.
    fn inside(&self, vni: u32) -> Result<Arc<tokio::sync::Mutex<Inside>>, DataplaneError> {
        let mut networks = self.networks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(inside) = networks.get(&vni) {
            return Ok(Arc::clone(inside));
        }
        let path = self.namespace(vni);
        if !netns::exists(&path) {
            return Err(DataplaneError::NoNetwork { vni });
        }
        let namespace = Namespace::open(&path)?;
        let tables =
            Tables::open(&namespace.file, NETWORK_FAMILIES).map_err(DataplaneError::NoRules)?;
        let inside = Arc::new(tokio::sync::Mutex::new(Inside { namespace, tables }));
        networks.insert(vni, Arc::clone(&inside));
        Ok(inside)
    }

    /// Closes the network's namespace, so that it ends with its file.
    fn forget(&self, vni: u32) {
        self.networks.lock().unwrap_or_else(PoisonError::into_inner).remove(&vni);
    }

    /// The networks that have a namespace here.
    fn present(&self) -> Result<Vec<u32>, DataplaneError> {
        let failed = |source| DataplaneError::Folder { path: self.folder.clone(), source };
        let entries = match std::fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let name = entry.map_err(failed)?.file_name();
            found.extend(name.to_str().and_then(|name| name.parse::<u32>().ok()));
        }
        Ok(found)
    }
}
