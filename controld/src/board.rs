//! The board: every scope's items with their generations, and what a host is answered from it.
//!
//! Lives in memory and is compiled again at start, so what was deleted before a restart is not known:
//! generations below the start are answered with the whole truth, unless the hash shows that the
//! agent already holds it.

mod scope;

use crate::compile::{self, Scope, Unit};
use crate::world::World;
use api::hash::SetHash;
use api::item::Overlay;
use api::snapshot::{Delta, Full, Item};
use scope::Items;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// All scopes.
pub struct Board {
    store: String,
    overlay: Overlay,
    generation: u64,
    start: u64,
    scopes: HashMap<Scope, Items>,
    outputs: HashMap<Unit, Vec<(Scope, Arc<str>)>>,
    // By host: the networks it is a member of, and since which generation.
    memberships: HashMap<i64, BTreeMap<i64, u64>>,
}

/// What a host is answered.
#[derive(Debug)]
pub enum Outcome {
    /// It holds what it should.
    Same,
    /// The whole truth.
    Full(Full),
    /// What changed.
    Delta(Delta),
}

/// What an agent says it holds.
#[derive(Clone, Debug, Default)]
pub struct Held {
    /// The store's identity.
    pub store: String,
    /// The generation; 0 asks for the whole truth.
    pub generation: u64,
    /// The hash.
    pub hash: SetHash,
}

impl Board {
    /// Compiles a whole world.
    #[must_use]
    pub fn new(store: String, overlay: Overlay, world: &World, generation: u64) -> Self {
        let mut board = Self {
            store,
            overlay,
            generation,
            start: generation,
            scopes: HashMap::new(),
            outputs: HashMap::new(),
            memberships: HashMap::new(),
        };
        let mut units = BTreeSet::new();
        for row in world.rows() {
            compile::units_of(world, row, &mut units);
        }
        board.update(world, units, generation);
        board
    }

    /// The generation it shows.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Compiles units again and shows the result as of `generation`.
    pub fn update(&mut self, world: &World, units: BTreeSet<Unit>, generation: u64) {
        self.generation = generation;
        // A host's address is part of each of its memberships.
        let memberships: Vec<Unit> = units
            .iter()
            .filter_map(|unit| match unit {
                Unit::Host(host) => self.memberships.get_key_value(host),
                _ => None,
            })
            .flat_map(|(host, networks)| {
                networks.keys().map(|network| Unit::Member(*network, *host))
            })
            .collect();
        for unit in units.into_iter().chain(memberships) {
            self.update_unit(world, unit);
        }
    }

    fn update_unit(&mut self, world: &World, unit: Unit) {
        let output = compile::compile(world, unit, self.overlay);
        let generation = self.generation;
        let mut keys = Vec::with_capacity(output.items.len());
        for (scope, item) in output.items {
            let key = self.items(scope).put(unit, item, generation);
            keys.push((scope, key));
        }
        let old = self.outputs.remove(&unit).unwrap_or_default();
        for (scope, key) in old {
            if !keys.contains(&(scope, key.clone())) {
                self.items(scope).remove(unit, &key, generation);
            }
        }
        if let Unit::Member(network, host) = unit {
            self.subscribe(network, host, output.member);
        }
        if !keys.is_empty() {
            self.outputs.insert(unit, keys);
        }
    }

    fn items(&mut self, scope: Scope) -> &mut Items {
        let start = self.start;
        self.scopes.entry(scope).or_insert_with(|| Items::new(start))
    }

    /// Lets a host into a network's scope, or tells it to forget all of it.
    fn subscribe(&mut self, network: i64, host: i64, member: bool) {
        let networks = self.memberships.entry(host).or_default();
        if member {
            networks.entry(network).or_insert(self.generation);
        } else if networks.remove(&network).is_some() {
            let keys: Vec<Arc<str>> =
                self.scopes.get(&Scope::Network(network)).map(Items::all_keys).unwrap_or_default();
            let generation = self.generation;
            let own = self.items(Scope::Host(host));
            keys.into_iter().for_each(|key| own.bury(key, generation));
        }
    }

    /// The hash over what a host should hold.
    #[must_use]
    pub fn hash(&self, host: i64) -> SetHash {
        let mut hash = self.scopes.get(&Scope::Host(host)).map(Items::hash).unwrap_or_default();
        for (_, items, own) in self.networks(host) {
            hash.add(items.hash());
            if let Some(item) = items.get(own) {
                hash.sub(item.hash());
            }
        }
        hash
    }

    /// A host's networks: since when, their items, and the key of its own membership, which it is
    /// not told.
    fn networks(&self, host: i64) -> impl Iterator<Item = (u64, &Items, &str)> {
        self.memberships.get(&host).into_iter().flatten().filter_map(move |(network, since)| {
            let items = self.scopes.get(&Scope::Network(*network))?;
            let own = self.outputs.get(&Unit::Member(*network, host));
            Some((*since, items, own.and_then(|keys| keys.first()).map_or("", |(_, key)| key)))
        })
    }

    /// Whether a host holds what it should.
    #[must_use]
    pub fn holds(&self, host: i64, held: &Held) -> bool {
        held.store == self.store && held.generation > 0 && held.hash == self.hash(host)
    }

    /// Answers a host that holds `held`.
    #[must_use]
    pub fn answer(&self, host: i64, held: &Held) -> Outcome {
        let hash = self.hash(host);
        let ours = held.store == self.store && held.generation > 0;
        if self.holds(host, held) {
            return Outcome::Same;
        }
        if ours && held.generation < self.generation && held.generation >= self.floor(host) {
            return Outcome::Delta(self.delta(host, held.generation, hash));
        }
        Outcome::Full(self.full(host, hash))
    }

    /// Below this generation a host cannot be given a delta.
    fn floor(&self, host: i64) -> u64 {
        let own = self.scopes.get(&Scope::Host(host)).map_or(self.start, Items::floor);
        self.networks(host).map(|(_, items, _)| items.floor()).fold(own, u64::max)
    }

    fn full(&self, host: i64, hash: SetHash) -> Full {
        let mut items: Vec<Item> = Vec::new();
        if let Some(own) = self.scopes.get(&Scope::Host(host)) {
            items.extend(own.since(0).cloned());
        }
        for (_, network, own) in self.networks(host) {
            items.extend(network.since(0).filter(|item| item.key != own).cloned());
        }
        Full { store: self.store.clone(), generation: self.generation, hash, items }
    }

    fn delta(&self, host: i64, from: u64, hash: SetHash) -> Delta {
        let mut put: Vec<Item> = Vec::new();
        let mut gone: BTreeSet<Arc<str>> = BTreeSet::new();
        if let Some(own) = self.scopes.get(&Scope::Host(host)) {
            put.extend(own.since(from).cloned());
            gone.extend(own.gone_since(from));
        }
        for (since, network, own) in self.networks(host) {
            // Who joined after `from` holds nothing of it yet.
            let from = if since > from { 0 } else { from };
            put.extend(network.since(from).filter(|item| item.key != own).cloned());
            gone.extend(network.gone_since(from));
        }
        let held = |key: &str| {
            self.scopes.get(&Scope::Host(host)).is_some_and(|own| own.get(key).is_some())
                || self.networks(host).any(|(_, items, _)| items.get(key).is_some())
        };
        let del = gone.iter().filter(|key| !held(key)).map(|key| key.to_string()).collect();
        Delta { store: self.store.clone(), from, generation: self.generation, hash, put, del }
    }
}
