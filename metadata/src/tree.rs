//! A tree of folders and leaves that is asked by path, with EC2's rules for listing it.

use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// A folder: its entries by the name they are asked with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Folder(BTreeMap<String, Entry>);

/// What a folder holds.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    Leaf(String),
    Folder { listed_as: String, folder: Folder },
}

impl Folder {
    /// Puts a leaf at `path`, whose parts are joined by slashes; makes the folders on the way.
    pub(crate) fn set(&mut self, path: &str, value: impl Into<String>) {
        match path.split_once('/') {
            None => {
                self.0.insert(path.into(), Entry::Leaf(value.into()));
            }
            Some((first, rest)) => {
                let mut folder = Self::default();
                if let Some(Entry::Folder { folder: held, .. }) = self.0.remove(first) {
                    folder = held;
                }
                folder.set(rest, value);
                self.put(first, format!("{first}/"), folder);
            }
        }
    }

    /// Puts a folder that its parent lists by another name than it is asked with.
    pub(crate) fn put(&mut self, name: &str, listed_as: impl Into<String>, folder: Self) {
        self.0.insert(name.into(), Entry::Folder { listed_as: listed_as.into(), folder });
    }

    /// The text at the path `parts`: a leaf's value or a folder's listing. An empty last part, as
    /// a slash at the end leaves it, means a folder.
    pub(crate) fn get(&self, parts: &[&str]) -> Option<String> {
        let Some((first, rest)) = parts.split_first() else { return Some(self.list()) };
        if first.is_empty() && rest.is_empty() {
            return Some(self.list());
        }
        match self.0.get(*first)? {
            Entry::Leaf(value) => rest.is_empty().then(|| value.clone()),
            Entry::Folder { folder, .. } => folder.get(rest),
        }
    }

    /// One entry per line; folders end in a slash, unless listed by another name.
    fn list(&self) -> String {
        let name = |(name, entry): (&String, &Entry)| match entry {
            Entry::Leaf(_) => name.clone(),
            Entry::Folder { listed_as, .. } => listed_as.clone(),
        };
        self.0.iter().map(name).collect::<Vec<_>>().join("\n")
    }

    /// The tree as a JSON object.
    pub(crate) fn json(&self) -> Value {
        let value = |(name, entry): (&String, &Entry)| match entry {
            Entry::Leaf(value) => (name.clone(), Value::from(value.as_str())),
            Entry::Folder { folder, .. } => (name.clone(), folder.json()),
        };
        Value::Object(self.0.iter().map(value).collect::<Map<_, _>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> Folder {
        let mut tree = Folder::default();
        tree.set("a/b/c", "deep");
        tree.set("a/d", "shallow");
        tree.set("z", "leaf");
        let mut key = Folder::default();
        key.set("openssh-key", "ssh");
        tree.put("0", "0=me", key);
        tree
    }

    #[test]
    fn folders_are_listed_with_and_without_a_slash_and_leaves_only_without() {
        let get = |path: &str| tree().get(&path.split('/').collect::<Vec<_>>());
        assert_eq!(get("").as_deref(), Some("0=me\na/\nz"));
        assert_eq!(get("a").as_deref(), Some("b/\nd"));
        assert_eq!(get("a/").as_deref(), Some("b/\nd"));
        assert_eq!(get("a/b/c").as_deref(), Some("deep"));
        assert_eq!(get("0/openssh-key").as_deref(), Some("ssh"));
        for unknown in ["a/b/c/", "z/", "a//b", "/a", "a/x", "0=me", "a/b/c/d"] {
            assert_eq!(get(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn json_has_the_names_that_are_asked_with() {
        let json = serde_json::json!({
            "0": {"openssh-key": "ssh"}, "a": {"b": {"c": "deep"}, "d": "shallow"}, "z": "leaf",
        });
        assert_eq!(tree().json(), json);
    }
}
