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
///
/// Read it with [`Answer::read`]: an untagged enum would be read through a buffer that cannot keep
/// the items' bytes.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// A change from generation `from`.
    Delta(Delta),
    /// The whole truth.
    Full(Full),
}

impl Answer {
    /// Reads an answer's JSON; the field `from` makes it a delta.
    ///
    /// # Errors
    /// When the text is not JSON of either shape.
    pub fn read(text: &str) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Shape {
            from: Option<u64>,
        }
        match serde_json::from_str::<Shape>(text)?.from {
            Some(_) => serde_json::from_str(text).map(Self::Delta),
            None => serde_json::from_str(text).map(Self::Full),
        }
    }
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
        let mut next = self.clone();
        next.take(answer)?;
        Ok(next)
    }

    /// Becomes the snapshot after `answer`, without a copy of all items for each of many changes.
    /// Left as it was when that is refused.
    ///
    /// # Errors
    /// See [`ApplyError`].
    pub fn take(&mut self, answer: Answer) -> Result<(), ApplyError> {
        match answer {
            Answer::Full(full) => self.replace(full),
            Answer::Delta(delta) => self.advance(delta),
        }
    }

    fn replace(&mut self, full: Full) -> Result<(), ApplyError> {
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
        *self = Self { store: full.store, generation: full.generation, hash, items };
        Ok(())
    }

    fn advance(&mut self, delta: Delta) -> Result<(), ApplyError> {
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
        let mut hash = self.hash;
        let mut replaced = Vec::with_capacity(delta.del.len() + delta.put.len());
        for key in delta.del {
            let gone = self.items.remove(&key);
            replaced.push((key, gone));
        }
        for item in delta.put {
            hash.add(item.hash());
            let key = item.key.clone();
            let old = self.items.insert(key.clone(), item);
            replaced.push((key, old));
        }
        replaced.iter().filter_map(|(_, old)| old.as_ref()).for_each(|old| hash.sub(old.hash()));
        if hash != delta.hash {
            self.put_back(replaced);
            return Err(ApplyError::Hash { generation: delta.generation });
        }
        (self.hash, self.generation) = (hash, delta.generation);
        Ok(())
    }

    /// Undoes changes, the last one first.
    fn put_back(&mut self, replaced: Vec<(String, Option<Item>)>) {
        for (key, old) in replaced.into_iter().rev() {
            match old {
                Some(old) => self.items.insert(key, old),
                None => self.items.remove(&key),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn item(key: u8, value: u16) -> Item {
        let value = serde_json::value::to_raw_value(&value).unwrap().into();
        Item { key: format!("endpoint/{key}"), kind: "endpoint".into(), value }
    }

    fn sum<'a>(items: impl IntoIterator<Item = &'a Item>) -> SetHash {
        let mut hash = SetHash::default();
        items.into_iter().for_each(|item| hash.add(item.hash()));
        hash
    }

    fn full(generation: u64, items: &BTreeMap<u8, u16>) -> Full {
        let items: Vec<_> = items.iter().map(|(key, value)| item(*key, *value)).collect();
        Full { store: "s.1".into(), generation, hash: sum(&items), items }
    }

    fn delta(from: u64, old: &BTreeMap<u8, u16>, new: &BTreeMap<u8, u16>) -> Delta {
        Delta {
            store: "s.1".into(),
            from,
            generation: from + 1,
            hash: full(0, new).hash,
            put: new
                .iter()
                .filter(|(key, value)| old.get(key) != Some(value))
                .map(|(key, value)| item(*key, *value))
                .collect(),
            del: old
                .keys()
                .filter(|key| !new.contains_key(key))
                .map(|key| item(*key, 0).key)
                .collect(),
        }
    }

    fn sets() -> impl Strategy<Value = Vec<BTreeMap<u8, u16>>> {
        prop::collection::vec(prop::collection::btree_map(any::<u8>(), any::<u16>(), 0..20), 1..6)
    }

    proptest! {
        #[test]
        fn deltas_lead_where_the_full_truth_leads(states in sets()) {
            let mut held = Snapshot::default().apply(Answer::Full(full(1, &states[0]))).unwrap();
            for (from, pair) in (1..).zip(states.windows(2)) {
                held = held.apply(Answer::Delta(delta(from, &pair[0], &pair[1]))).unwrap();
                let direct = Snapshot::default().apply(Answer::Full(full(from + 1, &pair[1]))).unwrap();
                prop_assert_eq!(held.hash, direct.hash);
                prop_assert!(held.items.keys().eq(direct.items.keys()));
            }
        }

        #[test]
        fn a_lost_change_is_noticed(old in prop::collection::btree_map(any::<u8>(), any::<u16>(), 0..9), value: u16) {
            let held = Snapshot::default().apply(Answer::Full(full(1, &old))).unwrap();
            let mut new = old.clone();
            new.insert(7, value.wrapping_add(u16::from(old.get(&7) == Some(&value))));
            prop_assume!(new != old);
            let mut change = delta(1, &old, &new);
            change.put.clear();
            let mut left = held.clone();
            prop_assert_eq!(left.take(Answer::Delta(change)).unwrap_err(), ApplyError::Hash { generation: 2 });
            prop_assert_eq!(sum(left.items.values()), held.hash);
            prop_assert_eq!((left.hash, left.generation), (held.hash, 1));
        }
    }

    #[test]
    fn the_door_refuses_gaps_older_truths_and_other_bodies() {
        let one = BTreeMap::from([(1, 1)]);
        let two = BTreeMap::from([(1, 2)]);
        let held = Snapshot::default().apply(Answer::Full(full(5, &one))).unwrap();
        let gap = held.apply(Answer::Delta(delta(4, &one, &two))).unwrap_err();
        assert!(matches!(gap, ApplyError::Gap { from: 4, have: 5, .. }));
        for refused in [full(4, &one), full(5, &two)] {
            let error = held.apply(Answer::Full(refused)).unwrap_err();
            assert!(matches!(error, ApplyError::Stale { have: 5, .. }));
        }
        assert!(held.apply(Answer::Full(full(5, &one))).is_ok(), "the same body again is no error");
        let restored = Full { store: "s.2".into(), ..full(3, &two) };
        assert_eq!(held.apply(Answer::Full(restored)).unwrap().generation, 3);
    }

    #[test]
    fn an_answer_keeps_the_bytes_it_came_with() {
        let text = r#"{"store":"s.1","gen":1,"hash":"0000000000000000000000000000000000000000000000000000000000000000","items":[{"key":"a","kind":"b","value":{"z":1,  "a":2}}]}"#;
        let Answer::Full(read) = Answer::read(text).unwrap() else { panic!("not full") };
        assert_eq!(read.items[0].value.get(), r#"{"z":1,  "a":2}"#);
    }
}
