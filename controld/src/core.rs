//! The cloud's heart as its REST dialect sees it: intent in, views out.
//!
//! Owns nothing by itself: it joins the store's writer, the in-memory world and the agents' reports
//! behind one cloneable handle. Knows no HTTP beyond the status a refusal maps to.

use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use tokio::sync::watch;

/// The fields of a request or of a resource, by their camelCase names.
pub type Fields = Map<String, Value>;

/// A handle to the running cloud; clones share it.
#[derive(Clone)]
pub struct Core {
    changed: watch::Receiver<u64>,
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

/// A request that is not done, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Refusal {
    /// The HTTP status it maps to.
    pub status: u16,
    /// Stable code, for instance `InvalidReference`.
    pub code: &'static str,
    /// The field at fault, if it is one.
    pub field: Option<String>,
    /// For people: what is wrong and what to do about it.
    pub message: String,
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

/// What tests and operators may tune.
#[derive(Clone, Debug)]
pub struct Settings {
    /// From removal to purge of an instance.
    pub purge_after: std::time::Duration,
    /// How long a freed address rests before somebody else gets it.
    pub address_rest: std::time::Duration,
    /// How long an instance waits for a host that fits.
    pub placement_wait: std::time::Duration,
}

impl Core {
    /// Opens the store in `data`, making and seeding it at first, and starts the writer.
    ///
    /// # Errors
    /// When the store cannot be opened.
    pub async fn open(_data: &Path, _settings: Settings) -> Result<Self, Refusal> {
        Err(Refusal::unavailable())
    }

    /// The caller that `--open` makes of everybody.
    #[must_use]
    pub fn admin(&self) -> Caller {
        Caller { account: 1, admin: true, trusted: BTreeSet::new() }
    }

    /// Creates a resource of schema `kind` from validated fields.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn create(
        &self,
        _caller: &Caller,
        _kind: &str,
        _input: Fields,
        _idempotency: Option<&str>,
    ) -> Result<Created, Refusal> {
        Err(Refusal::unavailable())
    }

    /// Changes the given fields of a resource.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn update(
        &self,
        _caller: &Caller,
        _kind: &str,
        _id: &str,
        _input: Fields,
    ) -> Result<View, Refusal> {
        Err(Refusal::unavailable())
    }

    /// Removes a resource (DELETE).
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn remove(&self, _caller: &Caller, _kind: &str, _id: &str) -> Result<View, Refusal> {
        Err(Refusal::unavailable())
    }

    /// Performs an action.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn act(
        &self,
        _caller: &Caller,
        _kind: &str,
        _id: &str,
        _action: &str,
        _input: Fields,
    ) -> Result<View, Refusal> {
        Err(Refusal::unavailable())
    }

    /// A resource by its public id; `kind` may be a base type.
    #[must_use]
    pub fn get(&self, _caller: &Caller, _kind: &str, _id: &str) -> Option<View> {
        None
    }

    /// All resources of a kind and its subtypes that the caller may see, by number; also those
    /// removed lately.
    #[must_use]
    pub fn list(&self, _caller: &Caller, _kind: &str) -> Vec<View> {
        Vec::new()
    }

    /// What a resource's link leads to; none when the resource or the link does not exist.
    #[must_use]
    pub fn link(&self, _caller: &Caller, _kind: &str, _id: &str, _link: &str) -> Option<Linked> {
        None
    }

    /// Rises at each change of intent or observation, for those who wait.
    #[must_use]
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.changed.clone()
    }

    /// Figures for `/metrics`.
    #[must_use]
    pub fn figures(&self) -> Figures {
        Figures::default()
    }
}

impl Refusal {
    /// The store cannot take writes now.
    #[must_use]
    pub fn unavailable() -> Self {
        Self {
            status: 503,
            code: "Unavailable",
            field: None,
            message: "the store takes no writes now; try again".into(),
        }
    }
}
