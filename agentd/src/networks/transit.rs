//! Transit addresses: a /31 per network, known to this host alone.
//!
//! Kept in a small file, so that a network has the same one after a restart and adopting it changes
//! nothing.

use crate::durable::{self, DurableError};
use netlib::desired::Transit;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

/// The range that transits come from: 169.254.64.0/18.
const RANGE: Ipv4Addr = Ipv4Addr::new(169, 254, 64, 0);
/// How many /31s it has.
const COUNT: u16 = 1 << 13;

/// Which pair of the range each network has.
type Pairs = BTreeMap<u32, u16>;

/// The transits of this host.
#[derive(Debug)]
pub struct Transits {
    path: PathBuf,
    pairs: Pairs,
}

/// Why a network has no transit.
#[derive(Debug, thiserror::Error)]
pub enum TransitError {
    /// The file cannot be read or written.
    #[error("cannot keep the addresses of transits")]
    Keep(#[from] DurableError),
    /// The file is damaged.
    #[error("cannot read {}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// Every pair is taken.
    #[error("no transit address is left in {RANGE}/18 for network {vni}")]
    Exhausted {
        /// The network.
        vni: u32,
    },
}

impl Transits {
    /// Opens the transits kept in the folder `data`.
    ///
    /// # Errors
    /// When the file is there and cannot be used.
    pub fn open(data: &Path) -> Result<Self, TransitError> {
        let path = data.join("transits.json");
        let pairs = match durable::read(&path)? {
            None => Pairs::new(),
            Some(bytes) => serde_json::from_slice(&bytes)
                .map_err(|source| TransitError::Damaged { path: path.clone(), source })?,
        };
        Ok(Self { path, pairs })
    }

    /// The transits of exactly the networks `wanted`; durable when this returns.
    ///
    /// # Errors
    /// When one cannot be had or kept; nothing is changed then.
    pub fn assign(
        &mut self,
        wanted: &BTreeSet<u32>,
    ) -> Result<BTreeMap<u32, Transit>, TransitError> {
        let pairs = allocate(&self.pairs, wanted)?;
        if pairs != self.pairs {
            let bytes = serde_json::to_vec(&pairs)
                .map_err(|source| TransitError::Damaged { path: self.path.clone(), source })?;
            durable::write(&self.path, &bytes)?;
            self.pairs = pairs;
        }
        Ok(self.pairs.iter().map(|(vni, pair)| (*vni, transit(*pair))).collect())
    }
}

/// Keeps the pairs of networks that stay and gives the lowest free ones to new networks.
fn allocate(held: &Pairs, wanted: &BTreeSet<u32>) -> Result<Pairs, TransitError> {
    let mut pairs: Pairs =
        held.iter().filter(|(vni, _)| wanted.contains(vni)).map(|(v, p)| (*v, *p)).collect();
    let taken: BTreeSet<u16> = pairs.values().copied().collect();
    let mut free = (0..COUNT).filter(|pair| !taken.contains(pair));
    for vni in wanted {
        if !pairs.contains_key(vni) {
            pairs.insert(*vni, free.next().ok_or(TransitError::Exhausted { vni: *vni })?);
        }
    }
    Ok(pairs)
}

fn transit(pair: u16) -> Transit {
    let root = u32::from(RANGE) + 2 * u32::from(pair);
    Transit { root: root.into(), inside: (root + 1).into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_network_keeps_its_transit_over_restarts() {
        let data = tempfile::tempdir().unwrap();
        let mut transits = Transits::open(data.path()).unwrap();
        let first = transits.assign(&[7, 8].into()).unwrap();
        assert_eq!(first[&7].root, Ipv4Addr::new(169, 254, 64, 0));
        assert_eq!(first[&8].inside, Ipv4Addr::new(169, 254, 64, 3));
        let mut again = Transits::open(data.path()).unwrap();
        let second = again.assign(&[8, 9].into()).unwrap();
        assert_eq!(second[&8], first[&8]);
        assert_eq!(second[&9], first[&7], "the lowest free one is used again");
        assert_eq!(second.len(), 2);
    }

    #[test]
    fn the_last_pair_is_inside_the_range_and_one_more_is_refused() {
        let all: BTreeSet<u32> = (0..u32::from(COUNT)).collect();
        let pairs = allocate(&Pairs::new(), &all).unwrap();
        let last = transit(*pairs.values().max().unwrap());
        assert_eq!(last.inside, Ipv4Addr::new(169, 254, 127, 255));
        let more = (0..=u32::from(COUNT)).collect();
        assert!(matches!(allocate(&pairs, &more), Err(TransitError::Exhausted { .. })));
    }

    proptest! {
        #[test]
        fn transits_never_clash_and_never_move(steps in prop::collection::vec(prop::collection::btree_set(0u32..40, 0..20), 1..10)) {
            let mut pairs = Pairs::new();
            for wanted in steps {
                let next = allocate(&pairs, &wanted).unwrap();
                prop_assert!(next.keys().eq(wanted.iter()));
                let distinct: BTreeSet<_> = next.values().collect();
                prop_assert_eq!(distinct.len(), next.len());
                for (vni, pair) in &next {
                    prop_assert!(pairs.get(vni).is_none_or(|held| held == pair));
                }
                pairs = next;
            }
        }
    }
}
