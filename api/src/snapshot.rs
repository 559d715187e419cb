//! Envelopes of `GET /v1/agent/{host}/snapshot?store=S&gen=G&hash=H&wait=50`.
//!
//! An item is opaque here: its value stays the bytes that were received, since hash and ledger are
//! over those bytes and never over a re-serialisation. Meaning is given by [`crate::item`].

use crate::hash::SetHash;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One item of a host's snapshot.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Item {
    /// Unique in the snapshot, for instance `endpoint/17`.
    pub key: String,
    /// What the value means, for instance `endpoint`; unknown kinds are kept and reported.
    pub kind: String,
    /// The value's JSON, byte for byte as received.
    pub value: Arc<RawValue>,
}

impl Item {
    /// The item's share of its set's hash.
    #[must_use]
    pub fn hash(&self) -> SetHash {
        SetHash::of(&self.key, &self.kind, self.value.get())
    }
}

/// An answer with content: the whole truth, or a change checked against the hash.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Answer {
    /// A change from generation `from`.
    Delta(Delta),
    /// The whole truth.
    Full(Full),
}

/// Every item of a host.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Full {
    /// The store's identity, `uuid.incarnation`.
    pub store: String,
    /// The generation this is the truth of.
    #[serde(rename = "gen")]
    pub generation: u64,
    /// The hash over all items.
    pub hash: SetHash,
    /// The items.
    pub items: Vec<Item>,
}

/// What changed since generation `from`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Delta {
    /// The store's identity.
    pub store: String,
    /// The generation the receiver must hold.
    pub from: u64,
    /// The generation it holds afterwards.
    #[serde(rename = "gen")]
    pub generation: u64,
    /// The hash over all items afterwards.
    pub hash: SetHash,
    /// Items that are new or changed.
    pub put: Vec<Item>,
    /// Keys of items that are gone.
    pub del: Vec<String>,
}

/// A host's items with their generation, as kept by both sides.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The store's identity; empty before the first snapshot.
    pub store: String,
    /// The generation; 0 before the first snapshot.
    pub generation: u64,
    /// The hash over `items`.
    pub hash: SetHash,
    /// The items by key.
    pub items: BTreeMap<String, Item>,
}

/// Why an answer cannot be taken; the remedy is always to ask for the whole truth.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// The items do not add up to the hash that came with them.
    #[error("items of generation {generation} do not add up to their hash")]
    Hash {
        /// The generation refused.
        generation: u64,
    },
    /// The delta is for another state than ours.
    #[error("delta starts at generation {from} of store {store}, but generation {have} is held")]
    Gap {
        /// The delta's store.
        store: String,
        /// The delta's start.
        from: u64,
        /// The generation held.
        have: u64,
    },
    /// The answer is older than what is held, or the same generation with another body.
    #[error("generation {generation} is refused: generation {have} of the same store is held")]
    Stale {
        /// The generation refused.
        generation: u64,
        /// The generation held.
        have: u64,
    },
}

impl Snapshot {
    /// The snapshot after `answer`, or why it cannot be taken. `self` is left as it was.
    ///
    /// # Errors
    /// See [`ApplyError`].
    pub fn apply(&self, answer: Answer) -> Result<Self, ApplyError> {
        match answer {
            Answer::Full(full) => self.replace(full),
            Answer::Delta(delta) => self.advance(delta),
        }
    }

    fn replace(&self, full: Full) -> Result<Self, ApplyError> {
        let mut hash = SetHash::default();
        let mut items = BTreeMap::new();
        for item in full.items {
            hash.add(item.hash());
            items.insert(item.key.clone(), item);
        }
        if hash != full.hash {
            return Err(ApplyError::Hash { generation: full.generation });
        }
        let same_store = self.store == full.store;
        if same_store
            && (full.generation < self.generation
                || full.generation == self.generation && hash != self.hash)
        {
            return Err(ApplyError::Stale { generation: full.generation, have: self.generation });
        }
        Ok(Self { store: full.store, generation: full.generation, hash, items })
    }

    fn advance(&self, delta: Delta) -> Result<Self, ApplyError> {
        if delta.store != self.store || delta.from != self.generation {
            return Err(ApplyError::Gap {
                store: delta.store,
                from: delta.from,
                have: self.generation,
            });
        }
        if delta.generation < self.generation {
            return Err(ApplyError::Stale { generation: delta.generation, have: self.generation });
        }
        let mut next = self.clone();
        for key in &delta.del {
            if let Some(gone) = next.items.remove(key) {
                next.hash.sub(gone.hash());
            }
        }
        for item in delta.put {
            next.hash.add(item.hash());
            if let Some(old) = next.items.insert(item.key.clone(), item) {
                next.hash.sub(old.hash());
            }
        }
        if next.hash != delta.hash {
            return Err(ApplyError::Hash { generation: delta.generation });
        }
        next.generation = delta.generation;
        Ok(next)
    }
}
