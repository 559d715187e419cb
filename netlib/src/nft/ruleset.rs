//! Our rules in one namespace as a comparable value, and what must change to get there.
//!
//! The text declares tables, sets and chains; it hardly ever changes, and then everything is
//! replaced in one transaction. Members change all the time, as elements.

use super::element;
use nftables::batch::Batch;
use nftables::schema::{Element, NfListObject, Nftables};
use nftables::types::NfFamily;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::Ipv4Addr;

/// One of our sets or maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SetName {
    /// The table's family.
    pub family: Family,
    /// The set's name.
    pub name: &'static str,
}

/// The family of one of our tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4 and IPv6.
    Inet,
    /// Frames on bridges.
    Bridge,
}

impl Family {
    /// As nft writes it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Inet => "inet",
            Self::Bridge => "bridge",
        }
    }
}

impl From<Family> for NfFamily {
    fn from(family: Family) -> Self {
        match family {
            Family::Inet => Self::INet,
            Family::Bridge => Self::Bridge,
        }
    }
}

/// The tables of the root namespace.
pub const ROOT_FAMILIES: &[Family] = &[Family::Inet];
/// The tables of a network's namespace.
pub const NETWORK_FAMILIES: &[Family] = &[Family::Inet, Family::Bridge];

/// The name of all our tables.
pub const TABLE: &str = "stampede";

/// A set's or map's elements as nft writes them: `a . b`, or `a . b : c` in a map.
pub type Elements = BTreeSet<String>;

/// What our tables in one namespace should hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruleset {
    /// Definitions of the variables, then tables, sets and chains.
    pub text: String,
    /// Which tables there are.
    pub families: &'static [Family],
    /// The members of each set that has any.
    pub sets: BTreeMap<SetName, Elements>,
}

/// What our tables hold, as far as we know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The text they were made from.
    pub text: TextHash,
    /// The members of each set that has any.
    pub sets: BTreeMap<SetName, Elements>,
}

/// Tells texts apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextHash(pub String);

impl TextHash {
    /// The hash of a text.
    #[must_use]
    pub fn of(text: &str) -> Self {
        Self(blake3::hash(text.as_bytes()).to_hex().chars().take(16).collect())
    }
}

/// What must change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    None,
    /// Members only, in one transaction.
    Elements(Nftables<'static>),
    /// Everything; the script of one transaction.
    Replace(String),
}

impl Ruleset {
    /// The rules of the host's root namespace. `faces` are the (transit, address) pairs that may
    /// come out of transits.
    #[must_use]
    pub fn root(transits: &str, faces: impl Iterator<Item = (String, Ipv4Addr)>) -> Self {
        let text = format!("define transits = {transits}\n{}", include_str!("root.nft"));
        let faces = faces.map(|(device, address)| format!("{device} . {address}")).collect();
        let name = SetName { family: Family::Inet, name: "faces" };
        Self { text, families: ROOT_FAMILIES, sets: BTreeMap::from([(name, faces)]) }
    }

    /// The rules of a network's namespace, without members.
    #[must_use]
    pub fn network(variables: &[(&str, String)]) -> Self {
        let mut text = String::new();
        for (name, value) in variables {
            let _infallible = writeln!(text, "define {name} = {value}");
        }
        text.push_str(include_str!("network.nft"));
        Self { text, families: NETWORK_FAMILIES, sets: BTreeMap::new() }
    }

    /// Adds an element to a set.
    pub fn add(&mut self, family: Family, name: &'static str, element: String) {
        self.sets.entry(SetName { family, name }).or_default().insert(element);
    }

    /// What these rules are, once applied.
    #[must_use]
    pub fn held(&self) -> Held {
        Held { text: TextHash::of(&self.text), sets: self.sets.clone() }
    }

