//! Taking everything of ours off a host, and nothing else.
//!
//! Goes on after failures and tells all of them. Containers and machines go before networks: their
//! ports are taken away by the data plane, which must still know them.

use crate::config::Config;
use crate::containers::{self, KernelAttacher};
use crate::desired::chain;
use crate::lock::{Lock, LockError};
use crate::machines::{self, HostPorts};
use crate::networks::Ready;
use netlib::dataplane::{Dataplane, DataplaneError};
use std::fmt;
use std::sync::Arc;

/// How a cleaning went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// What could not be removed, and why.
    pub failures: Vec<String>,
}

impl fmt::Display for Cleaned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.failures.is_empty() {
            return writeln!(f, "nothing of ours is left on this host");
        }
        self.failures.iter().try_for_each(|failure| writeln!(f, "✗ {failure}"))
    }
}

/// Why nothing was even tried.
#[derive(Debug, thiserror::Error)]
pub enum CleanHostError {
    /// The agent runs, and would make everything again.
    #[error("cannot clean the host")]
    Running(#[from] LockError),
    /// The kernel's network cannot be reached.
    #[error("cannot open the data plane; cleaning needs root")]
    Dataplane(#[from] DataplaneError),
}

/// Removes everything of ours from this host; the data folder only when `data_too`.
///
/// # Errors
/// When the agent runs, or without root. What could not be removed is in the answer.
pub async fn clean_host(config: &Config, data_too: bool) -> Result<Cleaned, CleanHostError> {
    let _lock = Lock::take(&config.data)?;
    let mut failures = Vec::new();
    let dataplane = Arc::new(Dataplane::open(&config.run_dir)?);
    // Nobody is attached any more from here on; what leaves is let through at once.
    let (_, ready) = Ready::channel();
    let attacher = Arc::new(KernelAttacher::new(dataplane.clone(), ready.clone()));
    failures.extend(containers::clean(config, attacher).await.iter().map(|error| chain(error)));
    let ports = HostPorts::new(dataplane.clone(), ready);
    failures.extend(machines::clean(config, &ports).await.iter().map(|error| chain(error)));
    failures.extend(dataplane.clean().await.iter().map(|error| chain(error)));
    let mut gone = |path: &std::path::Path, result: std::io::Result<()>| match result {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            failures.push(format!("cannot remove {}: {error}", path.display()));
        }
        _ => {}
    };
    let socket = config.control_socket();
    gone(&socket, std::fs::remove_file(&socket));
    if data_too {
        gone(&config.data, std::fs::remove_dir_all(&config.data));
    }
    Ok(Cleaned { failures })
}
