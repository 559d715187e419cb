//! The cloud's heart as its REST dialect sees it: intent in, views out.
//!
//! Owns nothing by itself: it joins the store's writer, the in-memory world and the agents' reports
//! behind one cloneable handle. Knows no HTTP beyond the status a refusal maps to.

mod open;
mod read;
mod write;

pub use crate::refusal::Refusal;
pub use open::OpenError;

use crate::ca::Authority;
use crate::context::Context;
use crate::reports;
use crate::shared::Shared;
use crate::writer::Writer;
use api::item::Overlay;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// The fields of a request or of a resource, by their camelCase names.
pub type Fields = Map<String, Value>;

/// A handle to the running cloud; clones share it.
#[derive(Clone)]
pub struct Core(pub(crate) Arc<Inner>);

/// What the handle leads to.
pub(crate) struct Inner {
    pub(crate) shared: Arc<Shared>,
    pub(crate) writer: Writer,
    pub(crate) context: Context,
    pub(crate) authority: Authority,
    pub(crate) cloud: String,
    pub(crate) boot: String,
    pub(crate) admin: i64,
    pub(crate) reports: std::path::PathBuf,
}

impl Drop for Inner {
    fn drop(&mut self) {
        reports::keep(&self.shared, &self.reports);
    }
}

/// Who asks.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The account's number; what a create makes belongs to it.
    pub account: i64,
    /// Sees and changes everything.
    pub admin: bool,
    /// Trusted fields that were granted to this account one by one.
    pub trusted: BTreeSet<String>,
}

/// A resource as the API shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// The schema's id, for instance `container`.
    pub kind: &'static str,
    /// The public id, for instance `1i12`.
    pub id: String,
    /// All fields, with `state`, `transitioning`, `created` and so on, without links and actions.
    pub fields: Fields,
    /// Actions that are available in this state.
    pub actions: Vec<&'static str>,
    /// The generation of the last change of intent.
    pub generation: u64,
}

/// What a create made.
#[derive(Clone, Debug)]
pub enum Created {
    /// One resource.
    One(View),
    /// `count` of them.
    Many(Vec<View>),
}

/// What a link leads to.
#[derive(Clone, Debug)]
pub enum Linked {
    /// One resource.
    One(View),
    /// Any number of resources.
    Many(Vec<View>),
}

/// Figures for `/metrics`.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// The generation of the store.
    pub generation: u64,
    /// Resources that are not removed, by schema id.
    pub resources: BTreeMap<&'static str, usize>,
    /// Hosts by liveness: `connected`, `disconnected`, `unknown`.
    pub hosts: BTreeMap<&'static str, usize>,
}

/// What operators and tests may tune.
#[derive(Clone, Debug)]
pub struct Settings {
    /// From removal to purge of an instance.
    pub purge_after: Duration,
    /// How long a freed address rests before somebody else gets it.
    pub address_rest: Duration,
    /// How long an instance waits for a host that fits.
    pub placement_wait: Duration,
    /// How frames travel between hosts.
    pub overlay: Overlay,
    /// The MTU of new networks, in bytes.
    pub mtu: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            purge_after: Duration::from_secs(3600),
            address_rest: Duration::from_secs(300),
            placement_wait: Duration::from_secs(45),
            overlay: Overlay::Vxlan,
            mtu: 1400,
        }
    }
}
