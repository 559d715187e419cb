//! What a hypervisor must be able to do for us, and what it tells.
//!
//! A driver sees the domains of one agent only: a domain is ours when its metadata element names our
//! storage folder. Everybody else's are not even listed, and a call that names one is refused.

use std::collections::BTreeMap;

/// What a hypervisor does for the reconciler. All calls end within the driver's deadline.
#[async_trait::async_trait]
pub trait Driver: Send + Sync + 'static {
    /// What there is of ours.
    async fn observe(&self) -> Result<Observation, DriverError>;

    /// Creates a transient domain, paused before its first instruction. `label` is the one in `xml`.
    async fn create(&self, uuid: &str, label: &Label, xml: &str) -> Result<(), DriverError>;

    /// Lets a paused domain run. A domain that runs already goes on.
    async fn resume(&self, uuid: &str) -> Result<(), DriverError>;

    /// Presses the power button. The guest may take its time or ignore it.
    async fn shutdown(&self, uuid: &str) -> Result<(), DriverError>;

    /// Pulls the plug. False when there was no such domain.
    async fn destroy(&self, uuid: &str) -> Result<bool, DriverError>;
}

/// What there is of ours at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observation {
    /// Domains by uuid.
    pub domains: BTreeMap<String, Domain>,
    /// Domains that ended since the last observation, as far as that was noticed.
    pub ended: BTreeMap<String, End>,
}

/// A domain of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domain {
    /// What it does.
    pub state: DomainState,
    /// What we wrote into its metadata.
    pub label: Label,
}

/// What a domain does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DomainState {
    /// It executes, or sleeps of its own will.
    Running,
    /// It is held, by us before its first instruction or by an operator.
    Paused,
    /// It has crashed or shut down and only its shell is left.
    Dead,
}

/// How a domain came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The guest switched itself off.
    ShutDown,
    /// Somebody pulled the plug.
    Destroyed,
    /// The guest or its emulator crashed.
    Crashed,
}

impl End {
    /// What an exit status would be.
    #[must_use]
    pub fn status(self) -> i32 {
        match self {
            Self::ShutDown => 0,
            Self::Destroyed => 137,
            Self::Crashed => 1,
        }
    }
}

/// What we write into the metadata of a domain.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Label {
    /// The storage folder of the agent that owns the domain; tells several agents on one machine
    /// apart.
    pub storage: String,
    /// The epoch it was started for.
    pub epoch: u64,
    /// Seconds between asking it to stop and making it stop.
    pub stop_timeout: u32,
}

/// What went wrong with the hypervisor.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// libvirt refused or failed.
    #[error("cannot {action}")]
    Libvirt {
        /// What was tried, with the object.
        action: String,
        /// libvirt's own words.
        #[source]
        source: virt::error::Error,
    },
    /// No answer in time. The call may still take effect.
    #[error("cannot {action}: libvirt did not answer within {seconds} s")]
    Deadline {
        /// What was tried, with the object.
        action: String,
        /// How long was waited.
        seconds: u64,
    },
    /// A domain of this name is there and not ours.
    #[error("domain {uuid} exists and was not made by this agent; it is left alone")]
    Foreign {
        /// The domain.
        uuid: String,
    },
    /// There is no such domain of ours.
    #[error("domain {uuid} is not there")]
    Absent {
        /// The domain.
        uuid: String,
    },
    /// The thread that made the call ended without an answer.
    #[error("cannot {action}: the call panicked")]
    Panicked {
        /// What was tried, with the object.
        action: String,
    },
}
