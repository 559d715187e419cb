//! All rows in memory, with the indices that reads and allocation need.
//!
//! Kept current from the committed changes, row by row, by [`World::apply`] alone: each index is a
//! function of the rows. Knows no I/O and no reports.

mod presence;

pub use presence::{Count, Pool, Presence};

use crate::model::{Body, Instance, Millis, Row, Want};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// A change of one row: its new content, or its end.
#[derive(Clone, Debug)]
pub enum Change {
    /// The row as it is now.
    Put(Arc<Row>),
    /// The row of that number is gone.
    Delete(i64),
}

impl Change {
    /// The number of the row.
    #[must_use]
    pub fn id(&self) -> i64 {
        match self {
            Self::Put(row) => row.id,
            Self::Delete(id) => *id,
        }
    }
}

/// A create that came with an idempotency key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// SHA-256 of the request, hex.
    pub request: String,
    /// When it was made.
    pub made: Millis,
    /// What was made.
    pub ids: Vec<i64>,
}

/// What instances take of a host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// How many there are.
    pub instances: u64,
    /// The memory promised to them, in MiB.
    pub memory: u64,
}

impl Load {
    fn count(&mut self, instance: &Instance, add: bool) {
        if !instance.is_wanted() {
            return;
        }
        let memory = instance.memory_mb.unwrap_or(0);
        if add {
            self.instances += 1;
            self.memory += memory;
        } else {
            self.instances = self.instances.saturating_sub(1);
            self.memory = self.memory.saturating_sub(memory);
        }
    }
}

/// All rows, and indices over them.
#[derive(Default)]
pub struct World {
    rows: BTreeMap<i64, Arc<Row>>,
    kinds: HashMap<&'static str, BTreeSet<i64>>,
    uuids: HashMap<String, BTreeSet<i64>>,
    guests: HashMap<String, i64>,
    certificates: HashMap<String, i64>,
    on_host: HashMap<i64, BTreeSet<i64>>,
    loads: HashMap<i64, Load>,
    subnets: HashMap<i64, BTreeSet<i64>>,
    due: BTreeSet<(Millis, i64)>,
    waiting: BTreeSet<i64>,
    leaving: BTreeSet<i64>,
    removed: BTreeSet<(Millis, i64)>,
    presence: Presence,
    /// Answers to creates by account and idempotency key.
    pub answers: HashMap<(i64, String), Answer>,
}

impl World {
    /// The same world once more; rows are shared.
    #[must_use]
    pub fn twin(&self) -> Self {
        let mut twin = Self::default();
        for row in self.rows() {
            twin.apply(Change::Put(row.clone()));
        }
        twin.answers = self.answers.clone();
        twin
    }

    /// Applies a change; returns what undoes it.
    pub fn apply(&mut self, change: Change) -> Change {
        let id = change.id();
        let old = self.rows.remove(&id);
        if let Some(row) = &old {
            self.index(row, false);
        }
        if let Change::Put(row) = change {
            self.index(&row, true);
            self.rows.insert(id, row);
        }
        old.map_or(Change::Delete(id), Change::Put)
    }

    fn index(&mut self, row: &Arc<Row>, add: bool) {
        let id = row.id;
        member(&mut self.kinds, row.body.kind(), id, add);
        member(&mut self.uuids, row.uuid.clone(), id, add);
        if let Some(due) = due_of(row) {
            flag(&mut self.due, (due, id), add);
        }
        match &row.body {
            Body::Instance(instance) => {
                unique(&mut self.guests, &instance.guest_uuid, id, add);
                if instance.place_by.is_some() {
                    flag(&mut self.waiting, id, add);
                }
                if instance.want == Want::Removed {
                    flag(&mut self.removed, (row.removed.unwrap_or_default(), id), add);
                }
                if instance.want == Want::Purged && instance.host.is_some() {
                    flag(&mut self.leaving, id, add);
                }
                if let Some(host) = instance.host {
                    member(&mut self.on_host, host, id, add);
                    self.loads.entry(host).or_default().count(instance, add);
                }
            }
            Body::Host(host) => unique(&mut self.certificates, &host.certificate_sha256, id, add),
            Body::Subnet(subnet) if row.removed.is_none() => {
                member(&mut self.subnets, subnet.network, id, add);
            }
            Body::Address(address) => self.presence.index(id, address, add),
            _ => {}
        }
    }

    /// The row of that number.
    #[must_use]
    pub fn row(&self, id: i64) -> Option<&Arc<Row>> {
        self.rows.get(&id)
    }

