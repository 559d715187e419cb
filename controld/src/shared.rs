//! What the writer, the REST dialect and the agents' listener share: the published world, the board
//! compiled from it, and the reports.

use crate::board::Board;
use crate::compile;
use crate::model::{Instance, Row};
use crate::observed::{Liveness, Observed, Seen};
use crate::store::{Remembered, Work};
use crate::world::World;
use api::hash::SetHash;
use std::collections::BTreeSet;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::sync::watch;

/// The state that reads are answered from.
pub struct State {
    /// Committed rows.
    pub world: World,
    /// What hosts are told.
    pub board: Board,
    /// What hosts tell.
    pub observed: Observed,
}

/// The state, its lock, and the bells that ring when it changes.
pub struct Shared {
    state: RwLock<State>,
    committed: watch::Sender<u64>,
    changed: watch::Sender<u64>,
}

impl Shared {
    /// Shares a state.
    #[must_use]
    pub fn new(world: World, board: Board) -> Self {
        let generation = board.generation();
        Self {
            state: RwLock::new(State { world, board, observed: Observed::default() }),
            committed: watch::Sender::new(generation),
            changed: watch::Sender::new(0),
        }
    }

    /// Looks at the state. Never held over an await.
    pub fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes observations. The world is changed by [`Shared::publish`] alone.
    pub fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows what was committed, and wakes those who wait.
    pub fn publish(&self, done: Vec<Work>, generation: u64) {
        {
            let mut state = self.write();
            let State { world, board, .. } = &mut *state;
            let mut units = BTreeSet::new();
            let mut new = Vec::new();
            for work in done {
                for (_, (change, old)) in work.changes {
                    // The old row's units are looked up in the world it was part of.
                    if let Some(row) = &old {
                        compile::units_of(world, row, &mut units);
                    }
                    if let crate::world::Change::Put(row) = &change {
                        new.push(row.clone());
                    }
                    world.apply(change);
                }
                for Remembered { place, answer, .. } in work.answers {
                    match answer {
                        Some(answer) => world.answers.insert(place, answer),
                        None => world.answers.remove(&place),
                    };
                }
            }
            for row in new {
                compile::units_of(world, &row, &mut units);
            }
            board.update(world, units, generation);
        }
        self.committed.send_replace(generation);
        self.ring();
    }

    /// Tells those who wait for views that something was observed.
    pub fn ring(&self) {
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// The generation last committed.
    pub fn committed(&self) -> watch::Receiver<u64> {
        self.committed.subscribe()
    }

    /// Rises at each commit and each observation.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

impl State {
    /// What is known of an instance from its host. A fenced host counts as having nothing.
    #[must_use]
    pub fn seen(&self, instance: &Instance) -> Option<Seen> {
        let row = self.world.row(instance.host?)?;
        if row.removed.is_some() || row.host().is_some_and(|host| host.fenced) {
            return Some(Seen::default());
        }
        // What is wanted only since a transaction that is not published yet nobody can know.
        let published = instance.since <= self.board.generation();
        self.observed.seen(instance, published.then(|| self.board.hash(row.id)))
    }

    /// Whether a host is heard of.
    #[must_use]
    pub fn liveness(&self, host: &Row) -> Liveness {
        self.observed.liveness(host.id)
    }

    /// The hash over what a host should hold.
    #[must_use]
    pub fn hash(&self, host: i64) -> SetHash {
        self.board.hash(host)
    }
}
