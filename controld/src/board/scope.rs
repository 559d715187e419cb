//! One scope's items with their generations, and tombstones of those that are gone.

use crate::compile::Unit;
use api::hash::SetHash;
use api::snapshot::Item;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// Tombstones kept per scope; the oldest go first and raise the floor.
const TOMBSTONES: usize = 10_000;

struct Entry {
    item: Item,
    hash: SetHash,
    generation: u64,
    // An item may pass from one unit to another; only its owner can take it away.
    owner: Unit,
}

/// The items of one scope.
pub(super) struct Items {
    items: HashMap<Arc<str>, Entry>,
    changed: BTreeSet<(u64, Arc<str>)>,
    gone: HashMap<Arc<str>, u64>,
    gone_order: BTreeSet<(u64, Arc<str>)>,
    floor: u64,
    hash: SetHash,
}

impl Items {
    /// No items; nothing is known of generations before `floor`.
    pub(super) fn new(floor: u64) -> Self {
        Self {
            items: HashMap::new(),
            changed: BTreeSet::new(),
            gone: HashMap::new(),
            gone_order: BTreeSet::new(),
            floor,
            hash: SetHash::default(),
        }
    }

    /// Puts an item; one with the same bytes keeps its generation.
    pub(super) fn put(&mut self, owner: Unit, item: Item, generation: u64) -> Arc<str> {
        let hash = item.hash();
        if let Some((key, _)) = self.items.get_key_value(item.key.as_str()) {
            let key = key.clone();
            if let Some(entry) = self.items.get_mut(&key) {
                entry.owner = owner;
                if entry.hash != hash {
                    self.hash.sub(entry.hash);
                    self.hash.add(hash);
                    self.changed.remove(&(entry.generation, key.clone()));
                    self.changed.insert((generation, key.clone()));
                    *entry = Entry { item, hash, generation, owner };
                }
            }
            return key;
        }
        let key: Arc<str> = item.key.as_str().into();
        if let Some(since) = self.gone.remove(&key) {
            self.gone_order.remove(&(since, key.clone()));
        }
        self.hash.add(hash);
        self.changed.insert((generation, key.clone()));
        self.items.insert(key.clone(), Entry { item, hash, generation, owner });
        key
    }

    /// Takes an item away if it is still `owner`'s.
    pub(super) fn remove(&mut self, owner: Unit, key: &Arc<str>, generation: u64) {
        if self.items.get(key).is_none_or(|entry| entry.owner != owner) {
            return;
        }
        if let Some(entry) = self.items.remove(key) {
            self.hash.sub(entry.hash);
            self.changed.remove(&(entry.generation, key.clone()));
            self.bury(key.clone(), generation);
        }
    }

    /// Sets a tombstone.
    pub(super) fn bury(&mut self, key: Arc<str>, generation: u64) {
        if let Some(since) = self.gone.insert(key.clone(), generation) {
            self.gone_order.remove(&(since, key.clone()));
        }
        self.gone_order.insert((generation, key));
        while self.gone.len() > TOMBSTONES {
            let Some((generation, key)) = self.gone_order.pop_first() else { return };
            self.gone.remove(&key);
            self.floor = self.floor.max(generation);
        }
    }

    pub(super) fn hash(&self) -> SetHash {
        self.hash
    }

    /// A holder of a generation below this cannot be told what is gone.
    pub(super) fn floor(&self) -> u64 {
        self.floor
    }

    pub(super) fn get(&self, key: &str) -> Option<&Item> {
        self.items.get(key).map(|entry| &entry.item)
    }

    /// Items put after a generation, in order of theirs.
    pub(super) fn since(&self, generation: u64) -> impl Iterator<Item = &Item> {
        // Generations begin at 1, so that 0 means all; an item of the very first world has the
        // generation the store had at start, which may be 0 in an empty one.
        let first = if generation == 0 { 0 } else { generation + 1 };
        self.changed
            .range((first, Arc::from(""))..)
            .filter_map(|(_, key)| self.items.get(key).map(|entry| &entry.item))
    }

    /// Keys gone after a generation.
    pub(super) fn gone_since(&self, generation: u64) -> impl Iterator<Item = Arc<str>> {
        self.gone_order.range((generation + 1, Arc::from(""))..).map(|(_, key)| key.clone())
    }

    /// All keys there are or were.
    pub(super) fn all_keys(&self) -> Vec<Arc<str>> {
        self.items.keys().chain(self.gone.keys()).cloned().collect()
    }
}
