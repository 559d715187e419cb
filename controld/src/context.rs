//! What changes of intent need to know besides the rows.

use crate::core::Settings;
use crate::model::{Instance, Row};
use crate::observed::{Liveness, Seen};
use crate::shared::Shared;
use crate::view::{self, Basis};
use std::sync::Arc;

/// Settings and observations; clones share it.
#[derive(Clone)]
pub struct Context {
    /// What operators and tests may tune.
    pub settings: Settings,
    shared: Arc<Shared>,
}

impl Context {
    /// Joins settings and observations.
    #[must_use]
    pub fn new(settings: Settings, shared: Arc<Shared>) -> Self {
        Self { settings, shared }
    }

    /// Whether a host is heard of.
    #[must_use]
    pub fn liveness(&self, host: i64) -> Liveness {
        self.shared.read().observed.liveness(host)
    }

    /// What is known of an instance from its host.
    #[must_use]
    pub fn seen(&self, instance: &Instance) -> Option<Seen> {
        self.shared.read().seen(instance)
    }

    /// What can be asked of an instance now.
    #[must_use]
    pub fn actions(&self, row: &Row) -> Vec<&'static str> {
        let Some(instance) = row.instance() else { return Vec::new() };
        view::actions(&Basis::of(instance, self.seen(instance).as_ref()))
    }

    /// The state an instance is shown in now.
    #[must_use]
    pub fn state(&self, instance: &Instance) -> &'static str {
        view::view(&Basis::of(instance, self.seen(instance).as_ref())).0
    }
}
