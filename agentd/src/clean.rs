//! Taking everything of ours off a host, and nothing else.
//!
//! Goes on after failures and tells all of them. Containers go before networks, since Docker asks
//! the driver to take their ports away.

use crate::config::Config;
use crate::desired::chain;
use crate::lock::{Lock, LockError};
use netlib::dataplane::{Dataplane, DataplaneError};
use std::fmt;

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
    let dataplane = Dataplane::open(&config.run_dir)?;
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
