//! Reads: answered from memory.

use super::{Caller, Core, Figures, Linked, View};
use crate::clock;
use crate::intent::input::may_see;
use crate::intent::life::addresses_of;
use crate::model::{Body, Row, number_of};
use crate::observed::Liveness;
use crate::shared::State;
use crate::show::{LIGHT, light, show};
use api::schema::{Path, Type};
use serde_json::Value;
use std::sync::Arc;
use tokio::sync::watch;

/// How long lists show what was removed, in milliseconds.
const SHOWN_AFTER_REMOVAL: i64 = 5 * 60 * 1000;

impl Core {
    /// A resource by its public id; `kind` may be a base type.
    #[must_use]
    pub fn get(&self, caller: &Caller, kind: &str, id: &str) -> Option<View> {
        let state = self.0.shared.read();
        row(&state, caller, kind, id).map(|row| show(&state, row))
    }

    /// All resources of a kind and its subtypes that the caller may see, by number; also those
    /// removed lately.
    #[must_use]
    pub fn list(&self, caller: &Caller, kind: &str) -> Vec<View> {
        let state = self.0.shared.read();
        listed(&state, caller, kind).iter().map(|row| show(&state, row)).collect()
    }

    /// The same as views that have only the given ones of [`LIGHT`] and no actions: enough to choose
    /// a page of a list, whose views are then built.
    #[must_use]
    pub fn outline(&self, caller: &Caller, kind: &str, names: &[&str]) -> Vec<View> {
        let state = self.0.shared.read();
        let outline = |row: &&Arc<Row>| View {
            kind: row.body.kind(),
            id: row.public_id(),
            fields: names
                .iter()
                .filter(|name| LIGHT.contains(name))
                .map(|name| ((*name).to_owned(), light(&state, row, name)))
                .collect(),
            actions: Vec::new(),
            generation: row.generation,
        };
        listed(&state, caller, kind).iter().map(outline).collect()
    }

    /// What a resource's link leads to; none when the resource or the link does not exist.
    #[must_use]
    pub fn link(&self, caller: &Caller, kind: &str, id: &str, link: &str) -> Option<Linked> {
        let state = self.0.shared.read();
        let from = row(&state, caller, kind, id)?;
        let view = show(&state, from);
        let link = api::schema::find(view.kind)?.link(link)?;
        let own = |field: &str| {
            let id = view.fields.get(field).and_then(Value::as_str)?;
            row(&state, caller, link.target, id).map(|row| show(&state, row))
        };
        Some(match link.path {
            Path::Own(field) => Linked::One(own(field)?),
            Path::OwnAsList(field) => Linked::Many(own(field).into_iter().collect()),
            Path::Theirs(field) => {
                let ours = |view: &View, id: &str| {
                    view.fields.get(field).and_then(Value::as_str) == Some(id)
                };
                Linked::Many(
                    theirs(&state, caller, from, link.target, field)
                        .iter()
                        .map(|row| show(&state, row))
                        .filter(|other| ours(other, &view.id))
                        .collect(),
                )
            }
        })
    }

    /// Rises at each change of intent or observation, for those who wait.
    #[must_use]
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.0.shared.changed()
    }

    /// Figures for `/metrics`.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let state = self.0.shared.read();
        let mut figures = Figures { generation: state.board.generation(), ..Figures::default() };
        for row in state.world.rows().filter(|row| row.removed.is_none()) {
            *figures.resources.entry(row.body.kind()).or_default() += 1;
            if row.host().is_some() {
                *figures.hosts.entry(state.liveness(row).word()).or_default() += 1;
            }
        }
        for liveness in [Liveness::Connected, Liveness::Disconnected, Liveness::Unknown] {
            figures.hosts.entry(liveness.word()).or_default();
        }
        figures
    }
}

/// A row that the caller may see.
pub(super) fn row<'a>(
    state: &'a State,
    caller: &Caller,
    kind: &str,
    id: &str,
) -> Option<&'a Arc<Row>> {
    let row = state.world.row(number_of(id)?)?;
    (row.is(kind) && row.public_id() == id && may_see(caller, row)).then_some(row)
}

fn listed<'a>(state: &'a State, caller: &Caller, kind: &str) -> Vec<&'a Arc<Row>> {
    let Some(base) = api::schema::find(kind) else { return Vec::new() };
    let below = |other: &&&'static Type| api::schema::is_a(other, base);
    let rows = api::schema::TABLE.iter().filter(below);
    visible(caller, rows.flat_map(|kind| state.world.of_kind(kind.id)))
}

/// Those a caller may see in lists, by number.
fn visible<'a>(caller: &Caller, rows: impl Iterator<Item = &'a Arc<Row>>) -> Vec<&'a Arc<Row>> {
    let since = clock::now() - SHOWN_AFTER_REMOVAL;
    let shown = |row: &&Arc<Row>| row.removed.is_none_or(|at| at > since) && may_see(caller, row);
    let mut rows: Vec<&Arc<Row>> = rows.filter(shown).collect();
    rows.sort_unstable_by_key(|row| row.id);
    rows
}

/// Rows of kind `target` among which are all those that name `row` in `field`: where an index leads
/// to them, few more; else all of that kind.
fn theirs<'a>(
    state: &'a State,
    caller: &Caller,
    row: &'a Row,
    target: &str,
    field: &str,
) -> Vec<&'a Arc<Row>> {
    let world = &state.world;
    let rows = |ids: Vec<i64>| visible(caller, ids.into_iter().filter_map(|id| world.row(id)));
    match (target, field, &row.body) {
        ("nic", "instanceId", Body::Instance(instance)) => rows(instance.nics.clone()),
        ("ipAddress", "instanceId", Body::Instance(_)) => {
            rows(addresses_of(world, row.id).into_iter().map(|(address, _)| address).collect())
        }
        ("ipAddress", "nicId", Body::Nic(nic)) => rows(nic.address.into_iter().collect()),
        ("instance", "hostId", Body::Host(_)) => visible(caller, world.on_host(row.id)),
        _ => listed(state, caller, target),
    }
}
