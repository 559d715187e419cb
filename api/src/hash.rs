//! The hash of a set of items: incremental and free of order.
//!
//! A set's hash is the sum modulo 2^256 of BLAKE3 over each item, so a delta updates it by one
//! subtraction and one addition per changed item, and two sides agree exactly when they hold the
//! same bytes. It guards against lost messages and bugs, not against an attacker who may choose
//! items: the transport is authenticated.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A 256-bit sum of item hashes; the empty set is zero. Travels as 64 hex digits.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct SetHash([u8; 32]);

impl SetHash {
    /// The hash of one item. Lengths are prefixed, so no two items share an encoding.
    #[must_use]
    pub fn of(key: &str, kind: &str, value: &str) -> Self {
        let mut hasher = blake3::Hasher::new();
        for part in [key, kind, value] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        Self(*hasher.finalize().as_bytes())
    }

    /// Adds an item's hash to the set.
    pub fn add(&mut self, item: Self) {
        let mut carry = 0u16;
        for (mine, theirs) in self.0.iter_mut().zip(item.0) {
            carry += u16::from(*mine) + u16::from(theirs);
            [*mine, _] = carry.to_le_bytes();
            carry >>= 8;
        }
    }

    /// Takes an item's hash out of the set.
    pub fn sub(&mut self, item: Self) {
        let mut borrow = 0i16;
        for (mine, theirs) in self.0.iter_mut().zip(item.0) {
            let difference = i16::from(*mine) - i16::from(theirs) - borrow;
            borrow = i16::from(difference < 0);
            [*mine, _] = difference.to_le_bytes();
        }
    }
}

impl std::fmt::Display for SetHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl std::fmt::Debug for SetHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SetHash({self})")
    }
}

/// A text that is not 64 hex digits.
#[derive(Debug, thiserror::Error)]
#[error("cannot read set hash {text:?}: want 64 hex digits")]
pub struct ParseHashError {
    text: String,
}

impl std::str::FromStr for SetHash {
    type Err = ParseHashError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes)
            .map_err(|_| ParseHashError { text: text.chars().take(80).collect() })?;
        Ok(Self(bytes))
    }
}

impl Serialize for SetHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SetHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn order_does_not_matter_and_sub_undoes_add(items in prop::collection::vec(("[a-z]{1,8}", "[a-z]{1,8}"), 1..20)) {
            let mut forward = SetHash::default();
            let mut backward = SetHash::default();
            for (key, value) in &items { forward.add(SetHash::of(key, "k", value)); }
            for (key, value) in items.iter().rev() { backward.add(SetHash::of(key, "k", value)); }
            prop_assert_eq!(forward, backward);
            for (key, value) in &items { forward.sub(SetHash::of(key, "k", value)); }
            prop_assert_eq!(forward, SetHash::default());
        }
    }

    #[test]
    fn reads_what_it_writes() {
        let hash = SetHash::of("endpoint/1", "endpoint", "{}");
        assert_eq!(hash.to_string().parse::<SetHash>().unwrap(), hash);
        assert!("xyz".parse::<SetHash>().is_err());
    }
}
