//! Reads nft's JSON listing of one of our tables.
//!
//! Members come out as nft would take them in again. Everything else (chains, rules, declarations
//! of sets) goes into one fingerprint, which tells whether somebody altered what we made.

use super::element;
use super::ruleset::{Elements, Family, SetName};
use nftables::expr::Expression;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// Chains whose name begins so carry a remark in the rest of their name, and nothing else.
pub const REMARK_PREFIX: &str = "made_";

/// What a listing shows.
#[derive(Debug, Default)]
pub struct Listing {
    /// Members of the sets we know.
    pub sets: BTreeMap<SetName, Elements>,
    /// The rest of our remark chain's name.
    pub remark: Option<String>,
    /// Everything but members, remark, counters and handles.
    fingerprint: blake3::Hasher,
}

/// Sets and maps that are ours to fill, by family.
const SETS: [(Family, &str); 12] = [
    (Family::Inet, "faces"),
    (Family::Inet, "floating"),
    (Family::Inet, "ports"),
    (Family::Inet, "ports_at"),
    (Family::Inet, "float_in"),
    (Family::Inet, "float_out"),
    (Family::Inet, "link"),
    (Family::Inet, "link_many"),
    (Family::Inet, "self"),
    (Family::Inet, "intercept"),
    (Family::Bridge, "guests"),
    (Family::Bridge, "macs"),
];
const ROUTED: SetName = SetName { family: Family::Bridge, name: "routed" };

fn known(family: Family, name: &str) -> Option<SetName> {
    SETS.iter()
        .map(|(family, name)| SetName { family: *family, name })
        .chain([ROUTED])
        .find(|set| set.family == family && set.name == name)
}

impl Listing {
    /// Adds one table's listing.
    ///
    /// # Errors
    /// When it is not JSON.
    pub fn read(&mut self, family: Family, text: &str) -> Result<(), serde_json::Error> {
        let listing: Value = serde_json::from_str(text)?;
        let objects = listing["nftables"].as_array().map(Vec::as_slice).unwrap_or_default();
        for object in objects {
            let Some((kind, body)) = object.as_object().and_then(|object| object.iter().next())
            else {
                continue;
            };
            self.take(family, kind, body);
        }
        Ok(())
    }

    /// Tells altered rules from those we made.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        self.fingerprint.finalize().to_hex().chars().take(16).collect()
    }

    fn take(&mut self, family: Family, kind: &str, body: &Value) {
        let mut body = body.clone();
        let name = body["name"].as_str().unwrap_or_default().to_owned();
        if kind == "metainfo" || kind == "counter" {
            return;
        }
        if kind == "chain" && name.starts_with(REMARK_PREFIX) {
            self.remark = Some(name[REMARK_PREFIX.len()..].into());
            return;
        }
        if let Some(fields) = body.as_object_mut() {
            fields.remove("handle");
            if let Some(set) = known(family, &name)
                && let Some(elements) = fields.get("elem").and_then(members)
            {
                self.sets.insert(set, elements);
                fields.remove("elem");
            }
        }
        without_counts(&mut body);
        self.fingerprint.update(kind.as_bytes()).update(body.to_string().as_bytes());
    }
}

/// A rule's own counter would make each listing differ.
fn without_counts(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::Object(counter)) = fields.get_mut("counter") {
                counter.remove("packets");
                counter.remove("bytes");
            }
            fields.values_mut().for_each(without_counts);
        }
        Value::Array(values) => values.iter_mut().for_each(without_counts),
        _ => {}
    }
}

/// The members of a set of ours; `None` when there is one that we could not have added, which must
/// then count as an alteration.
fn members(listed: &Value) -> Option<Elements> {
    let members = Vec::<Expression>::deserialize(listed).ok()?;
    members.iter().map(element::words).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_come_out_as_they_went_in() {
        let text = r#"{"nftables": [{"metainfo": {"version": "1.0.6"}},
            {"map": {"family": "inet", "name": "ports", "table": "stampede", "handle": 4,
              "elem": [[{"concat": ["tcp", 80]}, {"concat": ["10.0.0.1", 90]}]]}},
            {"chain": {"family": "inet", "table": "stampede", "name": "made_x", "handle": 1}}]}"#;
        let mut listing = Listing::default();
        listing.read(Family::Inet, text).unwrap();
        let ports = SetName { family: Family::Inet, name: "ports" };
        assert_eq!(listing.sets[&ports], Elements::from(["tcp . 80 : 10.0.0.1 . 90".into()]));
        assert_eq!(listing.remark.as_deref(), Some("x"));
    }

    #[test]
    fn handles_and_members_do_not_count_but_rules_do() {
        let print = |rule: &str, handle: u32, member: &str| {
            let mut listing = Listing::default();
            let text = format!(
                r#"{{"nftables": [{{"rule": {{"handle": {handle}, "expr": ["{rule}"]}}}},
                {{"set": {{"name": "macs", "elem": ["{member}"]}}}}]}}"#
            );
            listing.read(Family::Bridge, &text).unwrap();
            listing.fingerprint()
        };
        assert_eq!(print("drop", 1, "a"), print("drop", 2, "b"));
        assert_ne!(print("drop", 1, "a"), print("accept", 1, "a"));
    }

    #[test]
    fn members_that_we_could_not_have_added_are_an_alteration() {
        let print = |member: &str| {
            let mut listing = Listing::default();
            let text =
                format!(r#"{{"nftables": [{{"set": {{"name": "macs", "elem": [{member}]}}}}]}}"#);
            listing.read(Family::Bridge, &text).unwrap();
            (listing.fingerprint(), listing.sets.len())
        };
        let (ours, sets) = print(r#""a""#);
        assert_eq!(sets, 1);
        assert_eq!(print(r#"{"elem": {"val": "a", "comment": "mine"}}"#), (ours.clone(), 1));
        let (theirs, sets) = print(r#"{"range": ["a", "b"]}"#);
        assert_eq!(sets, 0);
        assert_ne!(theirs, ours);
    }
}