    /// The largest number in use.
    #[must_use]
    pub fn last_id(&self) -> i64 {
        self.rows.last_key_value().map_or(0, |(id, _)| *id)
    }

    /// All rows by number.
    pub fn rows(&self) -> impl Iterator<Item = &Arc<Row>> {
        self.rows.values()
    }

    /// Rows of exactly that schema id, by number.
    pub fn of_kind(&self, kind: &str) -> impl DoubleEndedIterator<Item = &Arc<Row>> {
        self.kinds.get(kind).into_iter().flatten().filter_map(|id| self.rows.get(id))
    }

    /// Rows with that uuid, of all accounts.
    pub fn with_uuid(&self, uuid: &str) -> impl Iterator<Item = &Arc<Row>> {
        self.uuids.get(uuid).into_iter().flatten().filter_map(|id| self.rows.get(id))
    }

    /// The instance that hosts know by that uuid.
    #[must_use]
    pub fn guest(&self, guest_uuid: &str) -> Option<&Arc<Row>> {
        self.guests.get(guest_uuid).and_then(|id| self.rows.get(id))
    }

    /// The host with that certificate (SHA-256, hex).
    #[must_use]
    pub fn host_with_certificate(&self, sha256: &str) -> Option<&Arc<Row>> {
        self.certificates.get(sha256).and_then(|id| self.rows.get(id))
    }

    /// Instances placed on a host, whatever they are wanted to be.
    pub fn on_host(&self, host: i64) -> impl Iterator<Item = &Arc<Row>> {
        self.on_host.get(&host).into_iter().flatten().filter_map(|id| self.rows.get(id))
    }

    /// What the instances of a host that are not removed take of it.
    #[must_use]
    pub fn load(&self, host: i64) -> Load {
        self.loads.get(&host).copied().unwrap_or_default()
    }

    /// Subnets of a network that are not removed, the oldest first.
    pub fn subnets_of(&self, network: i64) -> impl Iterator<Item = &Arc<Row>> {
        self.subnets.get(&network).into_iter().flatten().filter_map(|id| self.rows.get(id))
    }

    /// Rows whose time has come, with the earliest first.
    pub fn due(&self, now: Millis) -> impl Iterator<Item = &Arc<Row>> {
        self.due.range(..=(now, i64::MAX)).filter_map(|(_, id)| self.rows.get(id))
    }

    /// Instances that wait for a host.
    pub fn waiting(&self) -> impl Iterator<Item = &Arc<Row>> {
        self.waiting.iter().filter_map(|id| self.rows.get(id))
    }

    /// Purged instances that their hosts have not let go of.
    pub fn leaving(&self) -> impl Iterator<Item = &Arc<Row>> {
        self.leaving.iter().filter_map(|id| self.rows.get(id))
    }

    /// Instances that can be restored, the one removed first coming first.
    pub fn removed(&self) -> impl Iterator<Item = &Arc<Row>> {
        self.removed.iter().filter_map(|(_, id)| self.rows.get(id))
    }

    /// When the next row becomes due.
    #[must_use]
    pub fn next_due(&self) -> Option<Millis> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Who has addresses where.
    #[must_use]
    pub fn presence(&self) -> &Presence {
        &self.presence
    }

    /// The network that a request without networks gets.
    #[must_use]
    pub fn default_network(&self) -> Option<&Arc<Row>> {
        self.of_kind("hostOnlyNetwork")
            .find(|row| row.network().is_some_and(|network| network.default))
    }
}

fn due_of(row: &Row) -> Option<Millis> {
    match &row.body {
        Body::Instance(instance) => match (instance.purge_at, instance.place_by) {
            (Some(purge), Some(place)) => Some(purge.min(place)),
            (purge, place) => purge.or(place),
        },
        Body::Address(address) => address.rests_until,
        _ => None,
    }
}

fn member<K: std::hash::Hash + Eq>(
    index: &mut HashMap<K, BTreeSet<i64>>,
    key: K,
    id: i64,
    add: bool,
) {
    flag(index.entry(key).or_default(), id, add);
}

fn flag<T: Ord>(set: &mut BTreeSet<T>, value: T, add: bool) {
    if add {
        set.insert(value);
    } else {
        set.remove(&value);
    }
}

fn unique(index: &mut HashMap<String, i64>, key: &str, id: i64, add: bool) {
    if add {
        index.insert(key.to_owned(), id);
    } else if index.get(key) == Some(&id) {
        index.remove(key);
    }
}