    /// What must change when our tables hold `held`, or are not there or not as we made them.
    #[must_use]
    pub fn change(&self, held: Option<&Held>) -> Change {
        match held {
            Some(held) if held.text == TextHash::of(&self.text) => self.change_elements(held),
            _ => Change::Replace(self.replace()),
        }
    }

    fn change_elements(&self, held: &Held) -> Change {
        let none = Elements::new();
        let names: BTreeSet<SetName> = self.sets.keys().chain(held.sets.keys()).copied().collect();
        let mut additions = Vec::new();
        let mut batch = Batch::new();
        for name in names {
            let wanted = self.sets.get(&name).unwrap_or(&none);
            let present = held.sets.get(&name).unwrap_or(&none);
            if let Some(members) = members(name, present.difference(wanted)) {
                batch.delete(members);
            }
            additions.extend(members(name, wanted.difference(present)));
        }
        // A map's key cannot be added again before its old value is gone.
        additions.into_iter().for_each(|members| batch.add(members));
        let batch = batch.to_nftables();
        if batch.objects.is_empty() { Change::None } else { Change::Elements(batch) }
    }

    fn replace(&self) -> String {
        let mut script = removal(self.families);
        script.push_str(&self.text);
        for (SetName { family, name }, elements) in &self.sets {
            if !elements.is_empty() {
                let elements = Vec::from_iter(elements.iter().map(String::as_str)).join(", ");
                let family = family.word();
                let _infallible =
                    writeln!(script, "add element {family} {TABLE} {name} {{ {elements} }}");
            }
        }
        script
    }
}

/// The script that removes our tables, whether they are there or not.
#[must_use]
pub fn removal(families: &[Family]) -> String {
    let mut script = String::new();
    for family in families {
        let family = family.word();
        // Adding first makes the deletion valid when there is no table.
        let _infallible =
            writeln!(script, "add table {family} {TABLE}\ndelete table {family} {TABLE}");
    }
    script
}

/// Members of a set as one object of a transaction; `None` when there are none.
fn members<'a>(
    set: SetName,
    members: impl Iterator<Item = &'a String>,
) -> Option<NfListObject<'static>> {
    let members: Vec<_> = members.map(|member| element::expression(member)).collect();
    (!members.is_empty()).then(|| {
        NfListObject::Element(Element {
            family: set.family.into(),
            table: TABLE.into(),
            name: set.name.into(),
            elem: members.into(),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(members: &[&str]) -> Ruleset {
        let mut rules = Ruleset::network(&[("gateway", "10.42.0.1".into())]);
        for member in members {
            rules.add(Family::Bridge, "macs", (*member).into());
        }
        rules
    }

    #[test]
    fn equal_rules_change_nothing() {
        let wanted = rules(&["a . 1", "b . 2"]);
        assert_eq!(wanted.change(Some(&wanted.held())), Change::None);
    }

    #[test]
    fn members_change_as_elements_of_one_transaction() {
        let change = rules(&["b . 2", "c . 3"]).change(Some(&rules(&["a . 1", "b . 2"]).held()));
        let Change::Elements(batch) = change else { panic!("{change:?}") };
        let member = |text: &str| {
            let parts: Vec<&str> = text.split(" . ").collect();
            serde_json::json!({"element": {"family": "bridge", "table": "stampede", "name": "macs",
                "elem": [{"concat": parts}]}})
        };
        let expected = serde_json::json!({"nftables": [
            {"delete": member("a . 1")}, {"add": member("c . 3")}]});
        assert_eq!(serde_json::to_value(batch).unwrap(), expected);
    }

    #[test]
    fn another_text_or_a_missing_table_replaces_all() {
        let wanted = rules(&["a . 1"]);
        let other = Ruleset::network(&[("gateway", "10.43.0.1".into())]);
        for held in [None, Some(&other.held())] {
            assert!(matches!(wanted.change(held), Change::Replace(script)
                if script.contains("delete table bridge stampede")
                && script.ends_with("add element bridge stampede macs { a . 1 }\n")));
        }
    }
}
