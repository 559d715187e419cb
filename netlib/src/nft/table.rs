//! Keeps our tables of one namespace as they should be.
//!
//! The last committed state is trusted while the kernel's rule generation stands still; then a
//! pass without changes costs one small netlink question and no nft. Otherwise our tables (never
//! others) are listed and compared: a remark, made after the rules, names the text they were made
//! from and the fingerprint that their listing had, so that altered rules are noticed and a
//! restarted agent adopts untouched ones.

use super::command::{self, NftError};
use super::generation::Generations;
use super::listing::{Listing, REMARK_PREFIX};
use super::ruleset::{self, Change, Family, Held, Ruleset, TABLE, TextHash};
use nftables::batch::Batch;
use nftables::schema::{Chain, NfListObject};
use std::fs::File;
use std::io;

/// Our tables of one namespace.
#[derive(Debug)]
pub struct Tables {
    generations: Generations,
    families: &'static [Family],
    committed: Option<Committed>,
}

/// What our tables were at a generation.
#[derive(Debug)]
struct Committed {
    generation: u32,
    found: Found,
}

/// What our tables are.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Found {
    /// None of them is there.
    Nothing,
    /// All are there as we made them.
    Held(Held),
    /// Some are there, or they are not as we made them.
    Other,
}

impl Tables {
    /// Gets ready to keep the tables of `namespace`.
    ///
    /// # Errors
    /// When the namespace cannot be entered, or the kernel has no nftables.
    pub fn open(namespace: &File, families: &'static [Family]) -> io::Result<Self> {
        Ok(Self { generations: Generations::open(namespace)?, families, committed: None })
    }

    /// Makes our tables hold `wanted`, or be gone; returns the number of transactions that took.
    ///
    /// # Errors
    /// When nft cannot be run or refuses, or rules do not stay as they were made.
    pub async fn reconcile(
        &mut self,
        namespace: &File,
        wanted: Option<&Ruleset>,
    ) -> Result<u64, NftError> {
        let before = self.generation()?;
        let found = self.observe(namespace, before).await?;
        self.committed = None;
        let (changes, found) = match (wanted, found) {
            (None, Found::Nothing) => (0, Found::Nothing),
            (None, _) => {
                command::apply(namespace, &ruleset::removal(self.families)).await?;
                (1, Found::Nothing)
            }
            (Some(wanted), found) => {
                let held = match &found {
                    Found::Held(held) => Some(held),
                    Found::Nothing | Found::Other => None,
                };
                let changes = self.change(namespace, wanted, wanted.change(held)).await?;
                (changes, Found::Held(wanted.held()))
            }
        };
        // A transaction of somebody else after our look must not be taken for ours.
        let generation = if changes == 0 { before } else { self.generation()? };
        self.committed = Some(Committed { generation, found });
        Ok(changes)
    }

    async fn change(
        &self,
        namespace: &File,
        wanted: &Ruleset,
        change: Change,
    ) -> Result<u64, NftError> {
        match change {
            Change::None => Ok(0),
            Change::Elements(batch) => {
                command::apply_batch(namespace, &batch).await?;
                Ok(1)
            }
            Change::Replace(script) => {
                command::apply(namespace, &script).await?;
                sign(namespace, wanted, self.families).await?;
                Ok(2)
            }
        }
    }

    /// The present generation of all rules in the namespace.
    ///
    /// # Errors
    /// When the kernel cannot be asked.
    pub fn generation(&self) -> Result<u32, NftError> {
        let failed = |source| NftError::Run { action: "ask for the rules' generation", source };
        self.generations.current().map_err(failed)
    }

    async fn observe(&self, namespace: &File, generation: u32) -> Result<Found, NftError> {
        if let Some(committed) = &self.committed
            && committed.generation == generation
        {
            return Ok(committed.found.clone());
        }
        let mut listing = Listing::default();
        let mut present = 0;
        for family in self.families {
            let what = ["table", family.word(), TABLE];
            if let Some(text) = command::list(namespace, &what).await? {
                listing.read(*family, &text)?;
                present += 1;
            }
        }
        let signature = listing.remark.as_deref().and_then(|remark| remark.split_once('_'));
        Ok(match signature {
            _ if present == 0 => Found::Nothing,
            Some((text, fingerprint))
                if present == self.families.len() && fingerprint == listing.fingerprint() =>
            {
                Found::Held(Held { text: TextHash(text.into()), sets: listing.sets })
            }
            _ => Found::Other,
        })
    }
}

/// Leaves the remark. Its chain is reached from nowhere.
async fn sign(namespace: &File, wanted: &Ruleset, families: &[Family]) -> Result<(), NftError> {
    let action = "show the tables it has just made";
    let refused = |message: &str| NftError::Refused { action, message: message.into() };
    let mut listing = Listing::default();
    for family in families {
        let what = ["table", family.word(), TABLE];
        let text = command::list(namespace, &what).await?;
        listing.read(*family, &text.ok_or_else(|| refused("one is gone"))?)?;
    }
    if listing.sets.iter().any(|(name, elements)| wanted.sets.get(name) != Some(elements)) {
        return Err(refused("members differ from those given"));
    }
    let TextHash(text) = TextHash::of(&wanted.text);
    let fingerprint = listing.fingerprint();
    let mut batch = Batch::new();
    batch.add(NfListObject::Chain(Chain {
        family: Family::Inet.into(),
        table: TABLE.into(),
        name: format!("{REMARK_PREFIX}{text}_{fingerprint}").into(),
        ..Chain::default()
    }));
    command::apply_batch(namespace, &batch.to_nftables()).await
}
