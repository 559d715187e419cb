//! What is remembered of a machine on disk, beside its disk: `record.json` in its folder.
//!
//! Written durably before the step it speaks of, so that a crash between two steps is seen: an
//! epoch that may have executed an instruction is never begun a second time.

use super::images::Base;
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

/// How far an epoch came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Stage {
    /// Not begun.
    #[default]
    New,
    /// The domain may exist, held before its first instruction.
    Begun,
    /// The domain may run.
    Released,
    /// The domain was seen running.
    Running,
    /// It ended.
    Ended,
}

/// What is remembered of a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// The last epoch that was begun; 0 for none.
    pub epoch: u64,
    /// How far it came.
    pub stage: Stage,
    /// How it ended, as an exit status, if that was noticed.
    #[serde(default)]
    pub exit: Option<i32>,
    /// Starts within the epoch that the restart policy asked for.
    #[serde(default)]
    pub restarts: u32,
    /// Endpoints whose devices may exist.
    #[serde(default)]
    pub ports: Vec<Port>,
    /// What its disk is a child of; none before the image was there.
    #[serde(default)]
    pub base: Option<Base>,
}

/// An endpoint of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// The network.
    pub vni: u32,
    /// The address.
    pub ip: Ipv4Addr,
}
